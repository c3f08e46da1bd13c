"""Semantic tokens: every word of a text coloured by what it means."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice

from lsprotocol import types as lsp

from resnetc.highlighting import words
from resnetc.lsp.analysis import Analysis
from resnetc.lsp.positions import Positions
from resnetc.lsp.symbols import Kind, Occurrence

_TYPES = lsp.SemanticTokenTypes
_MODIFIERS = lsp.SemanticTokenModifiers
_BY_KIND = {
    Kind.NETWORK: _TYPES.Class,
    Kind.BLOCK: _TYPES.Function,
    Kind.PRIMITIVE: _TYPES.Function,
    Kind.SHORTCUT: _TYPES.Interface,
    Kind.FUNCTION: _TYPES.Function,
    Kind.CONSTANT: _TYPES.Variable,
    Kind.AMBIENT: _TYPES.Variable,
    Kind.SECTION: _TYPES.Namespace,
    Kind.ALIAS: _TYPES.Function,
    Kind.PARAMETER: _TYPES.Parameter,
    Kind.VALUE: _TYPES.Variable,
    Kind.LABEL: _TYPES.Property,
    Kind.BUILTIN: _TYPES.Function,
}
_KEYWORDS = frozenset(
    {*words.DECLARATIONS, *words.STATEMENTS, *words.CONNECTIVES, *words.OPERATORS}
    | {*words.CONSTANTS}
)
_VALUES = frozenset({*words.VALUES, *words.IMPLICIT})
_LITERAL = {
    "COMMENT": _TYPES.Comment,
    "STRING": _TYPES.String,
    "SIZE": _TYPES.Number,
    "PERCENT": _TYPES.Number,
    "FLOAT": _TYPES.Number,
    "INT": _TYPES.Number,
}
LEGEND = lsp.SemanticTokensLegend(
    token_types=sorted(
        {
            str(t.value)
            for t in (_TYPES.Keyword, _TYPES.Type, *_BY_KIND.values(), *_LITERAL.values())
        }
    ),
    token_modifiers=[_MODIFIERS.Declaration.value, _MODIFIERS.DefaultLibrary.value],
)
_NUMBERS = {name: number for number, name in enumerate(LEGEND.token_types)}
_LEXED = re.compile("|".join(f"(?P<{name}>{regex})" for name, regex in words.PATTERNS.items()))

Token = tuple[int, int, str, int]
"""Start, end, type and modifiers of a token."""


def semantic_tokens(analysis: Analysis, positions: Positions) -> lsp.SemanticTokens:
    """All tokens of a file, as the protocol packs them."""
    data: list[int] = []
    line = column = 0
    for start, end, kind, modifiers in _tokens(analysis):
        if start == end:
            continue
        place = positions.position(analysis.source, start)
        length = positions.position(analysis.source, end).character - place.character
        if place.line != line:
            column = 0
        data += [place.line - line, place.character - column, length, _NUMBERS[kind], modifiers]
        line, column = place.line, place.character
    return lsp.SemanticTokens(data)


def _tokens(analysis: Analysis) -> Iterator[Token]:
    """Names by what they mean, everything else by what it looks like, in order."""
    named = {o.span.start: o for o in analysis.index.occurrences}
    names, at = analysis.index.occurrences, 0
    for match in _LEXED.finditer(analysis.source.text):
        start, end = match.span()
        if match.lastgroup == "STRING" and start not in named:
            while at < len(names) and names[at].span.start < start:
                at += 1
            yield from _string(start, end, names, at)
        elif match.lastgroup == "NAME" or start in named:
            token = _name(match[0], start, end, named.get(start))
            if token is not None:
                yield token
        elif match.lastgroup in _LITERAL:
            yield start, end, _LITERAL[match.lastgroup].value, 0


def _string(start: int, end: int, names: list[Occurrence], first: int) -> Iterator[Token]:
    """A string around the names in its `{expressions}`."""
    at = start
    for occurrence in islice(names, first, None):
        if occurrence.span.start >= end:
            break
        yield at, occurrence.span.start, _TYPES.String.value, 0
        yield _named(occurrence)
        at = occurrence.span.end
    yield at, end, _TYPES.String.value, 0


def _name(text: str, start: int, end: int, occurrence: Occurrence | None) -> Token | None:
    if occurrence is not None and occurrence.symbol.name not in _VALUES:
        return _named(occurrence)
    if text in _VALUES:
        return start, end, _TYPES.Variable.value, 2
    if text in _KEYWORDS:
        return start, end, _TYPES.Keyword.value, 0
    if text in words.TYPES:
        return start, end, _TYPES.Type.value, 2
    return None


def _named(occurrence: Occurrence) -> Token:
    symbol = occurrence.symbol
    meant = symbol.meant
    library = meant.kind is Kind.BUILTIN
    if meant.definition is not None:
        library = meant.definition.home.standard
    kind = _BY_KIND[meant.kind].value
    return occurrence.span.start, occurrence.span.end, kind, occurrence.defines + 2 * library
