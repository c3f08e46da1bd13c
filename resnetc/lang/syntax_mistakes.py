"""Names syntax mistakes: what lark could not read, in the user's words and at the right place."""

from __future__ import annotations

import re

import lark

from resnetc.diagnostics import Diagnostic, Help, Label, Source, Span

_CLOSERS = {"LPAR": ")", "LSQB": "]", "LBRACE": "}"}
_TOKEN = re.compile(r'#[^\n]*|"(?:[^"\\\n]|\\.)*"|[()\[\]{}]')
_BROKEN_SIZE = re.compile(r"\d+(?:x\d+)*x?[A-Za-z_]\w*|\d+(?:x\d+)+\w*")
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
}


def explain(
    error: lark.exceptions.UnexpectedInput, source: Source, offset: int, end: int
) -> Diagnostic:
    """The diagnostic for what lark could not read between `offset` and `end` of the source."""
    if isinstance(error, lark.exceptions.UnexpectedCharacters):
        return _characters(source, (error.pos_in_stream or 0) + offset)
    if isinstance(error, lark.exceptions.UnexpectedToken) and error.token.type != "$END":
        return _token(error, source, offset)
    return _end(source, offset, end)


def _characters(source: Source, at: int) -> Diagnostic:
    broken = _BROKEN_SIZE.match(source.text, at)
    if broken and broken.end() > at:
        text = broken.group()
        span = Span(source, at, broken.end())
        size = re.match(r"\d+(x\d+)*", text)
        assert size is not None
        advice = f"did you mean `{size.group()}`?"
        label = Label(span, "sizes are digits joined by `x`")
        return Diagnostic("E0103", f"`{text}` is not a size or a number", label, help=Help(advice))
    if source.text[at] == '"':
        label = Label(Span(source, at, at + 1), "it opens here")
        return Diagnostic("E0108", "this string does not end on its line", label)
    char = source.text[at]
    shown = char if char.isprintable() else f"U+{ord(char):04X}"
    message = f"the character `{shown}` means nothing here"
    return Diagnostic("E0100", message, Label(Span(source, at, at + 1)))


def _token(error: lark.exceptions.UnexpectedToken, source: Source, offset: int) -> Diagnostic:
    token = error.token
    start = (token.start_pos or 0) + offset
    end = (token.end_pos or 0) + offset
    here = Span(source, start, end)
    previous = _previous_token(error, source, offset)
    if previous is not None and _ends_in_operator(previous, error):
        where, text = previous
        label = Label(where, f"`{text}` needs a right-hand side")
        follows = Label(here, "this is not an operand")
        return Diagnostic("E0102", "the expression ends with an operator", label, (follows,))
    opened = _unclosed(source, offset, start)
    wanted = {"(": "RPAR", "[": "RSQB"}
    if opened is not None and wanted.get(opened.text) in error.expected:
        closer = {"(": ")", "[": "]"}[opened.text]
        if str(token) not in (")", "]", ","):
            return _missing_closer(opened, closer, previous, here)
    expected = sorted({_EXPECTED[name] for name in error.expected if name in _EXPECTED})
    hint = f"expected {' or '.join(expected[:4])}" if expected and len(expected) <= 4 else ""
    return Diagnostic("E0100", f"`{token}` cannot stand here", Label(here, hint))


def _missing_closer(
    opened: Span, closer: str, previous: tuple[Span, str] | None, here: Span
) -> Diagnostic:
    """Blame the end of what stands before the offending token, not the token's line."""
    at = previous[0].end if previous else here.start
    place = Span(opened.source, at, at)
    what = "call" if closer == ")" else "list"
    return Diagnostic(
        "E0101",
        f"this {what} is missing its `{closer}`",
        Label(place, f"expected `{closer}` or `,`"),
        (Label(opened, "opened here"),),
        help=Help(f"add `{closer}`", place, closer),
    )


def _previous_token(
    error: lark.exceptions.UnexpectedToken, source: Source, offset: int
) -> tuple[Span, str] | None:
    """The token before the offending one: found in the text, comments left out."""
    end = (error.token.start_pos or 0) + offset
    tokens = list(re.finditer(r"#[^\n]*|[\w%]+|\"[^\"\n]*\"|\*\*|->|=>|[^\s\w]", source.text[:end]))
    while tokens and tokens[-1].group().startswith("#"):
        tokens.pop()
    if not tokens:
        return None
    last = tokens[-1]
    return Span(source, last.start(), last.end()), last.group()


def _ends_in_operator(previous: tuple[Span, str], error: lark.exceptions.UnexpectedToken) -> bool:
    operators = {"+", "-", "*", "**", "/", "mod", "and", "or", "<", ">", "=", "->", "=>"}
    return previous[1] in operators and "NAME" in error.expected


def _unclosed(source: Source, offset: int, until: int) -> Span | None:
    """The innermost bracket still open before `until`."""
    stack: list[Span] = []
    for match in _TOKEN.finditer(source.text, offset, until):
        if match.group() in "([{":
            stack.append(Span(source, match.start(), match.end()))
        elif match.group() in ")]}" and stack:
            stack.pop()
    return stack[-1] if stack else None


def _end(source: Source, offset: int, end: int) -> Diagnostic:
    last = offset + len(source.text[offset:end].rstrip())
    whole = end == len(source.text)
    place = Label(Span(source, last, last), "the file ends here" if whole else "it ends here")
    opened = _unclosed(source, offset, end)
    if opened is None:
        what = (
            "the file ends in the middle of a declaration" if whole else "the expression breaks off"
        )
        return Diagnostic("E0100", what, place)
    closer = {"(": ")", "[": "]", "{": "}"}[opened.text]
    message = f"this `{opened.text}` is never closed"
    return Diagnostic(
        "E0101", message, Label(opened, "opened here"), (place,), help=Help(f"add `{closer}`")
    )
