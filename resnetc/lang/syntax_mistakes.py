"""Names syntax mistakes: what lark could not read, in the user's words and at the right place."""

from __future__ import annotations

import re
from collections.abc import Callable

import lark

from resnetc.diagnostics import Diagnostic, Help, Label, Source, Span, suggest
from resnetc.lang.braces import left_open, never_closed, never_opened
from resnetc.lang.foreign_syntax import FOREIGN_SYNTAX
from resnetc.lang.scan import CLOSERS, indent, spans, starts_line, unclosed
from resnetc.lang.syntax_place import DECLARATIONS, OPERATORS, SECTIONS, Place
from resnetc.lang.unfinished import (
    broken_number,
    broken_off,
    missing_bar,
    missing_comma,
    missing_operand,
    operator_at_end,
)
from resnetc.lang.unreadable import unreadable

_BEHIND_CALL = ("->", "=>", "{", "}", "|", ":")
_CLOSER_NAMES = {")": "RPAR", "]": "RSQB", "}": "RBRACE"}
_FOREIGN_WORDS = {
    "elif": ("write `else if`", "else if"),
    "while": ("there is `for x in xs { ... }` and `* n`", None),
    "import": ("write `use file { name }`", None),
    "def": ("write `fn name(x: int) -> int = ...`", "fn"),
    "class": ("write `block name(...) { ... }`", "block"),
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
        return unreadable(source, (error.pos_in_stream or 0) + offset)
    if isinstance(error, lark.exceptions.UnexpectedToken) and error.token.type != "$END":
        start, stop = (error.token.start_pos or 0) + offset, (error.token.end_pos or 0) + offset
        before = spans(source, offset, start)
        here = Span(source, start, stop)
        place = Place(error, before, here, unclosed(before), keywords)
        return next(found for kind in _KINDS if (found := kind(place)) is not None)
    return _end(source, offset, end)


# ------------------------------------------------------------------------------- unexpected tokens


def _declaration_inside(place: Place) -> Diagnostic | None:
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
        return _missing(place, before[-1].end)
    return never_closed(opened, before, label)


def _never_opened(place: Place) -> Diagnostic | None:
    """A brace too many, or text behind the end of what a line without `{` should have begun."""
    return never_opened(place.before, place.here) if place.outside else None


def _wrong_closer(place: Place) -> Diagnostic | None:
    if place.here.text not in CLOSERS.values():
        return None
    if not place.open:
        message = f"`{place.here.text}` closes nothing"
        advice = Help("remove it", place.here, "")
        return Diagnostic("E0101", message, Label(place.here), help=advice)
    opened = place.open[-1]
    closer = CLOSERS[opened.text]
    if closer == place.here.text or _CLOSER_NAMES[closer] not in place.accepts:
        return None
    return _missing(place, _end_before(place))


def _missing_closer(place: Place) -> Diagnostic | None:
    opened, here = place.open[-1] if place.open else None, place.here
    if opened is None or opened.text == "{" or here.text in (")", "]", ","):
        return None
    if not (starts_line(here) or here.text in _BEHIND_CALL or here.text.isidentifier()):
        return None
    expected = _CLOSER_NAMES[CLOSERS[opened.text]] in place.accepts
    return _missing(place, _end_before(place)) if expected else None


def _end_before(place: Place) -> int:
    """The end of what stands before the offending token: that line is to blame, not the token's."""
    is_label = place.here.text == ":" and starts_line(place.before[-1])
    return place.before[-2].end if is_label else place.end_before.end


def _missing(place: Place, at: int) -> Diagnostic:
    """The innermost open bracket lacks its other half, which belongs at an offset."""
    opened = place.open[-1]
    closer = CLOSERS[opened.text]
    end = Span(opened.source, at, at)
    what = _bracketed(opened, [token for token in place.before if token.end <= opened.start])
    return Diagnostic(
        "E0101",
        f"this {what} is missing its `{closer}`",
        Label(end, f"expected `{closer}`" + (" or `,`" if closer != "}" else "")),
        (Label(opened, "opened here"),),
        help=Help(f"add `{closer}`", end, closer),
    )


def _bracketed(opened: Span, before: list[Span]) -> str:
    """What a bracket is of, given the tokens before it."""
    last = before[-1].text if before else ""
    follows = last in (")", "]") or last.isidentifier()
    if opened.text == "{":
        return "body"
    if opened.text == "(":
        declares = len(before) > 1 and before[-2].text in (*DECLARATIONS, "primitive")
        return "parameter list" if declares else "call" if follows else "parenthesis"
    return {"|": "guard", "list": "type"}.get(last, "index" if follows else "list")


def _foreign(place: Place) -> Diagnostic | None:
    """A word of another language, which was read as a name."""
    word = place.before[-1] if place.before else place.here
    if word.text not in _FOREIGN_WORDS:
        word = place.here
    if word.text not in _FOREIGN_WORDS:
        return None
    text, replacement = _FOREIGN_WORDS[word.text]
    advice = Help(text, word, replacement, sure=word.text == "elif")
    return Diagnostic("E0100", f"there is no `{word.text}`", Label(word), help=advice)


def _semicolon(place: Place) -> Diagnostic | None:
    if place.here.text != ";":
        return None
    text = "statements need nothing between them; `;` ends the rows of a table"
    advice = Help(text, place.here, "")
    return Diagnostic("E0100", "`;` cannot stand here", Label(place.here), help=advice)


def _edition(place: Place) -> Diagnostic | None:
    """`rnet` without its number."""
    if not place.before or place.before[-1].text != "rnet" or "INT" not in place.accepts:
        return None
    end = Span(place.here.source, place.before[-1].end, place.before[-1].end)
    advice = Help("write `rnet 1`", end, " 1")
    return Diagnostic("E0100", "`rnet` needs the edition's number", Label(end), help=advice)


def _top_level(place: Place) -> Diagnostic | None:
    text = place.here.text
    if not place.outside or not re.fullmatch(r"\w+", text):
        return None
    if text == "rnet":
        message = "`rnet 1` stands once, at the top of a file"
        source = place.here.source
        line = re.compile(r"rnet[ \t]*\d*[ \t]*\n?").match(source.text, place.here.start)
        assert line is not None
        advice = Help("remove it", Span(source, *line.span()), "")
        return Diagnostic("E0100", message, Label(place.here), help=advice)
    close = suggest(text, DECLARATIONS)
    known = f"a file holds {', '.join(DECLARATIONS)}"
    advice = Help(f"did you mean `{close}`?", place.here, close) if close else Help(known)
    return Diagnostic("E0100", f"`{text}` begins no declaration", Label(place.here), help=advice)


def _colon(place: Place) -> Diagnostic | None:
    """`out: 64` among arguments."""
    in_call = bool(place.open) and place.open[-1].text == "("
    if place.here.text != ":" or not in_call or "EQUAL" not in place.accepts:
        return None
    name = place.before[-1]
    if starts_line(name):
        return None
    advice = Help(f"write `{name.text}=...`", Span(name.source, name.end, place.here.end), "=")
    message = "an argument is given by `=`, not `:`"
    return Diagnostic("E0100", message, Label(place.here), help=advice)


def _reserved(place: Place) -> Diagnostic | None:
    word = place.here
    other = f"{word.text}_"
    advice = Help(f"choose another name, such as `{other}`", word, other, sure=False)
    if word.text == ":" and place.before and place.before[-1].text in place.keywords:
        word = place.before[-1]
        quoted = f'"{word.text}"'
        advice = Help(f"as a label it stands in quotes: `{quoted}: ...`", word, quoted)
    elif "NAME" not in place.accepts or word.text not in place.keywords:
        return None
    message = f"`{word.text}` is a word of the language, not a name"
    return Diagnostic("E0113", message, Label(word), help=advice)


def _import(place: Place) -> Diagnostic | None:
    if not any(span.text == "use" and span.line == place.here.line for span in place.before):
        return None
    text = "an import is written `use file { name, other as alias }`"
    advice = Help(text)
    if place.accepts == {"LBRACE", "DOT"} and place.here.text.isidentifier():
        advice = Help(text, place.here, f"{{ {place.here.text} }}")
    message = f"`{place.here.text}` cannot stand here"
    return Diagnostic("E0100", message, Label(place.here), help=advice)


def _assignment(place: Place) -> Diagnostic | None:
    if place.here.text != "=" or not place.before or "COLON" not in place.accepts:
        return None
    name = place.before[-1]
    text = f"a label is `{name.text}: ...`, a value `let {name.text} = ...`"
    advice = Help(text, Span(name.source, name.end, place.here.end), ":", sure=False)
    return Diagnostic("E0100", "`=` cannot stand here", Label(place.here), help=advice)


def _setting(place: Place) -> Diagnostic | None:
    """`deploy d(net) {`, and `precision.layers = "int8"` in a body."""
    before, here = place.before, place.here
    if place.accepts != {"EQUAL", "LBRACE"} or here.text not in ("(", "."):
        return None
    if here.text == ".":
        advice = f"a section inside stands with its braces: `{before[-1].text} {{ ... }}`"
    elif len(before) > 1 and before[-2].text in SECTIONS:
        advice = (
            f"`{before[-2].text}` takes no parameters: what it is about is a setting in its body"
        )
    else:
        return None
    return Diagnostic("E0100", f"`{here.text}` cannot stand here", Label(here), help=Help(advice))


def _calculation(place: Place) -> Diagnostic | None:
    """`relu * 2 ** n`, `=> n + 1`: positions that take one value."""
    if place.error.token.type not in ("PLUS", "MINUS", "STAR", "DIV", "MOD", "POW"):
        return None
    message = f"`{place.here.text}` cannot stand here"
    advice = Help("put a calculation in parentheses here")
    return Diagnostic("E0100", message, Label(place.here), help=advice)


def _anything(place: Place) -> Diagnostic:
    return Diagnostic(
        "E0100", f"`{place.here.text}` cannot stand here", Label(place.here, place.expected)
    )


_KINDS: tuple[Callable[[Place], Diagnostic | None], ...] = (
    _foreign,
    _edition,
    _semicolon,
    broken_number,
    *FOREIGN_SYNTAX,
    missing_operand,
    _never_opened,
    _top_level,
    _declaration_inside,
    missing_bar,
    _wrong_closer,
    _colon,
    missing_comma,
    _missing_closer,
    broken_off,
    _import,
    _reserved,
    _assignment,
    _setting,
    _calculation,
    _anything,
)


# ----------------------------------------------------------------------------- the end of the text


def _end(source: Source, offset: int, end: int) -> Diagnostic:
    whole = offset == 0 and end == len(source.text)
    last = offset + len(source.text[offset:end].rstrip())
    place = Label(Span(source, last, last), "the file ends here" if whole else "it ends here")
    before = spans(source, offset, end)
    opened = left_open(before)
    if before and before[-1].text in (*OPERATORS, "->"):
        return operator_at_end(before[-1], None)
    if opened is not None:
        return never_closed(opened, before, place)
    if last == offset:
        return Diagnostic("E0100", "there is no expression here", place)
    what = "the file" if whole else "the expression"
    return Diagnostic("E0117", f"{what} breaks off", place)
