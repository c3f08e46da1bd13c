"""Figures as the text of an SVG element, to stand in a page. The same data give the same text."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing

Points = tuple[Sequence[float], Sequence[float]]


@dataclass(frozen=True)
class Curve:
    """One line of a panel; lines of one `colour` belong together. `faint` is for single runs."""

    label: str
    points: Points
    colour: int
    dashed: bool = False
    faint: bool = False


@dataclass(frozen=True)
class Panel:
    """Axes with their lines; `top` limits the y axis where it is given."""

    title: str
    x: str
    y: str
    curves: Sequence[Curve]
    top: float | None = None


def draw(panels: Sequence[Panel], *, stacked: bool = False) -> str:
    """The panels beside each other or, when `stacked`, one above the other, as SVG."""
    import matplotlib
    from matplotlib.figure import Figure as Drawing

    settings: Any = {"svg.hashsalt": "resnetc", "svg.fonttype": "none"}
    with matplotlib.rc_context(settings):
        rows, columns = (len(panels), 1) if stacked else (1, len(panels))
        size = (8.0, 2.8 * rows) if stacked else (4.6 * columns, 3.8)
        figure = Drawing(figsize=size, layout="constrained")
        for axes, panel in zip(
            figure.subplots(rows, columns, squeeze=False).flat, panels, strict=True
        ):
            _plot(axes, panel)
        return _text(figure)


def _plot(axes: Any, panel: Panel) -> None:
    for curve in panel.curves:
        label = None if curve.faint or curve.dashed else curve.label
        style = "--" if curve.dashed else "-"
        alpha, width = (0.25, 0.7) if curve.faint else (1.0, 1.4)
        axes.plot(
            *curve.points, style, color=f"C{curve.colour}", alpha=alpha, lw=width, label=label
        )
    axes.set_xlabel(panel.x)
    axes.set_ylabel(panel.y)
    axes.set_title(panel.title)
    axes.grid(alpha=0.3)
    axes.set_ylim(0, panel.top)
    if any(not (curve.faint or curve.dashed) for curve in panel.curves):
        axes.legend(frameon=False, fontsize="small")


def _text(figure: Drawing) -> str:
    """The SVG element without the XML declaration, which has no place inside a page."""
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    whole = text.getvalue()
    return whole[whole.index("<svg") :].rstrip()
