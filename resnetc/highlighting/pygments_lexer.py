"""A Pygments lexer for specs; Pygments finds it by the name `rnet` once this package is there.

The words are the grammar's, by way of `tools/highlighting.py`; only what they look like is here.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from pygments.lexer import RegexLexer, bygroups, default, include, words
from pygments.token import (
    Comment,
    Keyword,
    Name,
    Number,
    Operator,
    Punctuation,
    String,
    Text,
)

from resnetc.highlighting.words import (
    CONNECTIVES,
    CONSTANTS,
    DECLARATIONS,
    FUNCTIONS,
    IMPLICIT,
    OPERATORS,
    PATTERNS,
    SIGNS,
    STATEMENTS,
    STRUCTURES,
    TYPES,
    VALUES,
)

_NAME = PATTERNS["NAME"]
_BRACKETS = ("(", ")", "[", "]", "{", "}")


def _whole(names: Iterable[str]) -> words:
    """Any of these, as a word of its own and not as an attribute."""
    return words(tuple(names), prefix=r"(?<![\w.])", suffix=r"(?!\w)")


def _string(token: object) -> list[object]:
    """The state behind an opening quote."""
    return [
        (r'\\[nt"\\{}]', String.Escape),
        (r"\{", String.Interpol, "template"),
        (r'[^"\\{\n]+', token),
        ('"', token, "#pop"),
        default("#pop"),
    ]


class RnetLexer(RegexLexer):  # type: ignore[misc]  # pygments has no types
    """Specs of deep networks.

    Labels are tags, parameters attributes, declared names functions, sizes hexadecimal-coloured
    numbers, so that `3x3` and `64` can be told apart. An `Error` token is a sign that the language
    does not have.
    """

    name = "rnet"
    aliases: ClassVar[list[str]] = ["rnet"]
    filenames: ClassVar[list[str]] = ["*.rnet"]

    tokens: ClassVar[dict[str, list[object]]] = {
        "root": [
            include("declaration"),
            (rf"({_NAME}|[0-9]+)(\s*)(:)", bygroups(Name.Tag, Text, Punctuation)),
            (rf"(?={PATTERNS['STRING']}\s*:)", Text, ("colon", "quoted label")),
            include("expression"),
        ],
        "declaration": [
            (r"(rnet)(\s+)([0-9]+)", bygroups(Keyword.Declaration, Text, Number.Integer)),
            (r"(use)(\s+)([.\w]+)", bygroups(Keyword.Namespace, Text, Name.Namespace)),
            (
                rf"(?<![\w.])({'|'.join(DECLARATIONS)})(\s+)({_NAME})",
                bygroups(Keyword.Declaration, Text, Name.Function),
            ),
            (rf"(?<![\w.])({'|'.join(STATEMENTS)})(?=\s+[^\s:=,)])", Keyword.Reserved),
        ],
        "expression": [
            (r"\s+", Text),
            (r"##[^\n]*", String.Doc),
            (PATTERNS["COMMENT"], Comment.Single),
            ('"', String.Double, "string"),
            (PATTERNS["SIZE"], Number.Hex),
            (PATTERNS["PERCENT"], Number.Float),
            (PATTERNS["FLOAT"], Number.Float),
            (PATTERNS["INT"], Number.Integer),
            (r"\(", Punctuation, "arguments"),
            (r"\[", Punctuation, "list"),
            (_whole(CONSTANTS), Keyword.Constant),
            (_whole(OPERATORS), Operator.Word),
            (_whole((*CONNECTIVES, *STATEMENTS)), Keyword),
            (rf"(?<![\w.])({'|'.join(STRUCTURES)})(?=\s*[({{])", Name.Builtin),
            (_whole((*VALUES, *IMPLICIT)), Name.Builtin.Pseudo),
            (rf"(?<![\w.])({'|'.join(FUNCTIONS)})(?=\s*\()", Name.Builtin),
            (_NAME, Name),
            (words(_BRACKETS), Punctuation),
            (words(tuple(sign for sign in SIGNS if sign not in _BRACKETS)), Operator),
        ],
        "arguments": [
            (r"\)", Punctuation, "#pop"),
            (
                rf"({_NAME})(\s*)(:)(\s*)((?:{'|'.join(TYPES)})\b)?",
                bygroups(Name.Attribute, Text, Punctuation, Text, Keyword.Type),
            ),
            (rf"{_NAME}(?=\s*=(?!=))", Name.Attribute),
            include("expression"),
        ],
        "list": [(r"\]", Punctuation, "#pop"), include("expression")],
        "string": _string(String.Double),
        "quoted label": [('"', Name.Tag, ("#pop", "label"))],
        "label": _string(Name.Tag),
        "colon": [(r"\s+", Text), (":", Punctuation, "#pop"), default("#pop")],
        "template": [
            (r"\}", String.Interpol, "#pop"),
            (r'(?=["\n])', Text, "#pop"),
            include("expression"),
        ],
    }
