"""What the compiler says when something is wrong, and where.

An error holds spans and facts; text is made of it as late as possible, by :func:`render`.
`CompileError` is a user's mistake in a spec, `InternalError` is ours. The other errors are the
ways a run can end, each with the exit code the command line returns for it.
"""

from __future__ import annotations

import bisect
import difflib
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

MAX_REPORTED = 20
TAB_WIDTH = 4
EXCERPT_WIDTH = 120
"""Characters of a source line that an excerpt shows at most."""


@dataclass(frozen=True)
class Source:
    """A named text: `name` is what a message calls it, usually the path as the user gave it."""

    name: str
    text: str = field(repr=False)

    @cached_property
    def _line_starts(self) -> list[int]:
        starts = [0]
        starts.extend(i + 1 for i, char in enumerate(self.text) if char == "\n")
        return starts

    def position(self, offset: int) -> tuple[int, int]:
        """The 1-based line and column of a character offset."""
        line = bisect.bisect_right(self._line_starts, offset)
        return line, offset - self._line_starts[line - 1] + 1

    def line_text(self, line: int) -> str:
        """The text of a 1-based line, without its end-of-line characters."""
        start = self._line_starts[line - 1]
        end = self._line_starts[line] if line < len(self._line_starts) else len(self.text)
        return self.text[start:end].rstrip("\r\n")

    def line_start(self, line: int) -> int:
        return self._line_starts[line - 1]


@dataclass(frozen=True, slots=True)
class Span:
    """Half-open range of characters in a source."""

    source: Source
    start: int
    end: int

    @property
    def line(self) -> int:
        return self.source.position(self.start)[0]

    @property
    def text(self) -> str:
        return self.source.text[self.start : self.end]

    def to(self, other: Span) -> Span:
        """From the start of this span to the end of the other."""
        return Span(self.source, self.start, max(self.end, other.end))

    def __str__(self) -> str:
        line, column = self.source.position(self.start)
        return f"{self.source.name}:{line}:{column}"


@dataclass(frozen=True, slots=True)
class Label:
    """A span and what to say beside its underline."""

    span: Span
    text: str = ""


@dataclass(frozen=True, slots=True)
class Help:
    """Advice. With `replacement`, replacing `span` by it mends the mistake."""

    text: str
    span: Span | None = None
    replacement: str | None = None


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One finding: a numbered code, a sentence, a primary place, other places, facts and advice."""

    code: str
    message: str
    primary: Label
    secondary: tuple[Label, ...] = ()
    notes: tuple[str, ...] = ()
    help: Help | None = None

    @property
    def severity(self) -> str:
        return "warning" if self.code.startswith("W") else "error"

    def to_json(self) -> dict[str, Any]:
        """The same finding for machines; lines and columns are 1-based, columns in characters."""
        return {
            "code": self.code,
            "severity": self.severity,
            "message": self.message,
            "primary": _label_json(self.primary),
            "secondary": [_label_json(label) for label in self.secondary],
            "notes": list(self.notes),
            "help": None if self.help is None else _help_json(self.help),
        }


def _span_json(span: Span) -> dict[str, Any]:
    line, column = span.source.position(span.start)
    end_line, end_column = span.source.position(span.end)
    where = {"line": line, "column": column, "end_line": end_line, "end_column": end_column}
    return {"file": span.source.name, **where}


def _label_json(label: Label) -> dict[str, Any]:
    return {**_span_json(label.span), "text": label.text}


def _help_json(advice: Help) -> dict[str, Any]:
    edit = None
    if advice.span is not None and advice.replacement is not None:
        edit = {**_span_json(advice.span), "replacement": advice.replacement}
    return {"text": advice.text, "edit": edit}


class ResnetcError(Exception):
    """Every error that ends a command in an orderly way; `exit_code` is the command's."""

    exit_code: ClassVar[int] = 1


class RunError(ResnetcError):
    """The run failed: a full disk, a network that diverged, a backend that refused."""


class UsageError(ResnetcError):
    """The request makes no sense: unknown network, contradictory flags."""

    exit_code = 2


class CompileError(ResnetcError):
    """The spec is wrong. Carries every finding, in source order."""

    exit_code = 3

    def __init__(self, diagnostics: Diagnostic | Sequence[Diagnostic]) -> None:
        found = (diagnostics,) if isinstance(diagnostics, Diagnostic) else tuple(diagnostics)
        self.diagnostics: tuple[Diagnostic, ...] = found
        super().__init__("\n\n".join(render(d) for d in found[:MAX_REPORTED]))


class MissingError(ResnetcError):
    """A backend, device or data set is not here. `remedy` is the exact step that mends it."""

    exit_code = 4

    def __init__(self, message: str, remedy: str) -> None:
        self.remedy = remedy
        super().__init__(f"{message}\n{remedy}")


class CheckError(ResnetcError):
    """A check failed: parity, expectation, accuracy floor."""

    exit_code = 5


class InternalError(Exception):
    """A bug of ours: an invariant of the compiler does not hold."""


def suggest(word: str, known: Iterable[str]) -> str | None:
    """The known word the user most likely meant, if one is close.

    Of equally close ones the one that begins most alike, then the first by name.
    """
    candidates = list(known)
    close = difflib.get_close_matches(word, candidates, n=5, cutoff=0.7)
    close += [c for c in candidates if len(c) > 2 and word.startswith(c)]
    likeness = difflib.SequenceMatcher(b=word)

    def unlikeness(candidate: str) -> tuple[float, int, str]:
        likeness.set_seq1(candidate)
        pairs = enumerate(zip(word, candidate, strict=False))
        apart = next((i for i, (a, b) in pairs if a != b), len(candidate))
        return -likeness.ratio(), -apart, candidate

    return min(close, key=unlikeness, default=None)


# ------------------------------------------------------------------------------------ rendering

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
        return f"{_STYLES[style]}{text}\x1b[0m" if self._colour and text else text


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
    lines.append(" " * gutter + paint("frame", "--> ") + str(diagnostic.primary.span))
    lines += _excerpt([lb for lb in labels if lb.span.source is home], labels[0], gutter, paint)
    for source in dict.fromkeys(lb.span.source for lb in labels if lb.span.source is not home):
        group = [label for label in labels if label.span.source is source]
        lines.append(" " * gutter + paint("frame", "::: ") + str(group[0].span))
        lines += _excerpt(group, labels[0], gutter, paint)
    pad = " " * (gutter + 1)
    lines += [f"{pad}{paint('note', 'note')}: {note}" for note in diagnostic.notes]
    if diagnostic.help is not None:
        lines.append(f"{pad}{paint('help', 'help')}: {diagnostic.help.text}")
    return "\n".join(lines)


def _excerpt(labels: list[Label], primary: Label, gutter: int, paint: _Palette) -> list[str]:
    bar = paint("frame", "|")
    lines = []
    for number in sorted({label.span.line for label in labels}):
        here = [label for label in labels if label.span.line == number]
        for row, group in _rows(here):
            lines.append(f"{paint('frame', str(number).rjust(gutter))} {bar} {row.shown}".rstrip())
            for label in sorted(group, key=lambda lb: -lb.span.start):
                indent, length = row.columns(label.span)
                mark, style = ("^", "error") if label is primary else ("-", "frame")
                note = f" {label.text}" if label.text else ""
                underline = paint(style, mark * length + note)
                lines.append(f"{' ' * gutter} {bar} {' ' * indent}{underline}".rstrip())
    return lines


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
