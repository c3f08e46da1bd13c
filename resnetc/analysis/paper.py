"""Holds a network against the paper: what agrees, what differs, and what explains a difference.

A difference is explained when the paper's network, with the deviations found in the graph applied
one after another, is the graph's to the last layer and the last digit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from enum import Enum
from itertools import pairwise
from typing import Any

from resnetc.analysis.blueprint import Blueprint
from resnetc.analysis.claims import Claim, find_claim
from resnetc.analysis.cost import cost
from resnetc.analysis.outline import Outline
from resnetc.analysis.reading import UnlikePaperError, read
from resnetc.ir import Graph
from resnetc.ops import MaxPool, PadChannels


class Verdict(Enum):
    """How a row of the comparison came out."""

    AGREES = "agrees"
    EXPLAINED = "explained"
    DIFFERS = "differs"


@dataclass(frozen=True)
class PaperRow:
    """One thing the paper says, and the network's; `why` are numbers of deviations, from 1."""

    what: str
    paper: str
    here: str
    verdict: Verdict
    why: tuple[int, ...] = ()


@dataclass(frozen=True)
class Deviation:
    """A known way to depart from the paper, found in the graph, and what it adds."""

    text: str
    macs: int
    params: int


@dataclass(frozen=True)
class PaperReport:
    """The comparison of one network with the network of the paper it claims to be."""

    network: str
    claim: str
    title: str
    rows: tuple[PaperRow, ...]
    deviations: tuple[Deviation, ...]
    notes: tuple[str, ...]

    @property
    def holds(self) -> bool:
        """Whether the claim holds: every difference is explained."""
        return all(row.verdict is not Verdict.DIFFERS for row in self.rows)

    def to_json(self) -> dict[str, Any]:
        """The report for machines."""
        rows = [{**asdict(row), "verdict": row.verdict.value} for row in self.rows]
        return {**asdict(self), "rows": rows, "holds": self.holds}


def check_paper(graph: Graph, claim: str) -> PaperReport:
    """Compare a graph with the network of the paper it claims to be, such as "table1/50".

    Raises UsageError when the paper has no such network.
    """
    wanted = find_claim(claim)
    counted = cost(graph)
    counts = {"macs": counted.macs, "params": counted.params}
    try:
        found = read(graph, wanted.blueprint.block_length)
    except UnlikePaperError as error:
        paper = "stem, blocks, average pool, classifier"
        rows = [PaperRow("structure", paper, str(error), Verdict.DIFFERS)]
        rows += _figure_rows(wanted, [wanted.blueprint], counts)
        return PaperReport(graph.name, claim, wanted.title, tuple(rows), (), ())
    steps = list(_steps(wanted, found))
    plans = [step.plan for step in steps]
    rows = [*_outline_rows(plans, found), *_figure_rows(wanted, plans, counts)]
    deviations = [_deviation(before, after) for before, after in pairwise(steps)]
    notes = tuple(_open_choices(graph))
    return PaperReport(graph.name, claim, wanted.title, tuple(rows), tuple(deviations), notes)


@dataclass(frozen=True)
class _Step:
    """The paper's network after one more deviation; the first step is the paper's own."""

    plan: Blueprint
    text: str = ""


def _steps(claim: Claim, found: Outline) -> Iterator[_Step]:
    plan = claim.blueprint
    if found.option in claim.options:
        plan = replace(plan, option=found.option)
    yield _Step(plan)
    for field, value, text in _choices(plan, found):
        if value is not None and value != getattr(plan, field):
            plan = replace(plan, **{field: value})
            yield _Step(plan, text)


def _choices(plan: Blueprint, found: Outline) -> Iterator[tuple[str, Any, str]]:
    """What networks are known to do otherwise than the paper: field, the network's value, words.

    None stands for a value that no blueprint can have. A network with shortcuts is another
    network than one without, so that is never an explanation.
    """
    image = "x".join(map(str, found.image))
    yield "image", found.image, f"the input is {image}"
    yield "classes", found.classes, f"there are {found.classes} classes"
    residual = plan.option != "none" and found.option in ("A", "B", "C")
    option = found.option if residual else None
    yield "option", option, f"the shortcuts are option {found.option} instead of {plan.option}"
    strided = found.strided_layer
    if strided is not None and strided < plan.block_length:
        places = [found.rows()["stride 2"], plan.outline().rows()["stride 2"]]
        yield "strided_layer", strided, f"the stride of 2 is {places[0]}; the paper's {places[1]}"
    biased = found.biased if found.biased != "some" else None
    where = "every convolution" if biased == "all" else "conv1"
    text = f"{where} has a bias that batch norm makes redundant"
    yield "biased", biased, text


def _deviation(before: _Step, after: _Step) -> Deviation:
    old, new = before.plan.outline(), after.plan.outline()
    return Deviation(after.text, new.macs - old.macs, new.params - old.params)


def _outline_rows(plans: list[Blueprint], found: Outline) -> Iterator[PaperRow]:
    outlines = [plan.outline() for plan in plans]
    names = [stage.name for stage in plans[0].stages]
    said, here = [outline.rows(names) for outline in outlines], found.rows(names)
    for what in dict.fromkeys([*said[0], *here]):
        yield _row(what, [rows.get(what, "none") for rows in said], here.get(what, "none"))
    yield _layers_row(outlines, found)


def _layers_row(outlines: list[Outline], found: Outline) -> PaperRow:
    """Every layer with all its attributes, so that nothing escapes the other rows."""
    paper = f"{len(outlines[0].layers) + 1} layers"
    if outlines[-1] != found:
        return PaperRow(_LAYERS, paper, _first_difference(outlines[-1], found), Verdict.DIFFERS)
    here = f"{len(found.layers) + 1} layers"
    if len(outlines) == 1:
        return PaperRow(_LAYERS, paper, here, Verdict.AGREES)
    return PaperRow(_LAYERS, paper, here, Verdict.EXPLAINED, tuple(range(1, len(outlines))))


def _row(what: str, said: list[str], here: str) -> PaperRow:
    """A row from what the paper's network says of itself after each deviation."""
    why = tuple(number for number in range(1, len(said)) if said[number] != said[number - 1])
    if here == said[0]:
        return PaperRow(what, said[0], here, Verdict.AGREES)
    if here == said[-1]:
        return PaperRow(what, said[0], here, Verdict.EXPLAINED, why)
    return PaperRow(what, said[0], here, Verdict.DIFFERS)


def _first_difference(expected: Outline, found: Outline) -> str:
    for number, (wanted, layer) in enumerate(zip(expected.layers, found.layers, strict=False), 1):
        if wanted != layer:
            return f"layer {number} is {layer.described()} instead of {wanted.described()}"
    if len(found.layers) != len(expected.layers):
        return f"{len(found.layers) + 1} layers"
    return "the same convolutions, joined or classified otherwise"


_LAYERS = "layer by layer"


def _figure_rows(
    claim: Claim, plans: list[Blueprint], counts: Mapping[str, int]
) -> Iterator[PaperRow]:
    """The figures printed in the paper, then the recounts: these must agree to the last digit."""
    write = {"macs": claim.recounts.write_macs, "params": "{:,}".format}
    outlines = [plan.outline() for plan in plans]
    said = {
        "macs": [outline.macs for outline in outlines],
        "params": [outline.params for outline in outlines],
    }
    for figure in claim.printed:
        what, count = f"{_NAMES[figure.counts]}, {figure.where}", counts[figure.counts]
        row = _figure_row(what, str(figure), said[figure.counts], count, write[figure.counts])
        if figure.agrees(count):
            row = replace(row, verdict=Verdict.AGREES, why=())
        yield row
    option = "A" if plans[0].option == "none" else plans[0].option
    recounts = {
        "macs": claim.recounts.macs[option],
        "params": f"{claim.recounts.params[option]:,}",
    }
    for key, text in recounts.items():
        what = f"{_NAMES[key]}, recounted"
        yield _figure_row(what, text, said[key], counts[key], write[key])


_NAMES = {"macs": "MACs", "params": "parameters"}


def _figure_row(
    what: str, paper: str, said: list[int], here: int, write: Callable[[int], str]
) -> PaperRow:
    row = _row(what, [str(count) for count in said], str(here))
    return replace(row, paper=paper, here=write(here))


def _open_choices(graph: Graph) -> Iterator[str]:
    """What the paper leaves open, and how this network has it. None of it changes a count."""
    pools = [node.op for node in graph if isinstance(node.op, MaxPool)]
    if pools and pools[0].pad != (0, 0):
        yield (
            f"the max pooling pads {pools[0].pad[0]} on each side; the authors' Caffe pads none "
            "and rounds up: equal sizes, other values at the edge"
        )
    pads = [node.op for node in graph if isinstance(node.op, PadChannels)]
    if pads:
        side = "half of them on each side" if pads[0].before else "behind the others"
        yield f"option A puts its zero channels {side}; the paper does not say where they go"


def render(report: PaperReport) -> str:
    """The report as text: a table, what each deviation adds, what the paper leaves open."""
    cells = [("", "the paper", "this network", "")]
    for row in report.rows:
        why = f" by {', '.join(map(str, row.why))}" if row.why else ""
        here = "the same" if row.here == row.paper else row.here
        cells.append((row.what, row.paper, here, f"{row.verdict.value}{why}"))
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [f"{report.network} claims to be {report.claim} of the paper: {report.title}", ""]
    for line in cells:
        padded = [cell.ljust(width) for cell, width in zip(line, widths, strict=True)]
        lines.append("  ".join(padded).rstrip())
    for number, deviation in enumerate(report.deviations, 1):
        added = f"{deviation.macs:+,} MACs, {deviation.params:+,} parameters"
        lines += ["", f"{number}. {deviation.text}", f"   {added}"]
    if report.notes:
        lines += ["", *(f"note: {note}" for note in report.notes)]
    return "\n".join([*lines, "", _conclusion(report)])


def _conclusion(report: PaperReport) -> str:
    counts = Counter(row.verdict for row in report.rows)
    agrees = f"{counts[Verdict.AGREES]} of {len(report.rows)} rows agree"
    if not report.holds:
        return f"{agrees}; {counts[Verdict.DIFFERS]} differ and nothing known explains it"
    if counts[Verdict.EXPLAINED]:
        return f"{agrees}; {counts[Verdict.EXPLAINED]} differ, explained by the deviations above"
    return f"all {len(report.rows)} rows agree"
