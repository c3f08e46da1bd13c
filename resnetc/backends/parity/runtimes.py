"""The runtimes that can be held against the reference. To add one: a class and a row."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from resnetc.diagnostics import RunError, UsageError, suggest
from resnetc.ir import Graph, Node
from resnetc.ops import BatchNorm

if TYPE_CHECKING:
    import numpy as np

    from resnetc.backends.weights import Arrays

    Tensors = Mapping[str, np.ndarray]

RUNTIMES: Mapping[str, str] = {
    "eager": "resnetc.backends.parity.torch_runtime:Eager",
    "compile": "resnetc.backends.parity.torch_runtime:Compiled",
    "onnxruntime": "resnetc.backends.parity.onnx_runtime:OnnxRuntime",
    "openvino": "resnetc.backends.parity.openvino_runtime:OpenVino",
}
"""Where each runtime is found, as "module:Class"."""
DEFAULT = ("eager", "onnxruntime")
_LARGEST_BATCH = 1 << 16


@dataclass(frozen=True)
class OnnxModel:
    """An ONNX model, as bytes or a file; `shown` is what messages call it. `facts` are its
    metadata behind "resnetc.", without that."""

    source: bytes | Path
    shown: str
    facts: Mapping[str, str] = field(default_factory=dict)

    @property
    def precision(self) -> str:
        return self.facts.get("precision", "fp32")

    @property
    def precisions(self) -> tuple[str, ...]:
        """All that numbers are rounded to: by layers, by what is kept, by inputs and outputs."""
        told = (self._plan.get(key) for key in ("inputs", "kept", "others"))
        return (self.precision, *(each for each in told if isinstance(each, str)))

    @property
    def weight_bits(self) -> int:
        """Bits that weights of int8 use."""
        encoding = self._plan.get("encoding")
        return 7 if isinstance(encoding, dict) and encoding.get("weight_bits") == 7 else 8

    @property
    def _plan(self) -> Mapping[str, Any]:
        """What the file says was done to its precision; nothing where it says nothing of use."""
        try:
            said = json.loads(self.facts.get("precision_plan", "{}"))
        except ValueError:
            return {}
        return said if isinstance(said, dict) else {}


@dataclass(frozen=True)
class Subject:
    """What is compared: a network with its weights, and an ONNX model of it for those who read
    such."""

    graph: Graph
    weights: Arrays
    onnx: OnnxModel


class Runtime(Protocol):
    """A network made ready. Raises MissingError when something is not installed, RunError when
    the runtime refuses."""

    name: str
    """As reports have it: "onnxruntime fp16"."""
    precisions: tuple[str, ...]
    """All that it rounds to, inputs and outputs included; it is held to the narrowest."""
    note: str | None
    """What else must be known of how it was run."""

    def run(self, inputs: Tensors) -> Tensors:
        """The outputs by name, for inputs in float32."""

    def probe(self, inputs: Tensors, nodes: Sequence[Node]) -> Tensors:
        """The values of these nodes of the graph by the nodes' names, of those that it has."""


def load_runtime(name: str) -> Callable[[Subject], Runtime]:
    """The class behind a row of the table."""
    module, _, attribute = RUNTIMES[name].partition(":")
    return cast("Callable[[Subject], Runtime]", getattr(importlib.import_module(module), attribute))


def require_known(names: Iterable[str]) -> None:
    """Raise UsageError for a name that is not in the table."""
    for name in names:
        if name not in RUNTIMES:
            near = suggest(name, RUNTIMES)
            hint = f"did you mean {near}?" if near else f"known are {', '.join(RUNTIMES)}"
            raise UsageError(f"there is no runtime {name!r} to verify in; {hint}")


def tensors_of(graph: Graph, tensors: Collection[str]) -> dict[str, str]:
    """Names of nodes, with the name of the tensor of an ONNX file that holds a node's value.

    Tensors are called like nodes, an output's like the output. Where a batch norm is missing in
    the file, the convolution before it has taken it in, so the convolution's tensor is the norm's.
    """
    outputs = {node_id: name for name, node_id in graph.outputs.items()}
    held: dict[str, str] = {}
    for node in graph:
        names = [node.name, *([outputs[node.id]] if node.id in outputs else [])]
        if (name := next((each for each in names if each in tensors), None)) is not None:
            held[node.name] = name
        elif isinstance(node.op, BatchNorm):
            taken_in = held.pop(graph[node.inputs[0]].name, None)
            if taken_in is not None:
                held[node.name] = taken_in
            elif node.id in outputs and outputs[node.id] in tensors:
                held[node.name] = outputs[node.id]
    return held


def fixed_batch(shape: Sequence[Any]) -> int | None:
    """The batch that a model is fixed to, None for a dynamic one.

    Raises RunError for a batch that there cannot be, of a damaged file.
    """
    batch = shape[0] if isinstance(shape[0], int) else None
    if batch is not None and not 0 < batch <= _LARGEST_BATCH:
        raise RunError(f"the ONNX model is fixed to a batch of {batch:,}")
    return batch
