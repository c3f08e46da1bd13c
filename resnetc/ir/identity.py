"""Identity of a graph: a hash of all that makes it the network it is."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from resnetc.ir.parameters import Stored
from resnetc.ir.runs import Run

if TYPE_CHECKING:
    from resnetc.ir.graph import Graph, Node


def identity(graph: Graph) -> str:
    """A hash of names, ops, attributes, operands, types; not of text or spans."""
    number = {node.id: i for i, node in enumerate(graph)}
    told = "".join(_told(graph, number))
    told += repr([(name, number[i]) for name, i in graph.outputs.items()])
    if graph.aux:
        told += repr([(name, number[i]) for name, i in graph.aux.items()])
    return hashlib.sha256(told.encode()).hexdigest()


def _told(graph: Graph, number: dict[int, int]) -> Iterator[str]:
    """The nodes in order, each with its operands' numbers. A run is spelled once."""
    spelled = _Spelled()
    runs = {number[run.start]: run for run in (_alike(graph, each) for each in graph.runs)}
    nodes = list(graph)
    i = 0
    while i < len(nodes):
        run = runs.get(i)
        if run is not None and _is_of_source(copy := nodes[i : i + run.length], run):
            yield from _copies(copy, run, number, spelled)
            i += run.length * len(run.paths)
        else:
            yield spelled.node(nodes[i], [number[operand] for operand in nodes[i].inputs])
            i += 1


def _alike(graph: Graph, run: Run) -> Run:
    """The run without its first copy, if that one reads what is before it in another way."""
    first, second = (
        [i - operand for i in run.nodes(copy) for operand in graph[i].inputs] for copy in (0, 1)
    )
    return run if first == second else Run(run.first(1), run.length, run.paths[1:])


_PATH, _NUMBER = "\0", "\1"
"""What stands for a copy's path, and for an operand's number, in the text of a run: characters that
no name has. As Python shows a text, the first is four."""


def _copies(
    copy: Sequence[Node], run: Run, number: dict[int, int], spelled: _Spelled
) -> Iterator[str]:
    """All copies of a run, of which `copy` is the first."""
    text = "".join(
        spelled.node(node, [_NUMBER for _ in node.inputs], run.paths[0], _PATH) for node in copy
    )
    text = text.replace("%", "%%").replace(repr(_NUMBER), "%d")
    pieces = text.split(repr(_PATH)[1:-1])
    operands = [number[operand] for node in copy for operand in node.inputs]
    for path in run.paths:
        yield path.join(pieces) % tuple(operands)
        operands = [operand + run.length for operand in operands]


def _is_of_source(copy: Sequence[Node], run: Run) -> bool:
    """Whether every parameter is the user's, and every path is shown as it is."""
    held = (parameter for node in copy for parameter in node.parameters)
    return all(parameter.value == Stored(parameter.path) for parameter in held) and all(
        repr(path) == f"'{path}'" and "%" not in path for path in run.paths
    )


class _Spelled:
    """Nodes as text. The `repr` of ops, types and roles, which copies of a block share, is made
    once for each."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[str, object]] = {}  # the object, for its id lives as long

    def node(
        self, node: Node, operands: Sequence[object], path: str = "", instead: str = ""
    ) -> str:
        """A node with these operands; of names that begin with `path`, with `instead` there."""
        cut = len(path)
        held = []
        for p in node.parameters:
            name = instead + p.path[cut:]
            # Who shares a parameter is told by its path.
            value = Stored(name) if cut else p.value
            held.append(f"({name!r}, {self._of(p.type)}, {self._of(p.role)}, {value!r})")
        return (
            f"({instead + node.name[cut:]!r}, {self._of(node.op)}, {[*operands]}, "
            f"{self._of(node.type)}, [{', '.join(held)}])"
        )

    def _of(self, thing: object) -> str:
        known = self._known.get(id(thing))
        if known is None:
            known = self._known[id(thing)] = repr(thing), thing
        return known[0]
