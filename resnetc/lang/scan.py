"""A quick look at a text's words, signs and brackets, where parsing would be too much or failed."""

from __future__ import annotations

import re
from collections.abc import Iterator

from resnetc.diagnostics import Source, Span

CLOSERS = {"(": ")", "[": "]", "{": "}"}
_TOKEN = re.compile(
    r'#[^\n]*|"(?:[^"\\\n]|\\.)*"|\d\w*(?:\.\d\w*)?%?|\w+|->|=>|==|!=|<=|>=|\*\*|//|\.\.|\S'
)


def tokens(text: str, start: int = 0, end: int | None = None) -> Iterator[re.Match[str]]:
    """Words, numbers, strings and signs, without comments; roughly what the lexer sees."""
    matches = _TOKEN.finditer(text, start, len(text) if end is None else end)
    return (match for match in matches if not match[0].startswith("#"))


def spans(source: Source, start: int, end: int) -> list[Span]:
    """The tokens of a part of a source."""
    return [Span(source, *match.span()) for match in tokens(source.text, start, end)]


def unclosed(before: list[Span]) -> list[Span]:
    """Opening brackets that are still open after these tokens, outermost first."""
    stack: list[Span] = []
    for span in before:
        if span.text in CLOSERS:
            stack.append(span)
        elif span.text in CLOSERS.values() and stack:
            stack.pop()
    return stack


def starts_line(span: Span) -> bool:
    """Whether nothing but space stands before it on its line."""
    start = span.source.line_start(span.line)
    return not span.source.text[start : span.start].strip()


def indent(span: Span) -> int:
    """Columns of space before the first sign of the span's line."""
    text = span.source.line_text(span.line)
    return len(text) - len(text.lstrip())
