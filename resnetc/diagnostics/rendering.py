"""Findings as text: excerpts of the source, carets under them, notes and help."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from resnetc.diagnostics.finding import Diagnostic, Label
from resnetc.diagnostics.source import Span

TAB_WIDTH = 4
EXCERPT_WIDTH = 120
"""Characters of a source line that an excerpt shows at most."""

_STYLES = {
    "error": "\x1b[1;31m",
    "warning": "\x1b[1;33m",
    "note": "\x1b[1;36m",
    "help": "\x1b[1;32m",
    "bold": "\x1b[1m",
    "frame": "\x1b[1;34m",
}


class _Palette:
    def __init__(self, colour: bool) -> None:
        self._colour = colour

    def __call__(self, style: str, text: str) -> str:
        return f"{_STYLES[style]}{text}\x1b[0m" if self._colour and text.strip() else text


def render(diagnostic: Diagnostic, *, colour: bool = False) -> str:
    """The finding as text: headline, source excerpts with carets, notes and help."""
    paint = _Palette(colour)
    severity = diagnostic.severity
    lines = [
        paint(severity, f"{severity}[{diagnostic.code}]") + paint("bold", f": {diagnostic.message}")
    ]
    labels = (diagnostic.primary, *diagnostic.secondary)
    gutter = max(len(str(label.span.line)) for label in labels)
    home = diagnostic.primary.span.source
    for source in dict.fromkeys(label.span.source for label in labels):
        group = [label for label in labels if label.span.source is source]
        arrow = "--> " if source is home else "::: "
        lines.append(" " * gutter + paint("frame", arrow) + str(group[0].span))
        excerpt = _Excerpt(diagnostic.primary, severity, gutter, paint)
        lines += excerpt.lines(group)
    pad = " " * (gutter + 1)
    notes = [*diagnostic.notes, *([str(diagnostic.instance)] if diagnostic.instance else ())]
    lines += [f"{pad}{paint('note', 'note')}: {note}" for note in notes]
    if diagnostic.help is not None:
        lines.append(f"{pad}{paint('help', 'help')}: {diagnostic.help.text}")
    return "\n".join(lines)


# ----------------------------------------------------------------------------------- the excerpts


@dataclass(frozen=True)
class _Excerpt:
    """Draws the lines of one source that have labels."""

    primary: Label
    severity: str
    gutter: int
    paint: _Palette

    def lines(self, labels: list[Label]) -> list[str]:
        """Each line that a label is on, and what stands under it."""
        drawn = []
        for number in sorted({label.span.line for label in labels}):
            here = [label for label in labels if label.span.line == number]
            for row, group in _rows(here):
                drawn.append(self._line(str(number), row.shown))
                for layer in _layers(row, group):
                    drawn += self._under(row, layer)
        return drawn

    def _line(self, number: str, text: str) -> str:
        bar = self.paint("frame", "|")
        shown = self.paint("frame", number.rjust(self.gutter)) if number else " " * self.gutter
        return f"{shown} {bar} {text}".rstrip()

    def _under(self, row: _Row, labels: Sequence[Label]) -> list[str]:
        """One line of underlines, the last one's text behind it, the others' texts hung below."""
        last = labels[-1]
        marks = []
        for label in labels:
            indent, length = row.columns(label.span)
            mark = "^" if label is self.primary else "-"
            text = f" {label.text}" if label is last and label.text else ""
            marks.append((indent, mark * length + text, self._style(label)))
        drawn = [self._line("", self._columns(marks))]
        hanging = [label for label in labels[:-1] if label.text]
        for count in range(len(hanging), 0, -1):
            strings = [(row.columns(lb.span)[0], "|", self._style(lb)) for lb in hanging[:count]]
            indent, _, style = strings.pop()
            texts = [*strings, (indent, hanging[count - 1].text, style)]
            drawn.append(self._line("", self._columns(texts)))
        return drawn

    def _style(self, label: Label) -> str:
        return self.severity if label is self.primary else "frame"

    def _columns(self, pieces: list[tuple[int, str, str]]) -> str:
        """Pieces of text at their columns, painted."""
        line, at = "", 0
        for indent, text, style in pieces:
            line += " " * (indent - at) + self.paint(style, text)
            at = indent + len(text)
        return line


def _layers(row: _Row, labels: list[Label]) -> list[list[Label]]:
    """Labels that can share a line of underlines, from the innermost outwards."""
    layers: list[list[Label]] = []
    for label in sorted(labels, key=lambda label: (-label.span.start, label.span.end)):
        indent, length = row.columns(label.span)
        clear = (ly for ly in layers if indent + length < row.columns(ly[0].span)[0])
        layer = next(clear, None)
        if layer is None:
            layers.append([label])
        else:
            layer.insert(0, label)
    return layers


def _rows(labels: list[Label]) -> list[tuple[_Row, list[Label]]]:
    """The parts of one source line to show, each with the labels under it.

    A line that fits is shown whole; of a longer one, what stands around each label.
    """
    starts = [label.span.start for label in labels]
    together = _Row.around(min(starts), max(starts), labels[0].span)
    if together is not None:
        return [(together, labels)]
    rows = [(_Row.around(lb.span.start, lb.span.start, lb.span), [lb]) for lb in labels]
    return [(row, group) for row, group in rows if row is not None]


@dataclass(frozen=True)
class _Row:
    """Part of a source line. `first` is the offset in the source of its first character."""

    text: str
    first: int
    cut_before: bool
    cut_after: bool

    @classmethod
    def around(cls, first: int, last: int, span: Span) -> _Row | None:
        """The part of the span's line that holds these two offsets, None where it is too long."""
        line_start = span.source.line_start(span.line)
        text = span.source.line_text(span.line)
        if len(text) <= EXCERPT_WIDTH:
            return cls(text, line_start, False, False)
        if last - first > EXCERPT_WIDTH // 2:
            return None
        centred = (first + last) // 2 - line_start - EXCERPT_WIDTH // 2
        begin = max(0, min(centred, len(text) - EXCERPT_WIDTH))
        end = begin + EXCERPT_WIDTH
        return cls(text[begin:end], line_start + begin, begin > 0, end < len(text))

    @property
    def shown(self) -> str:
        before, after = "…" * self.cut_before, "…" * self.cut_after
        return f"{before}{_expand(self.text)}{after}"

    def columns(self, span: Span) -> tuple[int, int]:
        """Display column and width of the span's part in this row."""
        start, end = span.start - self.first, min(span.end - self.first, len(self.text))
        indent = _width(self.text[:start])
        return indent + self.cut_before, max(1, _width(self.text[:end]) - indent)


def _expand(text: str) -> str:
    return "".join(_cell(char) for char in text)


def _cell(char: str) -> str:
    """One character as it may be shown: a tab widens, what has no shape is made visible."""
    if char == "\t":
        return " " * TAB_WIDTH
    invisible = unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp")
    return "\N{REPLACEMENT CHARACTER}" if invisible else char


def _width(text: str) -> int:
    """Columns a terminal uses for the text as :func:`_expand` shows it."""
    return sum(_char_width(char) for char in _expand(text))


def _char_width(char: str) -> int:
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1
