"""Lines between vertices: straight down, down and over into a joint, or in an arc around."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape

from resnetc.drawing.layout import Layout
from resnetc.drawing.picture import Edge, Form
from resnetc.drawing.style import CAPTION_LETTER

_BULGE, _NESTED = 24.0, 16.0
"""How far an arc goes beyond what it passes, and how much further each arc around it."""


@dataclass
class Line:
    """One line; `right` is how far it reaches with its caption."""

    edge: Edge
    path: str
    right: float
    caption_at: tuple[float, float] = (0.0, 0.0)

    def text(self) -> Iterator[str]:
        """The line's elements."""
        dotted = " dotted" if self.edge.dotted else ""
        yield f'<path class="line{dotted}" d="{self.path}"/>'
        if self.edge.caption:
            x, y = self.caption_at
            yield f'<text class="caption" x="{x:g}" y="{y:g}">{escape(self.edge.caption)}</text>'


def lines(layout: Layout) -> list[Line]:
    """All lines of a layout, in the order of the picture's edges."""
    arcs = [e for e in layout.picture.edges if layout.is_blocked(e)]
    levels = _levels(layout, arcs)
    seen: dict[tuple[int, int], int] = {}
    found = []
    for edge in layout.picture.edges:
        ends = id(edge.source), id(edge.target)
        again = seen[ends] = seen.get(ends, -1) + 1
        level = levels.get(id(edge))
        if level is None and again:
            level = again - 1  # the same operand twice: the second line goes around the first
        found.append(_straight(layout, edge) if level is None else _arc(layout, edge, level))
    return found


def _levels(layout: Layout, arcs: list[Edge]) -> dict[int, int]:
    """How many arcs lie inside each: those have to be passed as well."""
    levels: dict[int, int] = {}
    spans = sorted(arcs, key=lambda e: layout.rows[e.target] - layout.rows[e.source])
    placed: dict[int, list[tuple[int, int, int]]] = {}
    for edge in spans:
        start, end = layout.rows[edge.source], layout.rows[edge.target]
        column = placed.setdefault(round(layout.x[edge.source]), [])
        inside = [level for a, b, level in column if a < end and start < b]
        levels[id(edge)] = max(inside, default=-1) + 1
        column.append((start, end, levels[id(edge)]))
    return levels


def _straight(layout: Layout, edge: Edge) -> Line:
    x, to = layout.x[edge.source], layout.x[edge.target]
    top, bottom = layout.bottom(edge.source), layout.top(edge.target)
    if edge.target.form is Form.BAR:
        to = x
    if x == to:
        return Line(edge, f"M{x:g} {top:g}V{bottom:g}", x, (x + 6, (top + bottom) / 2 + 3))
    # The column below the source is its own; below a fork it is the target's.
    fork = layout.rows[edge.target] == layout.rows[edge.source] + 1
    turn = bottom if fork else bottom - layout.sizes.gap
    start = top if fork else turn
    middle = (start + bottom) / 2
    down = "" if fork else f"V{turn:g}"
    path = f"M{x:g} {top:g}{down}C{x:g} {middle:g} {to:g} {middle:g} {to:g} {bottom:g}"
    return Line(edge, path, max(x, to), (to + 6, middle))


def _arc(layout: Layout, edge: Edge, level: int) -> Line:
    x = layout.x[edge.source]
    start = layout.bottom(edge.source) + layout.sizes.gap / 2
    end = layout.y[edge.target]
    half = layout.sizes.box_width / 2
    if edge.target.form is Form.JOINT:
        half = layout.sizes.joint / 2
    elif edge.target.form is not Form.BAR:
        half, end = 0.0, layout.top(edge.target)
    to = layout.x[edge.target] + half
    reach = max(layout.right_of(layout.between(edge)), to) + _BULGE / 2 + _NESTED * level
    apex = reach + _BULGE / 2
    bend = min(22.0, (end - start) / 2)
    path = (
        f"M{x:g} {start:g}C{reach:g} {start:g} {apex:g} {start:g} {apex:g} {start + bend:g}"
        f"V{end - bend:g}C{apex:g} {end:g} {reach:g} {end:g} {to:g} {end:g}"
    )
    right = apex + (len(edge.caption) * CAPTION_LETTER + 10 if edge.caption else 4)
    return Line(edge, path, right, (apex + 6, (start + end) / 2 + 4))
