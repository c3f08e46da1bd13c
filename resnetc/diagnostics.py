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
    """The known word the user most likely meant, if one is close."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return close[0] if close else None


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
        text = labels[0].span.source.line_text(number)
        lines.append(f"{paint('frame', str(number).rjust(gutter))} {bar} {_expand(text)}".rstrip())
        here = [label for label in labels if label.span.line == number]
        for label in sorted(here, key=lambda lb: -lb.span.start):
            indent, length = _columns(label.span, text, number)
            mark, style = ("^", "error") if label is primary else ("-", "frame")
            note = f" {label.text}" if label.text else ""
            underline = paint(style, mark * length + note)
            lines.append(f"{' ' * gutter} {bar} {' ' * indent}{underline}".rstrip())
    return lines


def _columns(span: Span, text: str, line: int) -> tuple[int, int]:
    """Display column and width of a span's part on its first line."""
    start = span.start - span.source.line_start(line)
    end = min(span.end - span.source.line_start(line), len(text))
    indent = _width(text[:start])
    return indent, max(1, _width(text[:end]) - indent)


def _expand(text: str) -> str:
    return "".join(_cell(char) for char in text)


def _cell(char: str) -> str:
    """One character as it may be shown: a tab widens, a control character is made visible."""
    if char == "\t":
        return " " * TAB_WIDTH
    return "\N{REPLACEMENT CHARACTER}" if unicodedata.category(char) == "Cc" else char


def _width(text: str) -> int:
    """Columns a terminal uses for the text as :func:`_expand` shows it."""
    return sum(_char_width(char) for char in _expand(text))


def _char_width(char: str) -> int:
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1
