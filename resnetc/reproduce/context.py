"""What a study's report is made from, and what all of them have: curves, errors, runs, settings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from resnetc.bench.machine import machine
from resnetc.reproduce.cells import Cell, Option, Outcome, Request
from resnetc.reproduce.figures import Curve, Panel, Points
from resnetc.reproduce.measured import Measured, Spread
from resnetc.reproduce.page import NOT_RUN, Figure, Report, Table
from resnetc.train.run_folder import versions

_PAPER_ITERATIONS, _PAPER_DATA = 64_000, "cifar10"
_CLASSES = 10


@dataclass(frozen=True)
class Context:
    """What a report is made from. `networks` are the paper's and those that were asked for."""

    name: str
    title: str
    request: Request
    networks: Sequence[tuple[int, Option]]
    outcomes: Mapping[Cell, Outcome]
    notes: Sequence[str] = ()
    """What else a reader has to know of the runs, in sentences."""

    def cells(self, depth: int, option: Option) -> list[Cell]:
        return [Cell(depth, option, seed) for seed in self.request.seeds]

    def found(self, depth: int, option: Option) -> list[Measured]:
        """The seeds of a network that were run."""
        outcomes = [self.outcomes.get(cell) for cell in self.cells(depth, option)]
        return [outcome.found for outcome in outcomes if outcome and outcome.found]

    def spread(self, depth: int, option: Option, field: str) -> Spread | None:
        values = tuple(getattr(found, field) for found in self.found(depth, option))
        return Spread(values) if values else None

    def text(self, depth: int, option: Option, field: str) -> str:
        """A figure for a table, or why there is none."""
        spread = self.spread(depth, option, field)
        if spread is not None:
            missing = len(self.request.seeds) - len(spread.values)
            return spread.percent() + (f", {missing} seeds not run" if missing else "")
        whys = [o.why for c in self.cells(depth, option) if (o := self.outcomes.get(c))]
        return next((why for why in whys if why != NOT_RUN), NOT_RUN)


VISIBLE, NOT_VISIBLE = "visible", "not visible"
TOO_SHORT, TOO_FEW = "too short to say", "too few seeds to say"
_VERDICTS = (VISIBLE, NOT_VISIBLE, TOO_SHORT, TOO_FEW)
_LEARNED = 0.5
"""The share of guessing's mistakes that a network must be below in a shortened run."""


def degradation(context: Context, option: Option) -> str:
    """At which depths the training error lies above the shallowest network's, as far as it can be
    said: of several seeds, and of runs in which the networks have learned."""
    kind = "plain networks" if option == "plain" else "residual networks"
    ran = [
        (depth, spread)
        for depth, o in context.networks
        if o == option and (spread := context.spread(depth, option, "train_error"))
    ]
    if len(ran) < 2:
        return f"Degradation of {kind}: not run at two depths."
    (shallow, low), *deeper = ran
    verdicts: dict[str, list[str]] = {verdict: [] for verdict in _VERDICTS}
    told = [f"Training error {100 * low.mean:.2f} % with {shallow} layers"]
    for depth, high in deeper:
        gap, noise = high.mean - low.mean, max(low.deviation, high.deviation)
        several = min(len(low.values), len(high.values)) > 1
        learned = all(_has_learned(context, each, option) for each in (shallow, depth))
        verdict = TOO_FEW if not several else NOT_VISIBLE if gap <= noise else VISIBLE
        verdicts[verdict if learned else TOO_SHORT].append(str(depth))
        sure = f"the seeds' deviation is {100 * noise:.2f}" if several else "of one seed"
        told.append(f"{100 * high.mean:.2f} % with {depth} ({100 * gap:+.2f} points; {sure})")
    said = [f"{word} with {', '.join(at)} layers" for word, at in verdicts.items() if at]
    return f"Degradation of {kind}: {', '.join(said)}. {', '.join(told)}."


def _has_learned(context: Context, depth: int, option: Option) -> bool:
    """Whether runs are as long as the recipe has them, or a network makes fewer than half the
    mistakes of guessing: before, what is compared is how fast they start."""
    own = context.request.recipe(Cell(depth, option)).iterations or 0
    found = context.found(depth, option)
    if all(each.iterations >= own for each in found):
        return True
    classes = len(found[0].lock.get("data_set", {}).get("classes", ())) or _CLASSES
    error = sum(each.train_error for each in found) / len(found)
    return error < _LEARNED * (1 - 1 / classes)


def errors(context: Context) -> Table:
    """The networks' errors at the end, each over its seeds."""
    rows = [
        (
            Cell(depth, option).label,
            *(context.text(depth, option, f) for f in ("train_error", "test_error", "best_error")),
        )
        for depth, option in context.networks
    ]
    head = ("network", "training error %", "test error %", "lowest test error %")
    return Table("At the end of the runs", head, rows)


def error_panel(context: Context, option: Option, title: str) -> Panel:
    """Training and test error of one option's networks over iterations, as in figure 6."""
    curves: list[Curve] = []
    depths = [depth for depth, o in context.networks if o == option]
    for colour, depth in enumerate(depths):
        for kind in ("train", "test"):
            curves += _curves(context, (depth, option), kind, colour, dashed=kind == "train")
    return Panel(title, "iterations", "error (%)", curves, _top(curves))


def one_panel(context: Context, kind: str, title: str) -> Panel:
    """One error, "train" or "test", of all networks over iterations, as in figure 1."""
    curves: list[Curve] = []
    for colour, pair in enumerate(context.networks):
        curves += _curves(context, pair, kind, colour, dashed=False)
    return Panel(title, "iterations", f"{title} (%)", curves, _top(curves))


def _curves(
    context: Context, pair: tuple[int, Option], kind: str, colour: int, *, dashed: bool
) -> list[Curve]:
    """Each seed's curve, faint where there are several, and their mean."""
    found = [each.curve(kind) for each in context.found(*pair)]
    label = Cell(*pair).label
    if len(found) < 2:
        return [Curve(label, points, colour, dashed) for points in found]
    faint = [Curve(label, points, colour, dashed, faint=True) for points in found]
    return [*faint, Curve(label, _mean_curve(found), colour, dashed)]


def _mean_curve(found: Sequence[Points]) -> Points:
    columns = zip(*(values for _, values in found), strict=True)
    return found[0][0], [sum(column) / len(column) for column in columns]


def _top(curves: Iterable[Curve]) -> float | None:
    """The highest error after the first tenth of a run: what is before would flatten the rest."""
    late = [y for c in curves for x, y in zip(*c.points, strict=True) if 10 * x >= c.points[0][-1]]
    return min(100.0, 1.1 * max(late)) if late else None


def report(
    context: Context,
    findings: Sequence[str],
    tables: Sequence[Table],
    figures: Sequence[Figure] = (),
    numbers: Mapping[str, Any] | None = None,
) -> Report:
    """A study's report: what it found, and what all of them tell."""
    cells = [c for pair in context.networks for c in context.cells(*pair)]
    outcomes = [context.outcomes.get(cell, Outcome(cell, None, NOT_RUN)) for cell in cells]
    ran = [outcome for outcome in outcomes if outcome.found]
    return Report(
        context.name,
        context.title,
        [*findings, *context.notes],
        [*tables, _runs(outcomes)],
        _deviations(context, ran),
        figures,
        _settings(context, ran),
        {"runs": [_outcome_json(outcome) for outcome in outcomes], **(numbers or {})},
    )


def _runs(outcomes: Sequence[Outcome]) -> Table:
    """Every cell with its seed and the hash of its weights."""
    rows = []
    for outcome in outcomes:
        name, seed, found = outcome.cell.label, str(outcome.cell.seed), outcome.found
        if found is None:
            rows.append((name, seed, outcome.why, "", ""))
            continue
        error = f"{100 * found.test_error:.2f}"
        rows.append((name, seed, error, f"{found.seconds:,.0f}", found.weights_sha256))
    head = ("network", "seed", "test error %", "seconds", "SHA-256 of the weights")
    return Table("Runs", head, rows)


def _outcome_json(outcome: Outcome) -> dict[str, Any]:
    cell = outcome.cell
    named = {"network": cell.label, "depth": cell.depth, "option": cell.option, "seed": cell.seed}
    return {**named, **(outcome.found.to_json() if outcome.found else {"missing": outcome.why})}


def _deviations(context: Context, ran: Sequence[Outcome]) -> list[str]:
    """What is not as in the paper, of what was run or would be."""
    request = context.request
    said = []
    name = request.data.partition(":")[0].replace("-", "_")
    if context.name == "table3-small":
        said.append(
            f"{name} instead of ImageNet, CIFAR networks instead of 34 layers, and one view"
        )
    elif name != _PAPER_DATA:
        said.append(f"{name} instead of CIFAR-10")
    if request.family != "cifar_resnet":
        said.append("networks for 8x8 images and a recipe for them")
    lengths = {outcome.found.iterations for outcome in ran if outcome.found}
    said += [
        f"{length:,} iterations instead of {_PAPER_ITERATIONS:,}, with the drops of the rate in "
        "proportion"
        for length in sorted(lengths - {_PAPER_ITERATIONS})
    ]
    recipe = request.recipe(Cell(*context.networks[0]))
    if recipe.batch != 128:
        said.append(f"batches of {recipe.batch} instead of 128")
    if recipe.precision != "fp32":
        said.append(f"{recipe.precision} instead of fp32")
    if request.depths is not None and context.name != "table3-small":
        depths = ", ".join(map(str, request.depths))
        said.append(f"of {depths} layers instead of the paper's depths")
    if not ran:
        said.append("nothing was trained")
    return said


def _settings(context: Context, ran: Sequence[Outcome]) -> dict[str, str]:
    facts = machine()
    request = context.request
    settings = {
        "data": request.data.partition(":")[0],
        "seeds": ", ".join(map(str, request.seeds)),
        "runs": f"{len(ran)} of {len(request.seeds) * len(context.networks)}",
        "training, in minutes": f"{sum(o.found.seconds for o in ran if o.found) / 60:.1f}",
        "budget, in minutes": f"{request.budget:g}" if request.budget else "none",
        "processor": f"{facts['cpu']}, {facts['cores']} cores",
        "versions": ", ".join(f"{name} {version}" for name, version in versions().items()),
    }
    first = next((outcome.found for outcome in ran if outcome.found), None)
    if first is not None:
        recipe = first.lock["recipe"]
        settings["device"] = first.lock["device"]
        settings["recipe"] = "; ".join(f"{k} = {recipe[k]}" for k in sorted(recipe))
    return settings
