"""A text with all that the compiler knows of it.

`Analysis` is cheap: syntax, imports, names. Its `report` elaborates every network of the file,
which finds the other mistakes and gives each row its shapes; it is made when first asked for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from resnetc.checking import check_program
from resnetc.diagnostics import Diagnostic, Source, Span
from resnetc.lang import syntax as s
from resnetc.lang.modules import Definition, Module, Program, load_program
from resnetc.lang.observe import Observer, Row
from resnetc.lang.record import PlacedOp
from resnetc.lang.site import Flowing
from resnetc.lang.values import Tensor
from resnetc.lsp.documents import Documents
from resnetc.lsp.indexer import index
from resnetc.lsp.symbols import Index

MAX_ROWS = 2_000
"""Rows that are placed, about, at every pause of the typing: a tenth of a second. The other
networks of a large family follow when the pause is longer."""
MAX_AT_FIRST = 16
"""Networks that are elaborated first when a file is opened."""
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
    part. Of a file that can be parsed in parts only, some mistakes are due to what is left out.
    `sizes` says how many rows each network placed."""

    findings: tuple[Diagnostic, ...]
    rows: Rows
    sizes: dict[str, int]


@dataclass(frozen=True)
class Analysis:
    """One text of one file. `mistakes` are those of syntax, here and in what is imported; `texts`
    are those of all files that take part, as they were read; `chosen` are the networks to
    elaborate, None for all."""

    path: Path
    source: Source
    program: Program
    mistakes: tuple[Diagnostic, ...]
    texts: dict[Path, str]
    chosen: frozenset[str] | None = None

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
    def errors(self) -> list[Diagnostic]:
        """The findings that are no warnings."""
        return [finding for finding in self.findings if finding.severity == "error"]

    @property
    def wrong(self) -> bool:
        """Whether there is an error."""
        return bool(self.errors)

    @property
    def networks(self) -> list[Definition]:
        """The networks of the file."""
        return list(self.program.entry.own((s.Network, s.Variant)))

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


def choice(now: Analysis, whole: Analysis | None) -> frozenset[str] | None:
    """The networks to elaborate after a change, None for all. `whole` is an earlier analysis.

    Of a large family these are the networks whose own text has changed, those whose shapes the
    rows show, and others in their order while there is room.
    """
    if whole is None:
        names = [network.decl.name for network in now.networks]
        return frozenset(names[:MAX_AT_FIRST]) if len(names) > MAX_AT_FIRST else None
    sizes = whole.report.sizes
    if sum(sizes.values()) <= MAX_ROWS:
        return None
    before = {network.decl.name: network.decl.span.text for network in whole.networks}
    shown = {row.network for row in whole.report.rows[whole.path].values()}
    chosen, total = set(), 0
    for network in now.networks:
        name, size = network.decl.name, sizes.get(network.decl.name, 0)
        wanted = name in shown or before.get(name) != network.decl.span.text
        if wanted or total + size <= MAX_ROWS:
            chosen.add(name)
            total += size
    return frozenset(chosen)


def _elaborate(analysis: Analysis) -> Report:
    program, chosen = analysis.program, analysis.chosen
    rows: Rows = {path: {} for path in program.modules}
    by_source = {id(m.file.source): rows[path] for path, m in program.modules.items()}
    sizes: dict[str, int] = {}
    networks = [n for n in analysis.networks if chosen is None or n.decl.name in chosen]
    checked = check_program(program, networks, lambda name: _watch(name, by_source, sizes))
    return Report((*checked.findings, *checked.warnings), rows, sizes)


def _watch(
    network: str, by_source: dict[int, dict[Place, Placed]], sizes: dict[str, int]
) -> Observer:
    """Counts the rows of a network, and notes those that no earlier one has."""

    def observe(row: Row) -> None:
        sizes[network] = sizes.get(network, 0) + 1
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
