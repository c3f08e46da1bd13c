"""Names syntax mistakes: what lark could not read, in the user's words and at the right place."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import lark

from resnetc.diagnostics import Diagnostic, Help, Label, Source, Span, suggest
from resnetc.lang.braces import left_open, never_closed, never_opened
from resnetc.lang.scan import CLOSERS, indent, spans, starts_line, unclosed

_BROKEN_SIZE = re.compile(r"\d+(?:x\d+)*x?[A-Za-z_]\w*|\d+(?:x\d+)+\w*")
_CLOSED_STRING = re.compile(r'"(?:[^"\\\n]|\\.)*"')
_BAD_ESCAPE = re.compile(r'(?:[^\\]|\\[nt"\\{}])*(\\.)')
OPERATORS = frozenset({"+", "-", "*", "**", "/", "//", "mod", "and", "or", "not", "<", "<="})
OPERATORS |= {">", ">=", "==", "!=", "=", "=>", ".."}
DECLARATIONS = ("use", "const", "fn", "ambient", "block", "shortcut", "network", "recipe")
_OPERAND = frozenset({"NAME", "INT"})
_CLOSER_NAMES = {")": "RPAR", "]": "RSQB", "}": "RBRACE"}
_EXPECTED = {
    "RPAR": "`)`",
    "RSQB": "`]`",
    "RBRACE": "`}`",
    "LBRACE": "`{`",
    "LPAR": "`(`",
    "EQUAL": "`=`",
    "COLON": "`:`",
    "COMMA": "`,`",
    "NAME": "a name",
    "STRING": "a string",
    "INT": "a number",
    "VBAR": "`|`",
    "RETURN": "`return`",
    "__ANON_0": "`->`",
    "THEN": "`then`",
    "ELSE": "`else`",
    "IN": "`in`",
}
_FOREIGN = {
    "%": "the remainder is written `mod`",
    "&": "write `and`",
    "!": "write `not`, or `!=`",
    "'": 'strings stand in double quotes, as "after"',
    "\\": "a statement may go on in the next line as it is",
}
_FOREIGN_WORDS = {
    "elif": "write `else if`",
    "while": "there is `for x in xs { ... }` and `* n`",
    "import": "write `use file { name }`",
    "def": "write `fn name(x: int) -> int = ...`",
    "class": "write `block name(...) { ... }`",
}


def explain(
    error: lark.exceptions.UnexpectedInput,
    source: Source,
    offset: int,
    end: int,
    keywords: frozenset[str],
) -> Diagnostic:
    """The diagnostic for what lark could not read between `offset` and `end` of the source."""
    if isinstance(error, lark.exceptions.UnexpectedCharacters):
        return _characters(source, (error.pos_in_stream or 0) + offset)
    if isinstance(error, lark.exceptions.UnexpectedToken) and error.token.type != "$END":
        start, stop = (error.token.start_pos or 0) + offset, (error.token.end_pos or 0) + offset
        before = spans(source, offset, start)
        here = Span(source, start, stop)
        place = _Place(error, before, here, unclosed(before), keywords)
        return next(found for kind in _KINDS if (found := kind(place)) is not None)
    return _end(source, offset, end)


# ---------------------------------------------------------------------------- unreadable characters


def _characters(source: Source, at: int) -> Diagnostic:
    if source.text[at] == '"':
        return _string(source, at)
    broken = _BROKEN_SIZE.match(source.text, at)
    if broken:
        span = Span(source, at, broken.end())
        size = re.match(r"\d+(x\d+)*", span.text)
        assert size is not None
        advice = Help(f"did you mean `{size.group()}`?")
        label = Label(span, "sizes are digits joined by `x`")
        return Diagnostic("E0103", f"`{span.text}` is not a size or a number", label, help=advice)
    char = source.text[at]
    shown = char if char.isprintable() else f"U+{ord(char):04X}"
    message = f"the character `{shown}` means nothing here"
    help_ = Help(_FOREIGN[char]) if char in _FOREIGN else None
    return Diagnostic("E0100", message, Label(Span(source, at, at + 1)), help=help_)


def _string(source: Source, at: int) -> Diagnostic:
    closed = _CLOSED_STRING.match(source.text, at)
    bad = _BAD_ESCAPE.match(source.text, at, closed.end()) if closed else None
    if bad:
        escape = Span(source, *bad.span(1))
        advice = Help('escapes are \\n \\t \\" \\\\ \\{ \\}')
        message = f"there is no escape `{escape.text}`"
        return Diagnostic("E0107", message, Label(escape), help=advice)
    label = Label(Span(source, at, at + 1), "it opens here")
    return Diagnostic("E0108", "this string does not end on its line", label)


# ------------------------------------------------------------------------------- unexpected tokens


@dataclass(frozen=True)
class _Place:
    """A token that cannot stand where it does: what stands before it, and the brackets open."""

    error: lark.exceptions.UnexpectedToken
    before: list[Span]
    here: Span
    open: list[Span]
    keywords: frozenset[str]

    @property
    def accepts(self) -> set[str]:
        """The terminals that could stand here."""
        return set(self.error.accepts or self.error.expected)

    @property
    def outside(self) -> bool:
        """Whether a declaration could begin here."""
        return "NETWORK" in self.accepts and not self.open


def _missing_operand(place: _Place) -> Diagnostic | None:
    """`3 +` at the end of a line: what follows may have been taken for the operand."""
    before, here = place.before, place.here
    if not before:
        return None
    last = before[-1].text
    if last in (*OPERATORS, "->") and place.accepts >= _OPERAND and starts_line(here):
        operator, follows = before[-1], here
    elif len(before) > 1 and before[-2].text in OPERATORS and starts_line(before[-1]):
        operator, follows = before[-2], before[-1]
    else:
        return None
    needs = "a layer after it" if operator.text == "->" else "a right-hand side"
    label = Label(operator, f"`{operator.text}` needs {needs}")
    what = "this ends the body" if follows.text == "}" else "this starts the next statement"
    message = f"the {'row' if operator.text == '->' else 'expression'} ends with an operator"
    return Diagnostic("E0102", message, label, (Label(follows, what),))


def _declaration_inside(place: _Place) -> Diagnostic | None:
    """A new declaration begins while a brace is still open."""
    keyword = place.before[-1] if place.before else place.here
    if place.here.text in DECLARATIONS:
        keyword = place.here
    if keyword.text not in DECLARATIONS or not starts_line(keyword) or indent(keyword) > 0:
        return None
    opened = left_open(place.before)
    if opened is None or not place.open:
        return None
    label = Label(keyword, "a new declaration begins here")
    before = [token for token in place.before if token.start < keyword.start]
    if place.open[-1].text != "{":
        return _missing(place.open[-1], before[-1].end)
    return never_closed(opened, before, label)


def _never_opened(place: _Place) -> Diagnostic | None:
    """A brace too many, or text behind the end of what a line without `{` should have begun."""
    return never_opened(place.before, place.here) if place.outside else None


def _wrong_closer(place: _Place) -> Diagnostic | None:
    if place.here.text not in CLOSERS.values():
        return None
    if not place.open:
        message = f"`{place.here.text}` closes nothing"
        return Diagnostic("E0101", message, Label(place.here))
    opened = place.open[-1]
    closer = CLOSERS[opened.text]
    if closer == place.here.text or _CLOSER_NAMES[closer] not in place.accepts:
        return None
    return _missing(opened, _end_before(place))


def _missing_closer(place: _Place) -> Diagnostic | None:
    opened = place.open[-1] if place.open else None
    if opened is None or opened.text == "{" or place.here.text in (")", "]", ","):
        return None
    expected = _CLOSER_NAMES[CLOSERS[opened.text]] in place.accepts
    return _missing(opened, _end_before(place)) if expected else None


def _end_before(place: _Place) -> int:
    """The end of what stands before the offending token: that line is to blame, not the token's."""
    is_label = place.here.text == ":" and starts_line(place.before[-1])
    return place.before[-2 if is_label else -1].end


def _missing(opened: Span, at: int) -> Diagnostic:
    closer = CLOSERS[opened.text]
    end = Span(opened.source, at, at)
    what = {")": "call", "]": "list", "}": "body"}[closer]
    return Diagnostic(
        "E0101",
        f"this {what} is missing its `{closer}`",
        Label(end, f"expected `{closer}`" + (" or `,`" if closer != "}" else "")),
        (Label(opened, "opened here"),),
        help=Help(f"add `{closer}`", end, closer),
    )


def _foreign(place: _Place) -> Diagnostic | None:
    """A word of another language, which was read as a name."""
    word = place.before[-1] if place.before else place.here
    if word.text not in _FOREIGN_WORDS:
        word = place.here
    if word.text not in _FOREIGN_WORDS:
        return None
    advice = Help(_FOREIGN_WORDS[word.text])
    return Diagnostic("E0100", f"there is no `{word.text}`", Label(word), help=advice)


def _semicolon(place: _Place) -> Diagnostic | None:
    if place.here.text != ";":
        return None
    advice = Help("statements need nothing between them; `;` ends the rows of a table")
    return Diagnostic("E0100", "`;` cannot stand here", Label(place.here), help=advice)


def _edition(place: _Place) -> Diagnostic | None:
    """`rnet` without its number."""
    if not place.before or place.before[-1].text != "rnet" or "INT" not in place.accepts:
        return None
    end = Span(place.here.source, place.before[-1].end, place.before[-1].end)
    advice = Help("write `rnet 1`", end, " 1")
    return Diagnostic("E0100", "`rnet` needs the edition's number", Label(end), help=advice)


def _top_level(place: _Place) -> Diagnostic | None:
    text = place.here.text
    if not place.outside or not re.fullmatch(r"\w+", text):
        return None
    if text == "rnet":
        message = "`rnet 1` stands once, at the top of a file"
        return Diagnostic("E0100", message, Label(place.here))
    close = suggest(text, DECLARATIONS)
    known = f"a file holds {', '.join(DECLARATIONS)}"
    advice = Help(f"did you mean `{close}`?", place.here, close) if close else Help(known)
    return Diagnostic("E0100", f"`{text}` begins no declaration", Label(place.here), help=advice)


def _reserved(place: _Place) -> Diagnostic | None:
    word = place.here
    advice = Help(f"choose another name, such as `{word.text}_`")
    if word.text == ":" and place.before and place.before[-1].text in place.keywords:
        word = place.before[-1]
        advice = Help(f'as a label it stands in quotes: `"{word.text}": ...`')
    elif "NAME" not in place.accepts or word.text not in place.keywords:
        return None
    message = f"`{word.text}` is a word of the language, not a name"
    return Diagnostic("E0113", message, Label(word), help=advice)


def _import(place: _Place) -> Diagnostic | None:
    if not any(span.text == "use" and span.line == place.here.line for span in place.before):
        return None
    advice = Help("an import is written `use file { name, other as alias }`")
    message = f"`{place.here.text}` cannot stand here"
    return Diagnostic("E0100", message, Label(place.here), help=advice)


def _assignment(place: _Place) -> Diagnostic | None:
    if place.here.text != "=" or not place.before or "COLON" not in place.accepts:
        return None
    name = place.before[-1]
    advice = Help(f"a label is `{name.text}: ...`, a value `let {name.text} = ...`")
    return Diagnostic("E0100", "`=` cannot stand here", Label(place.here), help=advice)


def _calculation(place: _Place) -> Diagnostic | None:
    """`relu * 2 ** n`, `=> n + 1`: positions that take one value."""
    if place.error.token.type not in ("PLUS", "MINUS", "STAR", "DIV", "MOD", "POW"):
        return None
    message = f"`{place.here.text}` cannot stand here"
    advice = Help("put a calculation in parentheses here")
    return Diagnostic("E0100", message, Label(place.here), help=advice)


def _anything(place: _Place) -> Diagnostic:
    return Diagnostic(
        "E0100", f"`{place.here.text}` cannot stand here", Label(place.here, _hint(place))
    )


_KINDS: tuple[Callable[[_Place], Diagnostic | None], ...] = (
    _foreign,
    _edition,
    _semicolon,
    _missing_operand,
    _never_opened,
    _top_level,
    _declaration_inside,
    _wrong_closer,
    _missing_closer,
    _import,
    _reserved,
    _assignment,
    _calculation,
    _anything,
)


def _hint(place: _Place) -> str:
    expected = sorted({_EXPECTED.get(name, "") for name in place.accepts})
    few = len(expected) <= 4 and "" not in expected
    return f"expected {' or '.join(expected)}" if few else ""


# ----------------------------------------------------------------------------- the end of the text


def _end(source: Source, offset: int, end: int) -> Diagnostic:
    whole = offset == 0 and end == len(source.text)
    last = offset + len(source.text[offset:end].rstrip())
    place = Label(Span(source, last, last), "the file ends here" if whole else "it ends here")
    before = spans(source, offset, end)
    opened = left_open(before)
    if opened is not None:
        return never_closed(opened, before, place)
    if last == offset:
        return Diagnostic("E0100", "there is no expression here", place)
    what = "the file" if whole else "the expression"
    return Diagnostic("E0100", f"{what} breaks off", place)
