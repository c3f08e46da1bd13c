"""How passes are written and run.

A pass is a small frozen value; its fields are its options. It reads one graph and builds the next,
and returns the graph it was given when there is nothing to change. It says which stages it may
follow and which stage it leaves; :func:`run_passes` holds it to that, after every pass.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar

from resnetc.diagnostics import InternalError
from resnetc.ir import Graph, GraphEditor, Node
from resnetc.ir.verify import Stage, verify


@dataclass(frozen=True)
class Pass:
    """Base of all passes. `stages` maps each stage the pass may follow to the one it leaves."""

    name: ClassVar[str]
    stages: ClassVar[Mapping[Stage, Stage]]

    def run(self, graph: Graph) -> Graph:
        """The graph after the pass: `graph` itself, the same object, when nothing changed."""
        editor = GraphEditor(graph)
        for node in graph:
            self.visit(editor, node)
        self.leave(editor)
        new = editor.finish()
        return new if editor.changed else graph

    def visit(self, editor: GraphEditor, node: Node) -> None:
        """Carry one node over; nodes come in topological order."""
        raise NotImplementedError

    def leave(self, editor: GraphEditor) -> None:
        """What remains to be done once every node has been visited."""


@dataclass(frozen=True)
class Step:
    """One pass that ran: the graph and stage it left, and the seconds it took to run and verify."""

    name: str
    graph: Graph
    stage: Stage
    changed: bool
    seconds: float


@dataclass(frozen=True)
class Outcome:
    """What a list of passes made of a graph."""

    graph: Graph
    stage: Stage
    steps: tuple[Step, ...]

    @property
    def changed(self) -> bool:
        return any(step.changed for step in self.steps)


Watch = Callable[[Step], None]


def run_passes(
    graph: Graph,
    passes: Iterable[Pass],
    *,
    stage: Stage = Stage.SOURCE,
    watch: Watch | None = None,
) -> Outcome:
    """Run passes in order and verify the graph after each one.

    `watch` is called after every pass: timing and dumps hang on it. Raises InternalError for a
    pass that may not follow the stage before it, or that leaves a graph the verifier refuses.
    """
    steps: list[Step] = []
    for each in passes:
        if stage not in each.stages:
            raise InternalError(f"{each.name} may not follow stage {stage.name}")
        started = time.perf_counter()
        new = each.run(graph)
        stage = each.stages[stage]
        try:
            verify(new, stage)
        except InternalError as error:
            raise InternalError(f"after {each.name}: {error}") from error
        seconds = time.perf_counter() - started
        steps.append(Step(each.name, new, stage, new is not graph, seconds))
        graph = new
        if watch is not None:
            watch(steps[-1])
    return Outcome(graph, stage, tuple(steps))


def unused_name(taken: Container[str], wanted: str) -> str:
    """The wanted name, with underscores behind it as long as it is taken."""
    while wanted in taken:
        wanted += "_"
    return wanted
