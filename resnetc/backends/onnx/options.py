"""What a user may choose about an ONNX file."""

from __future__ import annotations

from dataclasses import dataclass

import onnx.defs

from resnetc.diagnostics import UsageError
from resnetc.ir import Graph
from resnetc.ops import Gelu
from resnetc.passes import Plan
from resnetc.sections import OPSETS
from resnetc.shapes import DType

OLDEST_OPSET = OPSETS[0]
NEWEST_OPSET = min(OPSETS[1], onnx.defs.onnx_opset_version())
"""The newest that is tested, and that the installed onnx knows."""
BF16_OPSET = 22
"""Convolution and pooling take bfloat16 from here on."""
NARROW_SCALE_OPSET = 19
"""QuantizeLinear takes float16 and bfloat16, and gives float8, from here on."""
DEFAULT_OPSET = 18
GELU_OPSET = 20
"""Gelu is an op from here on."""


@dataclass(frozen=True)
class OnnxOptions:
    """How a graph is written.

    `fold`: fold batch norms (True) or keep them as BatchNormalization nodes.
    `batch`: None for a dynamic batch named "N", else the fixed batch.
    `opset`: None for the default, 18; 19 where eight bits meet fp16, or are fp8; 20 for a network
    with GELUs; 22 in bf16.
    `external`: weights in a second file, `<name>.data`; None does so only above protobuf's 2 GB.
    `precision`: what everything computes in; `plan` says more than that, and sets it.

    Raises UsageError for what makes no sense.
    """

    fold: bool = True
    batch: int | None = None
    opset: int | None = None
    external: bool | None = None
    precision: str = "fp32"
    plan: Plan | None = None

    def __post_init__(self) -> None:
        plan = self.plan or Plan(self.precision)
        if plan.eight_bits and plan.encoding is None:
            raise UsageError(f"{plan.layers} needs the ranges of activations, which a plan holds")
        object.__setattr__(self, "precision", plan.layers)
        if self.batch is not None and self.batch < 1:
            raise UsageError(f"the batch must be at least 1, not {self.batch}")
        if not OLDEST_OPSET <= self.version <= NEWEST_OPSET:
            raise UsageError(
                f"opset {self.version} is not supported: choose {OLDEST_OPSET} to {NEWEST_OPSET}"
            )
        if self.version < self._least:
            narrow = "bf16" if self._least == BF16_OPSET else plan.layers
            what = (
                "where convolutions take it" if narrow == "bf16" else "where scales may be narrow"
            )
            raise UsageError(
                f"{narrow} needs opset {self._least} or later, {what}; "
                f"opset {self.version} was asked for"
            )

    @property
    def lowering(self) -> Plan:
        """The plan, also of a precision that was given by its name."""
        return self.plan or Plan(self.precision)

    @property
    def version(self) -> int:
        """The opset that is written, but for what a network needs: see `version_of`."""
        return max(DEFAULT_OPSET, self._least) if self.opset is None else self.opset

    def version_of(self, graph: Graph) -> int:
        """The opset a graph is written in: by default one in which a GELU is one node, not five."""
        if self.opset is None and any(isinstance(node.op, Gelu) for node in graph):
            return max(GELU_OPSET, self.version)
        return self.version

    @property
    def _least(self) -> int:
        """The oldest opset that has what is asked for."""
        plan = self.lowering
        if DType.BF16 in plan.dtypes:
            return BF16_OPSET
        narrow = plan.eight_bits and (plan.layers == "fp8" or plan.dtype is not DType.F32)
        return NARROW_SCALE_OPSET if narrow else OLDEST_OPSET
