"""Drop what does nothing in inference, and compute what never changes there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from resnetc.ir import Graph, GraphEditor, Node
from resnetc.ir.graph import NodeId
from resnetc.ir.parameters import Standardized
from resnetc.ir.verify import Stage
from resnetc.ops import AdaptiveAvgPool, Add, Concat, Dropout, DropPath, Identity, Mul, WsConv2d
from resnetc.passes.base import Pass

_MERGES = (Add, Mul, Concat)


@dataclass(frozen=True)
class ForInference(Pass):
    """What makes a network one for inference, a node at a time.

    Readers of an identity, a dropout, a pool to the size that is there, or a merge of one operand
    read that operand instead. A convolution with weight standardization becomes a plain one: its
    weight's value is the standardized one, computed when an artefact is written. A concat reads
    what a concat that nobody else reads would have joined. Auxiliary outputs go, and the heads that
    only they need.
    """

    name: ClassVar[str] = "for_inference"
    stages: ClassVar[Mapping[Stage, Stage]] = {Stage.SOURCE: Stage.INFERENCE}

    def run(self, graph: Graph) -> Graph:
        """The graph without what matters in training only; most nodes of most networks stay."""
        touched = bool(graph.aux) or any(_changes(graph, node) for node in graph)
        return super().run(graph) if touched else graph

    def visit(self, editor: GraphEditor, node: Node) -> None:
        if _does_nothing(editor.old, node):
            editor.forward(node, node.inputs[0])
        elif isinstance(node.op, WsConv2d):
            weight, *bias = node.parameters
            value = Standardized(weight.value, node.op.eps)
            editor.replace(node, node.op.plain, (replace(weight, value=value), *bias))
        elif isinstance(node.op, Concat) and (parts := _parts(editor.old, node)) != node.inputs:
            editor.changed = True
            editor.keep(replace(node, inputs=parts))
        else:
            editor.keep(node)

    def leave(self, editor: GraphEditor) -> None:
        editor.drop_aux()


def _changes(graph: Graph, node: Node) -> bool:
    if isinstance(node.op, Concat) and _parts(graph, node) != node.inputs:
        return True
    return isinstance(node.op, WsConv2d) or _does_nothing(graph, node)


def _parts(graph: Graph, concat: Node) -> tuple[NodeId, ...]:
    """What a concat joins in the end, through concats that only it reads."""
    parts: list[NodeId] = []
    for operand in concat.inputs:
        inner = graph[operand]
        single = len(graph.users(operand)) == 1 and concat.inputs.count(operand) == 1
        if isinstance(inner.op, Concat) and single and operand not in graph.results.values():
            parts += _parts(graph, inner)
        else:
            parts.append(operand)
    return tuple(parts)


def _does_nothing(graph: Graph, node: Node) -> bool:
    if isinstance(node.op, _MERGES):
        return len(node.inputs) == 1
    if isinstance(node.op, AdaptiveAvgPool):
        return node.op.to == graph[node.inputs[0]].type.shape[1:]
    return isinstance(node.op, Identity | Dropout | DropPath)
