"""The paper's figures and tables that need training: which cells, and what is shown of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from resnetc.analysis.claims import paper_tables
from resnetc.reproduce.cells import Cell, Option, Request, Say, Workshop
from resnetc.reproduce.context import (
    Context,
    degradation,
    error_panel,
    errors,
    one_panel,
    report,
)
from resnetc.reproduce.fig7 import fig7
from resnetc.reproduce.figures import draw
from resnetc.reproduce.page import NOT_RUN, Figure, Report, Table

_SMALL_DEPTH = 20


@dataclass(frozen=True)
class Study:
    """One table or figure: the networks the paper has in it, and how its report is made."""

    title: str
    networks: tuple[tuple[int, Option], ...]
    report: Callable[[Context], Report]


def run(names: Sequence[str], request: Request, say: Say) -> list[Report]:
    """Train what the studies need and make their reports."""
    networks = {name: _networks(STUDIES[name], request) for name in names}
    # Seed by seed: a budget that ends early leaves whole comparisons.
    cells = [
        Cell(depth, option, seed)
        for seed in request.seeds
        for depth, option in sorted({pair for pairs in networks.values() for pair in pairs})
    ]
    workshop = Workshop(request, say)
    outcomes = workshop.outcomes(cells)
    reports = []
    for name in names:
        study = STUDIES[name]
        shown = list(dict.fromkeys([*study.networks, *networks[name]]))
        context = Context(name, study.title, request, sorted(shown), outcomes, workshop.notes)
        reports.append(study.report(context))
    return reports


def _networks(study: Study, request: Request) -> list[tuple[int, Option]]:
    """The networks that are to be trained: the study's options, at the depths asked for."""
    if request.depths is None:
        return list(study.networks)
    options = dict.fromkeys(option for _, option in study.networks)
    return [(depth, option) for option in options for depth in request.depths]


# ------------------------------------------------------------------------------------ the reports


def _fig6(context: Context) -> Report:
    panels = [
        error_panel(context, "plain", "plain networks"),
        error_panel(context, "A", "ResNets"),
    ]
    findings = [degradation(context, "plain"), degradation(context, "A")]
    caption = "Dashed: training error. Solid: test error. Thick: the mean of the seeds."
    return report(context, findings, [errors(context)], [Figure(draw(panels), caption)])


def _fig1(context: Context) -> Report:
    panels = [
        one_panel(context, "train", "training error"),
        one_panel(context, "test", "test error"),
    ]
    findings = [degradation(context, "plain")]
    caption = "Plain networks. Thick: the mean of the seeds."
    return report(context, findings, [errors(context)], [Figure(draw(panels), caption)])


def _table6(context: Context) -> Report:
    printed = {r["layers"]: r for r in paper_tables()["table6"]["rows"] if r["method"] == "ResNet"}
    rows = []
    for depth, option in context.networks:
        said = printed.get(depth)
        found = context.found(depth, option)
        params = f"{found[0].params / 1e6:.2f} M" if found else NOT_RUN
        paper = (f"{said['params_M']} M", _printed_error(said)) if said else ("", "")
        rows.append((f"ResNet-{depth}", *paper, params, context.text(depth, option, "test_error")))
    head = ("network", "parameters, paper", "error %, paper", "parameters", "error %, here")
    findings = [
        "Where there are several seeds, the figures are best (mean +- standard deviation), as the "
        "paper gives them for ResNet-110. Errors are of the last weights.",
        degradation(context, "A"),
    ]
    return report(context, findings, [Table("Test error", head, rows), errors(context)])


def _printed_error(row: Mapping[str, Any]) -> str:
    mean = f" ({row['mean']} +- {row['std']})" if "mean" in row else ""
    return f"{row['error']}{mean}"


def _table3(context: Context) -> Report:
    printed = paper_tables()["table3"]["rows"]
    said = {"plain": printed["plain-34"][0]}
    said |= {option: printed[f"ResNet-34 {option}"][0] for option in "ABC"}
    rows = []
    for depth, option in context.networks:
        name = "none (plain)" if option == "plain" else f"option {option}"
        found = context.found(depth, option)
        params = f"{found[0].params:,}" if found else NOT_RUN
        shown = (context.text(depth, option, field) for field in ("test_error", "train_error"))
        rows.append((f"{depth} layers, {name}", f"{said[option]}", params, *shown))
    head = ("network", "paper: 34 layers, ImageNet", "parameters", "test error %", "training %")
    findings = []
    for depth in sorted({depth for depth, _ in context.networks}):
        spreads = {
            o: context.spread(depth, o, "test_error") for _, o in _options_at(context, depth)
        }
        ran = sorted((spread.mean, option) for option, spread in spreads.items() if spread)
        if not ran and depth not in (context.request.depths or (depth,)):
            continue
        order = " < ".join(option for _, option in ran)
        findings.append(
            f"{depth} layers, by test error: {order}." if order else f"{depth} layers: {NOT_RUN}."
        )
    findings.append("In the paper: C < B < A < plain.")
    return report(context, findings, [Table("Shortcut options", head, rows)])


def _options_at(context: Context, depth: int) -> list[tuple[int, Option]]:
    return [pair for pair in context.networks if pair[0] == depth]


STUDIES: dict[str, Study] = {
    "fig1": Study(
        "Figure 1: plain networks of 20 and 56 layers", ((20, "plain"), (56, "plain")), _fig1
    ),
    "fig6": Study(
        "Figure 6: training on CIFAR-10",
        (
            *((depth, "plain") for depth in (20, 32, 44, 56)),
            *((depth, "A") for depth in (20, 32, 44, 56, 110)),
        ),
        _fig6,
    ),
    "table6": Study(
        "Table 6: error on the CIFAR-10 test set",
        tuple((depth, "A") for depth in (20, 32, 44, 56, 110, 1202)),
        _table6,
    ),
    "table3-small": Study(
        "Table 3 in small: shortcut options at equal depth",
        tuple((_SMALL_DEPTH, option) for option in ("plain", "A", "B", "C")),
        _table3,
    ),
    "fig7": Study(
        "Figure 7: standard deviations of layer responses",
        (
            *((depth, "plain") for depth in (20, 56)),
            *((depth, "A") for depth in (20, 56, 110)),
        ),
        fig7,
    ),
}
"""What can be made again by training, by name."""
