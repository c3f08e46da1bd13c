"""Runs: copies of a block one behind another, as stages of residual networks are.

A network of 1,202 layers has three kinds of block. What is done to a graph block by block, such as
to write it to a file, need be done only once for each kind; a run says where.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from resnetc.ir.graph import Graph, Node, NodeId


@dataclass(frozen=True, slots=True)
class Run:
    """Copies of a block one behind another: `length` nodes each, from the node `start` on.

    They are equal node by node, but for names: those of copy `k`, and its parameters', begin with
    `paths[k]` and a dot. Each but the first reads itself and the copy before it, all in the same
    way: an operand is as many nodes back in one as in another.
    """

    start: NodeId
    length: int
    paths: tuple[str, ...]

    def first(self, copy: int) -> NodeId:
        """The first node of a copy; -1 is the last one."""
        return self.start + range(len(self.paths))[copy] * self.length

    def nodes(self, copy: int) -> range:
        """The nodes of a copy."""
        return range(self.first(copy), self.first(copy) + self.length)


@dataclass(frozen=True, slots=True)
class Shortened:
    """A graph without the middle of its long runs, and these runs, whole: copies 0 and 1 and the
    last one stand for all. Copy 1 stands between two like it; the last one reads copy 1."""

    graph: Graph
    runs: tuple[Run, ...]


_KEPT = 3


def shortened(graph: Graph) -> Shortened:
    """The graph without the copies of a block that have one like them on both sides."""
    runs = [run for run in graph.runs if len(run.paths) > _KEPT]
    inside = {i for run in runs for i in range(run.first(1), run.nodes(-1).stop)}
    read = {i for node in graph if node.id not in inside for i in node.inputs}
    read.update(graph.results.values())
    runs = [run for run in runs if read.isdisjoint(range(run.first(1), run.first(-1)))]
    if not runs:
        return Shortened(graph, ())
    gone: set[NodeId] = set()
    moved: dict[NodeId, Node] = {}
    for run in runs:
        between = range(run.first(2), run.first(-1))
        gone.update(between)
        for i in run.nodes(-1):
            node = graph[i]
            inputs = [j - len(between) if j < run.first(-1) else j for j in node.inputs]
            moved[i] = replace(node, inputs=tuple(inputs)) if inputs != [*node.inputs] else node
    nodes = [moved.get(node.id, node) for node in graph if node.id not in gone]
    short = type(graph)(graph.name, nodes, graph.outputs, graph.scopes, graph.aux, graph.left_out)
    short.verified = {node.id for node in nodes if node is graph[node.id]} & graph.verified
    return Shortened(short, tuple(runs))
