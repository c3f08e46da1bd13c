"""Checked network to graph. The only file that knows both sides."""

from __future__ import annotations

from resnetc.ir import Graph, Node, Parameter, Scope
from resnetc.ir.parameters import Stored
from resnetc.ir.verify import Stage, verify
from resnetc.lang.record import CheckedNetwork, PlacedOp, join, needed
from resnetc.ops import Op, ParameterSpec


def lower(network: CheckedNetwork) -> Graph:
    """The graph of a checked network, dead layers dropped, verified."""
    alive = needed(network.ops, [*network.outputs.values(), *network.aux.values()])
    owned = _Owned()
    nodes = (
        _node(i, p, owned[p.op], network.shared) for i, p in enumerate(network.ops) if i in alive
    )
    scopes = (
        Scope(i, block.parent, block.path, block.block, block.span, block.repeats)
        for i, block in enumerate(network.blocks)
    )
    graph = Graph(network.name, nodes, network.outputs, scopes, network.aux)
    verify(graph, Stage.SOURCE)
    return graph


class _Owned:
    """What ops own. An op that was copied to many places is asked once."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[ParameterSpec, ...]] = {}

    def __getitem__(self, op: Op) -> tuple[ParameterSpec, ...]:
        if id(op) not in self._known:
            self._known[id(op)] = op.parameters()
        return self._known[id(op)]


def _node(
    number: int, placed: PlacedOp, owned: tuple[ParameterSpec, ...], shared: frozenset[str]
) -> Node:
    parameters = tuple(
        Parameter(path, spec.type, spec.role, Stored(path), path in shared)
        for spec in owned
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
