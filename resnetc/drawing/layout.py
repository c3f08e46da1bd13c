"""Where everything stands: rows by the longest way from the input, columns by dominance.

A vertex stands below the one that dominates it: the last that every way to it passes. Where a
line forks, what the fork dominates stands side by side as long as it shares rows; where the
branches have met again, the column is the fork's. Series and parallel parts come out as one draws
them by hand, and anything else without overlaps. All of it is iterative.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from resnetc.drawing.picture import Edge, Form, Picture, Vertex

Row = int


@dataclass(frozen=True)
class Sizes:
    """Measures in pixels."""

    box_width: float
    box_height: float = 22
    joint: float = 14
    bar: float = 18
    gap: float = 14
    column: float = 18
    """Between two columns."""

    def height(self, form: Form) -> float:
        """How high a vertex is."""
        if form is Form.JOINT:
            return self.joint
        return self.bar if form is Form.BAR else self.box_height


@dataclass
class Layout:
    """Centres of all vertices, in pixels from the top and the middle of the first column."""

    picture: Picture
    sizes: Sizes
    rows: dict[Vertex, Row]
    x: dict[Vertex, float]
    y: dict[Vertex, float]
    extents: list[tuple[float, float]] = field(default_factory=list)
    """Left and right edge of what stands in each row."""

    def top(self, vertex: Vertex) -> float:
        """The upper edge of a vertex."""
        return self.y[vertex] - self.sizes.height(vertex.form) / 2

    def bottom(self, vertex: Vertex) -> float:
        """The lower edge of a vertex."""
        return self.y[vertex] + self.sizes.height(vertex.form) / 2

    def between(self, edge: Edge) -> range:
        """The rows that a line passes."""
        return range(self.rows[edge.source] + 1, self.rows[edge.target])

    def is_blocked(self, edge: Edge) -> bool:
        """Whether a straight line down would cross what stands between its ends."""
        x, half = self.x[edge.source], self.sizes.box_width / 2
        return self.x[edge.target] == x and any(
            left - half < x < right + half for left, right in self._extents_of(self.between(edge))
        )

    def _extents_of(self, rows: range) -> Sequence[tuple[float, float]]:
        return self.extents[rows.start : rows.stop]

    def right_of(self, rows: range) -> float:
        """The right edge of what stands in these rows."""
        return max((right for _, right in self._extents_of(rows)), default=0.0)


def lay_out(picture: Picture, sizes: Sizes) -> Layout:
    """Give every vertex its place. Linear, but for rows that very many vertices share."""
    rows = picture.rows()
    x = _columns(picture, rows, sizes)
    count = max(rows.values()) + 1
    heights = [0.0] * count
    extents = [(float("inf"), float("-inf"))] * count
    for vertex in picture.vertices:
        row, half = rows[vertex], sizes.box_width / 2
        heights[row] = max(heights[row], sizes.height(vertex.form))
        left, right = extents[row]
        extents[row] = min(left, x[vertex] - half), max(right, x[vertex] + half)
    centres, top = [], 0.0
    for height in heights:
        centres.append(top + height / 2)
        top += height + sizes.gap
    y = {vertex: centres[rows[vertex]] for vertex in picture.vertices}
    return Layout(picture, sizes, rows, x, y, extents)


def _dominators(picture: Picture) -> dict[Vertex, Vertex | None]:
    """The closest vertex that every way to a vertex passes; None where there is none."""
    above: dict[Vertex, Vertex | None] = {}
    depth: dict[Vertex | None, int] = {None: 0}
    for vertex, edges in picture.into().items():
        common: Vertex | None = edges[0].source if edges else None
        for edge in edges[1:]:
            other: Vertex | None = edge.source
            while common is not other:
                if depth[common] >= depth[other]:
                    common = above[common] if common is not None else None
                else:
                    other = above[other] if other is not None else None
        above[vertex] = common
        depth[vertex] = depth[common] + 1
    return above


@dataclass
class _Subtree:
    """What a vertex dominates: rows from the first to the last, and how far it reaches.

    `heads` are those in it that matter in training only: rows and right edge; they do not count
    in how far it reaches.
    """

    vertex: Vertex
    first: Row
    last: Row
    left: float
    right: float
    heads: list[tuple[Row, Row, float]] = field(default_factory=list)

    @property
    def width(self) -> float:
        return self.right - self.left

    @property
    def aside(self) -> bool:
        return self.vertex.aside


def _columns(picture: Picture, rows: dict[Vertex, Row], sizes: Sizes) -> dict[Vertex, float]:
    above = _dominators(picture)
    children: dict[Vertex | None, list[_Subtree]] = {}
    offset: dict[Vertex, float] = {}
    half = (sizes.box_width + sizes.column) / 2
    for vertex in reversed(picture.vertices):
        below = children.pop(vertex, [])[::-1]
        offset.update(_side_by_side(below))
        subtree = _Subtree(vertex, rows[vertex], rows[vertex], -half, half)
        for child in below:
            _include(subtree, child, offset[child.vertex])
        children.setdefault(above[vertex], []).append(subtree)
    offset.update(_side_by_side(children.get(None, [])[::-1]))
    x: dict[Vertex, float] = {}
    for vertex in picture.vertices:
        parent = above[vertex]
        x[vertex] = offset[vertex] + (0.0 if parent is None else x[parent])
    return x


def _include(subtree: _Subtree, child: _Subtree, offset: float) -> None:
    subtree.heads += [(first, last, offset + right) for first, last, right in child.heads]
    if child.aside and not subtree.aside:
        subtree.heads.append((child.first, child.last, offset + child.right))
        return
    subtree.last = max(subtree.last, child.last)
    subtree.left = min(subtree.left, offset + child.left)
    subtree.right = max(subtree.right, offset + child.right)


def _side_by_side(subtrees: list[_Subtree]) -> Iterable[tuple[Vertex, float]]:
    """Offsets from the fork: subtrees that share rows stand in columns, centred as a whole.

    Heads that matter in training only stand to the right of everything else.
    """
    main = [subtree for subtree in subtrees if not subtree.aside] or subtrees
    placed = dict(_clusters(main))
    yield from placed.items()
    if len(main) == len(subtrees):
        return
    edge = max(placed[s.vertex] + s.right for s in main)
    heads = [(a, b, placed[s.vertex] + right) for s in main for a, b, right in s.heads]
    for subtree in subtrees:
        if subtree.aside:
            beside = [r for a, b, r in heads if a <= subtree.last and subtree.first <= b]
            offset = max([edge, *beside]) - subtree.left
            heads.append((subtree.first, subtree.last, offset + subtree.right))
            yield subtree.vertex, offset


def _clusters(subtrees: list[_Subtree]) -> Iterable[tuple[Vertex, float]]:
    cluster: list[_Subtree] = []
    end = -1
    for subtree in [*sorted(subtrees, key=lambda s: s.first), None]:
        if subtree is not None and (not cluster or subtree.first <= end):
            cluster.append(subtree)
            end = max(end, subtree.last)
            continue
        yield from _packed(cluster)
        if subtree is not None:
            cluster, end = [subtree], subtree.last


def _packed(cluster: list[_Subtree]) -> Iterable[tuple[Vertex, float]]:
    columns: list[list[_Subtree]] = []
    for subtree in cluster:
        fitting = (column for column in columns if column[-1].last < subtree.first)
        column = next(fitting, None)
        if column is None:
            columns.append([subtree])
        else:
            column.append(subtree)
    if len(columns) == 1:
        yield from ((subtree.vertex, 0.0) for subtree in columns[0])
        return
    widths = [max(subtree.width for subtree in column) for column in columns]
    left = -sum(widths) / 2
    for column, width in zip(columns, widths, strict=True):
        for subtree in column:
            yield subtree.vertex, left + width / 2 - (subtree.left + subtree.right) / 2
        left += width
