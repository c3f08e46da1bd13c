"""Precision is a property of the graph: element types are chosen here, not by a backend's flags."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from resnetc.ir import Graph, GraphEditor, Node, NodeId, Parameter
from resnetc.ir.verify import Stage
from resnetc.ops import (
    Activation,
    BatchNorm,
    Cast,
    ChannelAffine,
    Flatten,
    GroupNorm,
    Input,
    LayerNorm,
    Linear,
    RadixSoftmax,
    Role,
    Softmax,
)
from resnetc.passes.base import Pass, unused_name
from resnetc.passes.placement import under
from resnetc.shapes import DType, TensorType

PRECISIONS: Mapping[str, DType] = {"fp32": DType.F32, "fp16": DType.F16, "bf16": DType.BF16}
"""What a user calls each precision."""
_FOLLOWERS = (Activation, BatchNorm, ChannelAffine, Flatten)
"""Ops that are fused with the one before them: they take its element type."""


def sensitive(graph: Graph, dtype: DType) -> dict[str, str]:
    """Nodes that compute in float32 though the network computes in `dtype`, each with the reason.

    Statistics and exponentials as torch.autocast has them; the logits for bfloat16 alone, whose
    eight bits make neighbours among them equal.
    """
    reasons: dict[str, str] = {}
    if dtype is DType.F32:
        return reasons
    for node in graph:
        if isinstance(node.op, LayerNorm | GroupNorm):
            reasons[node.name] = "sums squares: a float16 ends at the square of 256"
        elif isinstance(node.op, Softmax | RadixSoftmax):
            reasons[node.name] = "sums exponentials"
        elif dtype is DType.BF16 and _gives_logits(graph, node):
            reasons[node.name] = "gives the logits, and bf16 makes close ones equal"
    return reasons


def _gives_logits(graph: Graph, node: Node) -> bool:
    return isinstance(node.op, Linear) and node.id in graph.outputs.values()


@dataclass(frozen=True)
class SetPrecision(Pass):
    """Compute in `dtype`: parameters take it, casts stand where element types change.

    What `sensitive` names computes in float32, and what stands under the labels of `keep` in
    `wide`; an activation goes with the op before it. The network's inputs and outputs have the
    element type `ports`, or keep their own.
    """

    name: ClassVar[str] = "set_precision"
    stages: ClassVar[Mapping[Stage, Stage]] = {
        Stage.INFERENCE: Stage.TYPED,
        Stage.FOLDED: Stage.FOLDED_TYPED,
    }
    dtype: DType
    keep: tuple[str, ...] = ()
    wide: DType = DType.F32
    ports: DType | None = None

    def run(self, graph: Graph) -> Graph:
        """The graph with its element types chosen."""
        editor = GraphEditor(graph)
        types = self._types(graph)
        casts = _Casts(editor)
        for node in graph:
            if isinstance(node.op, Input):
                ports = self.ports or node.type.dtype
                op = Input(replace(node.op.type, dtype=ports))
                editor.place(node, (), op)
                continue
            inputs = tuple(casts.to(operand, types[node.id]) for operand in node.inputs)
            editor.place(node, inputs, parameters=_typed(node, types[node.id]))
        for node_id in dict.fromkeys(graph.outputs.values()):
            ports = self.ports or graph[node_id].type.dtype
            if editor.type_of(node_id).dtype is not ports:
                node = graph[node_id]
                editor.insert_after(node, Cast(ports), casts.name(node, ports))
        new = editor.finish()
        return new if editor.changed else graph

    def _types(self, graph: Graph) -> dict[NodeId, DType]:
        """The element type each node computes in."""
        wide = dict.fromkeys(sensitive(graph, self.dtype), DType.F32)
        wide |= dict.fromkeys(under(graph, self.keep), self.wide)
        types: dict[NodeId, DType] = {}
        for node in graph:
            before = types.get(node.inputs[0]) if node.inputs else None
            follows = isinstance(node.op, _FOLLOWERS) and before is not None
            types[node.id] = wide.get(node.name, before if follows and before else self.dtype)
        return types


def _typed(node: Node, dtype: DType) -> tuple[Parameter, ...]:
    return tuple(
        p if p.role is Role.COUNTER else replace(p, type=TensorType(p.type.shape, dtype))
        for p in node.parameters
    )


class _Casts:
    """Casts of values, each made once however many read it."""

    def __init__(self, editor: GraphEditor) -> None:
        self._editor = editor
        self._taken = {node.name for node in editor.old}
        self._made: dict[tuple[NodeId, DType], NodeId] = {}

    def to(self, operand: NodeId, dtype: DType) -> NodeId:
        """The value of an old node in an element type."""
        value = self._editor.value(operand)
        if self._editor.type_of(operand).dtype is dtype:
            return value
        if (value, dtype) not in self._made:
            node = self._editor.old[operand]
            made = self._editor.derive(node, value, Cast(dtype), self.name(node, dtype))
            self._made[value, dtype] = made
        return self._made[value, dtype]

    def name(self, node: Node, dtype: DType) -> str:
        name = unused_name(self._taken, f"{node.name}.to_{dtype.value}")
        self._taken.add(name)
        return name
