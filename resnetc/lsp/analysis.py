"""A text with all that the compiler knows of it.

`Analysis` is cheap: syntax, imports, names. Its `report` elaborates every network of the file,
which finds the other mistakes and gives each row its shapes; it is made when first asked for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from resnetc.diagnostics import Diagnostic, Source, Span
from resnetc.driver import check_program
from resnetc.lang import syntax as s
from resnetc.lang.modules import Module, Program, load_program
from resnetc.lang.observe import Observer, Row
from resnetc.lang.record import PlacedOp
from resnetc.lang.site import Flowing
from resnetc.lang.values import Tensor
from resnetc.lsp.documents import Documents
from resnetc.lsp.indexer import index
from resnetc.lsp.symbols import Index

MAX_NETWORKS = 64
"""Networks of a file that are elaborated while it is edited; `resnetc check` takes all."""
MAX_INSTANCES = 1_000
"""Instances of a row whose shapes are compared."""

Place = tuple[int, int]
"""Where a row starts and ends in its file."""


@dataclass
class Placed:
    """A row as the first network that has it places it: the first instance and the others'
    shapes."""

    network: str
    span: Span
    path: str
    shape: str
    ops: tuple[PlacedOp, ...]
    others: dict[str, int] = field(default_factory=dict)
    """How many instances give which other shape."""
    count: int = 1

    @property
    def params(self) -> int:
        """Trainable numbers of the first instance."""
        specs = (spec for op in self.ops for spec in op.op.parameters())
        return sum(math.prod(spec.type.shape) for spec in specs if spec.role.trainable)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the first instance, per sample."""
        return sum(op.op.macs(op.type) for op in self.ops)


Rows = dict[Path, dict[Place, Placed]]
"""The rows of each file that takes part, by their places."""


@dataclass(frozen=True)
class Report:
    """What elaborating a file's networks brought: findings, and the rows of each file that takes
    part. Of a file that can be parsed in parts only, some mistakes are due to what is left out."""

    findings: tuple[Diagnostic, ...]
    rows: Rows


@dataclass(frozen=True)
class Analysis:
    """One text of one file. `mistakes` are those of syntax, here and in what is imported; `texts`
    are those of all files that take part, as they were read."""

    path: Path
    source: Source
    program: Program
    mistakes: tuple[Diagnostic, ...]
    texts: dict[Path, str]

    @property
    def module(self) -> Module:
        """The file, as far as it can be parsed."""
        return self.program.entry

    @cached_property
    def index(self) -> Index:
        """The file's names."""
        return index(self.module)

    @cached_property
    def report(self) -> Report:
        """The networks, elaborated."""
        return _elaborate(self)

    @property
    def findings(self) -> tuple[Diagnostic, ...]:
        """All mistakes; where there are some of syntax only these, for which nothing has to be
        elaborated."""
        return self.mistakes or self.report.findings

    @property
    def wrong(self) -> bool:
        """Whether there is an error, and not warnings at most."""
        return any(finding.severity == "error" for finding in self.findings)

    @property
    def paths(self) -> list[Path]:
        """The files that take part, this one first."""
        return list(self.program.modules)


def analyse(path: Path, documents: Documents) -> Analysis:
    """What a file means with its imports. Never raises for what a text may hold."""
    path = path.resolve()
    source = documents.source(path)
    program = load_program(source, path, documents)
    sources = {part: documents.source(part) for part in program.modules}
    mistakes = [m for part in sources.values() for m in documents.parsed(part).mistakes]
    texts = {part: read.text for part, read in sources.items()}
    return Analysis(path, source, program, tuple(mistakes), texts)


def _elaborate(analysis: Analysis) -> Report:
    program = analysis.program
    rows: Rows = {path: {} for path in program.modules}
    by_source = {id(m.file.source): rows[path] for path, m in program.modules.items()}
    networks = list(program.entry.own((s.Network, s.Variant)))
    checked = check_program(program, networks[:MAX_NETWORKS], lambda name: _watch(name, by_source))
    return Report((*checked.findings, *checked.warnings), rows)


def _watch(network: str, by_source: dict[int, dict[Place, Placed]]) -> Observer:
    """Notes the rows of one network that no earlier one has."""

    def observe(row: Row) -> None:
        rows = by_source.get(id(row.span.source))
        shape = flowing(row.here)
        if rows is None or shape is None:
            return
        place = row.span.start, row.span.end
        known = rows.get(place)
        if known is None:
            rows[place] = Placed(network, row.span, row.path, shape, row.ops)
        elif known.network == network and known.count < MAX_INSTANCES:
            known.count += 1
            if shape != known.shape:
                known.others[shape] = known.others.get(shape, 0) + 1

    return observe


def flowing(here: Flowing) -> str | None:
    """The shapes of what flows, or None where nothing does."""
    if isinstance(here, Tensor):
        return str(here.type)
    if isinstance(here, list):
        return ", ".join(str(tensor.type) for tensor in here)
    return None
