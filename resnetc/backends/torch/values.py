"""Where the values of a graph are read, and which of them torch may overwrite."""

from __future__ import annotations

from collections import Counter

from resnetc.ir import Graph, Node, NodeId
from resnetc.ops import (
    MERGES,
    Add,
    BatchNorm,
    ChannelAffine,
    ChannelScale,
    Concat,
    Conv2d,
    ConvTranspose2d,
    GroupNorm,
    Identity,
    Input,
    LayerNorm,
    Linear,
    Mul,
)

_WRITABLE = (
    *(Conv2d, ConvTranspose2d, Linear),
    *(BatchNorm, GroupNorm, LayerNorm, ChannelAffine, ChannelScale),
    *(Add, Mul, Concat),
)
"""Ops whose output in torch is a tensor of its own that their backward does not read.

Not `subsample`, `flatten` and, in evaluation, `dropout`: they are views or the operand itself.
"""


class Values:
    """Aliases, positions and readers of a graph's values.

    An `identity`, or a merge of one operand, is no value of its own: `source` leads from any node
    to the node that makes the tensor. Positions count nodes in their order; inputs stand at -1.
    """

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self.source: dict[NodeId, NodeId] = {}
        for node in graph:
            self.source[node.id] = self.source[node.inputs[0]] if _is_alias(node) else node.id
        self.position = {node.id: -1 for node in graph.inputs}
        computing = (node for node in graph if not isinstance(node.op, Input))
        self.position.update((node.id, place) for place, node in enumerate(computing))
        self.alive = self._alive()
        self.reads: Counter[NodeId] = Counter()
        self.last_read: dict[NodeId, int] = {}
        self._find_readers()

    def operands(self, node: Node) -> tuple[NodeId, ...]:
        """The nodes that make a node's operands."""
        return tuple(self.source[operand] for operand in node.inputs)

    def computed(self, node: Node) -> bool:
        """Whether the node is work to do: some output needs it, and it makes a tensor."""
        return node.id in self.alive and not _is_alias(node) and not isinstance(node.op, Input)

    def may_overwrite(self, node: Node, index: int) -> bool:
        """Whether `node` may write its result over one of its operands.

        It may when nothing else reads that tensor: no other op, no caller, no backward pass.
        """
        operand = self.source[node.inputs[index]]
        return self.reads[operand] == 1 and isinstance(self._graph[operand].op, _WRITABLE)

    def _alive(self) -> set[NodeId]:
        alive = set(self._graph.results.values())
        for node in reversed(list(self._graph)):
            if node.id in alive:
                alive.update(node.inputs)
        return alive

    def _find_readers(self) -> None:
        for node in self._graph:
            if self.computed(node):
                for operand in self.operands(node):
                    self.reads[operand] += 1
                    self.last_read[operand] = self.position[node.id]
        for output in self._graph.results.values():
            self.reads[self.source[output]] += 1
            self.last_read[self.source[output]] = len(self._graph)


def _is_alias(node: Node) -> bool:
    merges_nothing = node.op.name in MERGES and len(node.inputs) == 1
    return isinstance(node.op, Identity) or merges_nothing
