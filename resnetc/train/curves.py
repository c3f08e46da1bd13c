"""Training and test error over iterations, drawn as in the paper's figures 4 and 6."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from resnetc.atomic import replacing
from resnetc.train.metrics import Row


def draw_curves(runs: Mapping[str, Sequence[Row]], path: Path, title: str = "") -> None:
    """Write a PNG: for each run, by name, the training error dashed and the test error solid.

    The training error is the running mean over augmented mini-batches (the paper does not say
    which it drew). The figure's top is the highest test error after the first tenth of the run.
    """
    figure = Figure(figsize=(6.4, 4.8), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    ceiling = 0.0
    for number, (name, rows) in enumerate(runs.items()):
        colour = f"C{number}"
        trained = [row for row in rows if row.kind == "train"]
        judged = [row for row in rows if row.kind != "train"]
        steps, errors = [r.step for r in trained], [100 * r.error for r in trained]
        axes.plot(steps, errors, color=colour, linewidth=1.0, linestyle="--", alpha=0.7)
        axes.plot([r.step for r in judged], [100 * r.error for r in judged], colour, label=name)
        ceiling = max(ceiling, _ceiling(judged or trained))
    axes.set_xlabel("iterations")
    axes.set_ylabel("error (%)")
    axes.set_ylim(0, min(100.0, 1.05 * ceiling + 0.5))
    axes.set_xlim(left=0)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.grid(alpha=0.3)
    axes.legend(title="solid: test, dashed: training", frameon=False)
    axes.set_title(title)
    with replacing(path) as file:
        figure.savefig(file, format="png")


def _ceiling(rows: Sequence[Row]) -> float:
    if not rows:
        return 0.0
    settled = [row for row in rows if row.step >= rows[-1].step / 10]
    return 100 * max(row.error for row in settled)
