"""Checked network to graph. The only file that knows both sides."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from resnetc.diagnostics import CompileError, Diagnostic, Help, Label, Span
from resnetc.ir import Graph, Node, Parameter, Scope
from resnetc.ir.outputs import NoSuchOutputError, find_output, with_outputs
from resnetc.ir.parameters import Stored
from resnetc.ir.runs import Run
from resnetc.ir.verify import Stage, verify
from resnetc.lang.record import CheckedNetwork, PlacedCopy, PlacedOp, join, needed
from resnetc.ops import Op, ParameterSpec


def lower(network: CheckedNetwork) -> Graph:
    """The graph of a checked network, dead layers dropped, verified.

    Raises CompileError for an output called by a label that nothing bears.
    """
    ends = [*network.outputs.values(), *network.aux.values()]
    alive = needed(network.ops, range(len(network.ops)) if network.features else ends)
    owned = _Owned()
    nodes = (
        _node(i, p, owned[p.op], network.shared) for i, p in enumerate(network.ops) if i in alive
    )
    scopes = (
        Scope(i, block.parent, block.path, block.block, block.span, block.repeats)
        for i, block in enumerate(network.blocks)
    )
    runs = _runs(network, alive)
    graph = Graph(network.name, nodes, network.outputs, scopes, network.aux, runs=runs)
    if network.features:
        _require_labels(graph, network.features)
        graph = with_outputs(graph, dict(network.features), keep_aux=True)
    verify(graph, Stage.SOURCE)
    return graph


def _require_labels(graph: Graph, features: Iterable[tuple[str, Span]]) -> None:
    """Report every label that leads to no value."""
    findings = []
    for label, span in features:
        try:
            find_output(graph, label)
        except NoSuchOutputError as error:
            close, placed = error.close, error.placed
            advice = Help(f'did you mean "{close}"?', span, f'"{close}"') if close else None
            other = (Label(placed, "this one"),) if placed is not None else ()
            findings.append(Diagnostic("E0419", str(error), Label(span), other, (), advice))
    if findings:
        raise CompileError(findings)


def _runs(network: CheckedNetwork, alive: set[int]) -> list[Run]:
    """The copies of a block that stand one behind another, where nothing of them is dropped or
    reused and each reads none but the one before it."""
    runs: list[Run] = []
    row: list[PlacedCopy] = []
    for copy in () if network.shared else network.copies:
        if row and not _follows(copy, row):
            runs += _run(row, network.ops, runs)
            row = []
        if alive.issuperset(range(copy.start, copy.start + copy.length)):
            row.append(copy)
    return runs + _run(row, network.ops, runs)


def _follows(copy: PlacedCopy, row: Sequence[PlacedCopy]) -> bool:
    """Whether this is a copy of the same block, right behind the row's last and reading it as that
    one reads the one before it. What the first of a row reads does not matter."""
    before = row[-1]
    return (
        (copy.of, copy.start) == (before.of, before.start + before.length)
        and copy.path.rpartition(".")[0] == before.path.rpartition(".")[0]
        and (len(row) == 1 or copy.door - copy.start == before.door - before.start)
    )


def _run(row: list[PlacedCopy], ops: Sequence[PlacedOp], runs: Sequence[Run]) -> list[Run]:
    if row and any(run.start >= row[0].start for run in runs):
        row = row[1:]  # there are runs in the first one, which was not copied
    if len(row) < 2:
        return []
    start, length = row[1].start, row[1].length
    furthest = min((i for op in ops[start : start + length] for i in op.inputs), default=start)
    if start - furthest > length:
        return []
    return [Run(row[0].start, length, tuple(copy.path for copy in row))]


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
