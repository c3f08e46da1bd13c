"""A layout as an SVG file: self-contained, with text as text, readable on light and dark."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from resnetc.analysis.cost import Cost, cost
from resnetc.analysis.wording import describe
from resnetc.drawing.layout import Sizes, lay_out
from resnetc.drawing.lines import Line, lines
from resnetc.drawing.picture import Form, Picture, Repeat, Vertex, picture
from resnetc.drawing.repeats import collapse
from resnetc.drawing.sections import Section, sections
from resnetc.drawing.style import LETTER, SMALL_LETTER, STYLE
from resnetc.ir import Graph

MANY_BOXES = 40
"""Above this many layers, equal blocks one behind the other are drawn once unless asked for."""
_SIZES_WIDTH, _REPEAT_WIDTH, _MARGIN, _TITLE = 64.0, 62.0, 16.0, 52.0
_LINE, _NESTED, _COLOURS = 15.0, 40.0, 6


def draw(graph: Graph, *, expand: bool | None = None) -> str:
    """The picture of a network as the text of an SVG file.

    `expand` draws every block, or with False equal ones only once; by default that depends on
    how many there are. The same graph gives the same text.
    """
    shown = picture(graph)
    boxes = sum(vertex.form is Form.BOX for vertex in shown.vertices)
    if expand is False or (expand is None and boxes > MANY_BOXES):
        shown = collapse(shown)
    return "\n".join(_Drawing(graph, shown).text()) + "\n"


class _Drawing:
    """Puts a layout on the page: sizes and repeats to the left of it, parts to the right."""

    def __init__(self, graph: Graph, shown: Picture) -> None:
        self.graph = graph
        longest = max(len(v.text) for v in shown.vertices if v.form is not Form.JOINT)
        self.layout = lay_out(shown, Sizes(round(longest * LETTER) + 18))
        self.lines = lines(self.layout)
        self.costs = cost(graph)
        parts = sections(graph, self.layout)
        self.sections = [part for part in parts if not part.aside]
        self.heads = {part.label: part for part in parts if part.aside}
        left = min(left for left, _ in self.layout.extents)
        right = max(right for _, right in self.layout.extents)
        right = max([right, *(line.right for line in self.lines)])
        repeats = max(
            (_REPEAT_WIDTH + _NESTED * level for *_, level in self._brackets()), default=0
        )
        self.left = _MARGIN + _SIZES_WIDTH + repeats - left
        """Where the layout's 0 is."""
        self.side = self.left + right + 22
        widest = max((len(text) for s in self.sections for text in self._words(s)), default=0)
        title = len(self._title()) * LETTER + 2 * _MARGIN
        self.width = round(max(self.side + 14 + widest * SMALL_LETTER + _MARGIN, title))
        last = max(map(self.layout.bottom, shown.vertices))
        said = [first + _LINE * len(words) for _, words, first in self._placed()]
        self.height = round(max(last + _TITLE + 30, *said, 0))

    def text(self) -> Iterator[str]:
        name, size = escape(self.graph.name), f"{self.width} {self.height}"
        yield (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size}" width="{self.width}" '
            f'height="{self.height}" role="img" aria-labelledby="name">'
        )
        yield f'<title id="name">{name}</title>'
        yield "<desc>Drawn by resnetc.</desc>"
        yield f"<style>{STYLE}</style>"
        yield f'<rect class="page" width="{self.width}" height="{self.height}" rx="8"/>'
        yield f'<text class="name" x="{_MARGIN:g}" y="30">{escape(self._title())}</text>'
        yield f'<g transform="translate({self.left:g} {_TITLE:g})">'
        for line in self.lines:
            yield from line.text()
        colours = self._colours()
        for vertex in self.layout.picture.vertices:
            yield from self._vertex(vertex, colours[vertex])
        yield from self._repeats()
        yield "</g>"
        yield from self._map_sizes()
        for section, words, first in self._placed():
            yield from self._section(section, words, first)
        yield "</svg>"

    def _title(self) -> str:
        (source, *_) = self.graph.inputs
        counts = f"{self.costs.params:,} parameters, {_macs(self.costs)}"
        return f"{self.graph.name}   {source.type}, {counts}"

    # ---- vertices

    def _colours(self) -> dict[Vertex, int]:
        """A colour for each size of the map, in the order in which they come."""
        order: dict[tuple[int, ...], int] = {}
        found = {}
        for vertex in self.layout.picture.vertices:
            size = vertex.node.type.shape[1:]
            if vertex.form is Form.IMAGE or not size or max(size) == 1:
                found[vertex] = _COLOURS
            else:
                found[vertex] = order.setdefault(size, len(order)) % _COLOURS
        return found

    def _vertex(self, vertex: Vertex, colour: int) -> Iterator[str]:
        x, y = self.layout.x[vertex], self.layout.y[vertex]
        yield f"<g><title>{escape(self._told(vertex))}</title>"
        height = self.layout.sizes.height(vertex.form)
        if vertex.form is Form.JOINT:
            yield f'<circle class="joint" cx="{x:g}" cy="{y:g}" r="{height / 2:g}"/>'
        elif vertex.form is not Form.IMAGE:
            left, right = self._edges(vertex)
            yield (
                f'<rect class="box c{colour}" x="{left:g}" y="{y - height / 2:g}" '
                f'width="{right - left:g}" height="{height:g}" rx="3"/>'
            )
            x = (left + right) / 2
        yield f'<text class="what" x="{x:g}" y="{y + 4:g}">{escape(vertex.text)}</text>'
        below = self.layout.bottom(vertex) + 13
        for number, text in enumerate(self._outputs(vertex)):
            y = below + 13 * number
            yield f'<text class="out" x="{x:g}" y="{y:g}">{escape(text)}</text>'
        yield "</g>"

    def _outputs(self, vertex: Vertex) -> Iterator[str]:
        """What is said below a vertex that is an output, of the only one nothing."""
        if vertex.outputs and vertex.outputs != ["logits"]:
            yield ", ".join(vertex.outputs) + (", in training only" if vertex.aside else "")
        for name in vertex.outputs:
            if name in self.heads:
                yield f"{self.heads[name].cost.params:,} parameters"

    def _edges(self, vertex: Vertex) -> tuple[float, float]:
        """Left and right edge; a bar reaches over all that flows into it."""
        x, half = self.layout.x[vertex], self.layout.sizes.box_width / 2
        if vertex.form is not Form.BAR:
            return x - half, x + half
        above = [x, *(self.layout.x[line.edge.source] for line in self.lines_into(vertex))]
        return min(above) - half, max(above) + half

    def lines_into(self, vertex: Vertex) -> list[Line]:
        """The lines that end here."""
        return [line for line in self.lines if line.edge.target is vertex]

    def _told(self, vertex: Vertex) -> str:
        """What a pointer that rests on a vertex is told."""
        node = vertex.node
        params = sum(p.type.elements for p in node.parameters if p.role.trainable)
        counts = [f"{params:,} parameters"] if params else []
        macs = node.op.macs(node.type)
        counts += [f"{macs:,} MACs"] if macs else []
        lines = [f"{node.name}: {describe(node.op)}", ", ".join([str(node.type), *counts])]
        if vertex.quiet:
            lines.append(f"then {', '.join(describe(quiet.op) for quiet in vertex.quiet)}")
        return "\n".join(lines)

    def _repeats(self) -> Iterator[str]:
        left = min(left for left, _ in self.layout.extents) - 8
        for repeat, (top, bottom), level in self._brackets():
            x = left - _NESTED * level
            paths = f"{repeat.paths[0]} … {repeat.paths[-1]}"
            yield f"<g><title>{escape(paths)}</title>"
            yield f'<path class="bracket" d="M{x:g} {top:g}h-6V{bottom:g}h6"/>'
            text = f"\N{MULTIPLICATION SIGN} {len(repeat.paths)}"
            middle = (top + bottom) / 2 + 4
            yield f'<text class="times" x="{x - 12:g}" y="{middle:g}">{text}</text></g>'

    def _brackets(self) -> Iterator[tuple[Repeat, tuple[float, float], int]]:
        """Every repeat with its upper and lower edge, and how many repeats are inside it."""
        layout = self.layout
        spans = []
        for repeat in layout.picture.repeats:
            drawn = [vertex for vertex in repeat.vertices if vertex in layout.rows]
            spans.append((min(map(layout.top, drawn)), max(map(layout.bottom, drawn))))
        levels: list[int] = []
        for (top, bottom), repeat in list(zip(spans, layout.picture.repeats, strict=True))[::-1]:
            inside = [
                level
                for level, (above, below) in zip(levels, spans[::-1], strict=False)
                if above < bottom and top < below
            ]
            levels.append(max(inside, default=-1) + 1)
            yield repeat, (top, bottom), levels[-1]

    # ---- beside the picture

    def _map_sizes(self) -> Iterator[str]:
        seen: set[tuple[int, ...]] = set()
        for vertex in self.layout.picture.vertices:
            size = vertex.node.type.shape[1:]
            if self.layout.x[vertex] or len(size) < 2 or max(size) == 1 or size in seen:
                continue
            seen.add(size)
            y = self.layout.y[vertex] + _TITLE + 4
            text = "x".join(map(str, size))
            yield f'<text class="size" x="{_MARGIN + _SIZES_WIDTH - 14:g}" y="{y:g}">{text}</text>'

    def _span(self, section: Section) -> tuple[float, float]:
        """Upper and lower edge of what is drawn of a section, on the page."""
        tops = map(self.layout.top, section.vertices)
        bottoms = map(self.layout.bottom, section.vertices)
        return min(tops) + _TITLE, max(bottoms) + _TITLE

    def _words(self, section: Section) -> list[str]:
        """What is said of a section: on one line where it is low, else on several."""
        counts = [f"{section.cost.params:,} parameters"] if section.cost.params else []
        counts += [_macs(section.cost)] if section.cost.macs else []
        words = [section.title, section.output, *counts]
        top, bottom = self._span(section)
        if bottom - top >= _LINE * len(words):
            return words
        return [f"{section.title}   {', '.join(words[1:])}"]

    def _placed(self) -> Iterator[tuple[Section, list[str], float]]:
        """Every section with its words and where the first line stands; no two overlap."""
        free = 0.0
        for section in self.sections:
            words = self._words(section)
            height = _LINE * len(words)
            top = max(sum(self._span(section)) / 2 - height / 2, free)
            free = top + height + 2
            yield section, words, top + 12

    def _section(self, section: Section, words: list[str], first: float) -> Iterator[str]:
        x, (top, bottom) = self.side, self._span(section)
        yield f'<path class="bracket" d="M{x:g} {top:g}h5V{bottom:g}h-5"/>'
        for number, text in enumerate(words):
            label, gap, rest = text.partition("   ")
            said = f'<tspan class="label">{escape(label)}</tspan>' if not number else escape(label)
            y = first + _LINE * number
            yield f'<text class="said" x="{x + 14:g}" y="{y:g}">{said}{gap}{escape(rest)}</text>'


def _macs(counted: Cost) -> str:
    if counted.macs >= 1e8:
        return f"{counted.macs / 1e9:.2f} GMACs"
    return f"{counted.macs / 1e6:.3g} MMACs"
