"""Characters and words that are no token: the lexer cannot read them."""

from __future__ import annotations

import re

from resnetc.diagnostics import Diagnostic, Help, Label, Source, Span

_BROKEN_SIZE = re.compile(r"\d+(?:x\d+)*x?[A-Za-z_]\w*|\d+(?:x\d+)+\w*")
_LIKE_SIZE = re.compile(r"\d+(?:[xX\u00d7]\d+)+(?!\w)")
_CURLY_QUOTED = re.compile(
    r"[\u2018\u201c-\u201e\u00ab]([^\"\\\n\u2019\u201c\u201d\u00bb]*)[\u2019\u201c\u201d\u00bb]"
)
_CLOSED_STRING = re.compile(r'"(?:[^"\\\n]|\\.)*"')
_BAD_ESCAPE = re.compile(r'(?:[^\\]|\\[nt"\\{}])*(\\.)')
_SINGLE_QUOTED = re.compile(r"'([^'\"\\\n]*)'")
_FOREIGN = {
    "%": ("the remainder is written `mod`", "mod"),
    "&": ("write `and`", "and"),
    "^": ("a power is written `**`", "**"),
    "\u00d7": ("a product or repeat is written `*`, a size with the letter x", "*"),
    "!": ("write `not`, or `!=`", "not "),
    "'": ('strings stand in double quotes, as "after"', None),
    "\\": ("a statement may go on in the next line as it is", ""),
}


def unreadable(source: Source, at: int) -> Diagnostic:
    """The diagnostic for what stands at an offset and begins no token."""
    if source.text[at] == '"':
        return _string(source, at)
    like = _like_size(source, at)
    if like is not None:
        size = re.sub(r"\D", "x", like.text)
        advice = Help(f"write `{size}`", like, size)
        label = Label(like, "sizes are digits joined by the letter `x`")
        return Diagnostic("E0103", f"`{like.text}` is not a size or a number", label, help=advice)
    broken = _BROKEN_SIZE.match(source.text, at)
    if broken:
        span = Span(source, at, broken.end())
        begun = re.match(r"\d+(x\d+)*", span.text)
        assert begun is not None
        advice = Help(f"did you mean `{begun.group()}`?", span, begun.group(), sure=False)
        label = Label(span, "sizes are digits joined by `x`")
        return Diagnostic("E0103", f"`{span.text}` is not a size or a number", label, help=advice)
    return _character(source, at)


def _like_size(source: Source, at: int) -> Span | None:
    """A size with another sign for its `x`, such as a times sign, that an offset is in."""
    start = at
    while start > 0 and (source.text[start - 1].isalnum() or source.text[start - 1] == "\u00d7"):
        start -= 1
    match = _LIKE_SIZE.match(source.text, start)
    return Span(source, *match.span()) if match and match.end() > at else None


def _character(source: Source, at: int) -> Diagnostic:
    char = source.text[at]
    span = Span(source, at, at + 1)
    shown = char if char.isprintable() else f"U+{ord(char):04X}"
    message = f"the character `{shown}` means nothing here"
    curly = _CURLY_QUOTED.match(source.text, at)
    if curly:
        span, text = Span(source, *curly.span()), "strings stand in straight quotes"
        return Diagnostic("E0100", message, Label(span), help=Help(text, span, f'"{curly[1]}"'))
    if char not in _FOREIGN:
        return Diagnostic("E0100", message, Label(span))
    text, replacement = _FOREIGN[char]
    quoted = _SINGLE_QUOTED.match(source.text, at)
    if quoted:
        span, replacement = Span(source, at, quoted.end()), f'"{quoted[1]}"'
    elif replacement and source.text[at + 1 : at + 2] == char:
        span = Span(source, at, at + 2)  # `&&`
    return Diagnostic("E0100", message, Label(span), help=Help(text, span, replacement))


def _string(source: Source, at: int) -> Diagnostic:
    closed = _CLOSED_STRING.match(source.text, at)
    bad = _BAD_ESCAPE.match(source.text, at, closed.end()) if closed else None
    if bad:
        escape = Span(source, *bad.span(1))
        advice = Help(
            'escapes are \\n \\t \\" \\\\ \\{ \\}', escape, f"\\{escape.text}", sure=False
        )
        message = f"there is no escape `{escape.text}`"
        return Diagnostic("E0107", message, Label(escape), help=advice)
    label = Label(Span(source, at, at + 1), "it opens here")
    return Diagnostic("E0108", "this string does not end on its line", label)
