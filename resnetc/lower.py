"""Checked network to graph. The only file that knows both sides."""

from __future__ import annotations

from resnetc.ir import Graph, Node, Parameter, Scope
from resnetc.ir.parameters import Stored
from resnetc.ir.verify import Stage, verify
from resnetc.lang.record import CheckedNetwork, PlacedOp, join, needed


def lower(network: CheckedNetwork) -> Graph:
    """The graph of a checked network, dead layers dropped, verified."""
    alive = needed(network.ops, [*network.outputs.values(), *network.aux.values()])
    nodes = (_node(i, placed) for i, placed in enumerate(network.ops) if i in alive)
    scopes = (
        Scope(i, block.parent, block.path, block.block, block.span)
        for i, block in enumerate(network.blocks)
    )
    graph = Graph(network.name, nodes, network.outputs, scopes, network.aux)
    verify(graph, Stage.SOURCE)
    return graph


def _node(number: int, placed: PlacedOp) -> Node:
    parameters = tuple(
        Parameter(path, spec.type, spec.role, Stored(path))
        for spec in placed.op.parameters()
        for path in (join(placed.prefix, spec.name),)
    )
    return Node(
        number,
        placed.name,
        placed.op,
        placed.inputs,
        placed.type,
        parameters,
        placed.scope,
        placed.span,
    )
