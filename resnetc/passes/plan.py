"""What precision a network is lowered to, as one value that every backend takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from resnetc.diagnostics import InternalError, UsageError
from resnetc.ir import Graph
from resnetc.ir.quantized import Dequantized
from resnetc.ops import Quantize, Role
from resnetc.passes.base import Pass
from resnetc.passes.encoding import Encoding, Range
from resnetc.passes.placement import QUANTIZABLE, under
from resnetc.passes.precision import PRECISIONS, SetPrecision, sensitive
from resnetc.passes.quantize import QuantizeLayers
from resnetc.shapes import DType

EIGHT_BITS = ("int8", "fp8")
"""Precisions of layers that need the ranges of activations."""
LAYERS = (*PRECISIONS, *EIGHT_BITS)
"""What layers can compute in."""


@dataclass(frozen=True)
class Plan:
    """`layers` compute in one precision, those under the labels of `keep` in `kept`, and with
    eight bits so does whatever is no such layer; `inputs` is the element type of the network's
    inputs and outputs.

    Eight bits need an `encoding` and the `ranges` of tensors by name, which calibration finds.
    Raises UsageError for a precision that does not exist.
    """

    layers: str = "fp32"
    keep: tuple[str, ...] = ()
    kept: str = "fp32"
    inputs: str = "fp32"
    encoding: Encoding | None = None
    ranges: Mapping[str, Range] = field(default_factory=dict, hash=False)
    calibration: str | None = None

    def __post_init__(self) -> None:
        for asked, known in (
            (self.layers, LAYERS),
            (self.kept, tuple(PRECISIONS)),
            (self.inputs, tuple(PRECISIONS)),
        ):
            if asked not in known:
                raise UsageError(
                    f"there is no precision {asked!r}; choose one of {', '.join(known)}"
                )

    @property
    def eight_bits(self) -> bool:
        return self.layers in EIGHT_BITS

    @property
    def dtype(self) -> DType:
        """The element type of whatever is not kept and does not compute in eight bits."""
        return PRECISIONS[self.kept if self.eight_bits else self.layers]

    @property
    def dtypes(self) -> set[DType]:
        """Element types of the floats in the graph."""
        return {self.dtype, PRECISIONS[self.inputs]} | (
            {PRECISIONS[self.kept]} if self.keep else set()
        )

    @property
    def treats_alike(self) -> bool:
        """Whether all copies of a block are lowered in the same way: whatever their names are and
        wherever they stand."""
        return not self.keep and not self.passes()

    def passes(self) -> list[Pass]:
        """The passes that make a lowered graph one of this precision."""
        passes: list[Pass] = []
        if self.dtypes != {DType.F32}:
            keep = () if self.eight_bits else self.keep
            ports = PRECISIONS[self.inputs]
            passes.append(SetPrecision(self.dtype, keep, PRECISIONS[self.kept], ports))
        if self.eight_bits:
            if self.encoding is None:
                raise InternalError(f"{self.layers} layers need an encoding")
            passes.append(QuantizeLayers(self.encoding, self.ranges, self.keep))
        return passes

    def wide(self, graph: Graph) -> dict[str, str]:
        """Nodes of a lowered graph that compute wider than asked for, each with the reason.

        Of eight bits only layers are named: what has no weights is as wide as they leave it.
        """
        reasons = {} if self.dtype is DType.F32 else sensitive(graph, self.dtype)
        if self.eight_bits:
            reasons = {
                node.name: f"`{node.op.name}` has no kernel of eight bits"
                for node in graph
                if node.parameters and not isinstance(node.op, QUANTIZABLE)
            }
        return reasons | {
            name: f"`{label}` is kept in {self.kept}"
            for name, label in under(graph, self.keep).items()
        }

    def report(self, graph: Graph) -> dict[str, Any]:
        """What was done to a lowered graph, for machines: precision, what stayed wide and why."""
        said: dict[str, Any] = {"layers": self.layers, "inputs": self.inputs}
        if self.eight_bits or self.keep:
            said["others" if self.eight_bits else "kept"] = self.kept
        if wide := self.wide(graph):
            said["wide"] = wide
        if self.encoding is not None and self.eight_bits:
            said["encoding"] = {
                "name": self.encoding.name,
                "weight_bits": self.encoding.weight_bits,
                "why": self.encoding.why,
            }
            said["quantized"] = quantized(graph)
        if self.calibration is not None:
            said["calibration"] = self.calibration
        return said

    def summary(self, graph: Graph) -> str:
        """What was done to a lowered graph, in a few words."""
        if not self.eight_bits or self.encoding is None:
            wide = self.wide(graph)
            return f"{self.layers}, {len(wide)} nodes wider" if wide else self.layers
        counts = quantized(graph)
        bits = "" if self.encoding.weight_bits == 8 else " with weights of seven bits"
        return (
            f"{self.layers} in {counts['layers']} layers, encoded for {self.encoding.name}{bits}, "
            f"{counts['tensors']} tensors; else {self.kept}"
        )


def quantized(graph: Graph) -> dict[str, int]:
    """How many layers of a lowered graph compute in eight bits, and how many tensors become so."""
    held = [p.value for node in graph for p in node.parameters if p.role is Role.WEIGHT]
    return {
        "layers": sum(isinstance(value, Dequantized) for value in held),
        "tensors": sum(isinstance(node.op, Quantize) for node in graph),
    }
