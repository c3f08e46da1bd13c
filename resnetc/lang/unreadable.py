"""Characters and words that are no token: the lexer cannot read them."""

from __future__ import annotations

import re

from resnetc.diagnostics import Diagnostic, Help, Label, Source, Span

_BROKEN_SIZE = re.compile(r"\d+(?:x\d+)*x?[A-Za-z_]\w*|\d+(?:x\d+)+\w*")
_CLOSED_STRING = re.compile(r'"(?:[^"\\\n]|\\.)*"')
_BAD_ESCAPE = re.compile(r'(?:[^\\]|\\[nt"\\{}])*(\\.)')
_SINGLE_QUOTED = re.compile(r"'([^'\"\\\n]*)'")
_FOREIGN = {
    "%": ("the remainder is written `mod`", "mod"),
    "&": ("write `and`", "and"),
    "!": ("write `not`, or `!=`", "not "),
    "'": ('strings stand in double quotes, as "after"', None),
    "\\": ("a statement may go on in the next line as it is", ""),
}


def unreadable(source: Source, at: int) -> Diagnostic:
    """The diagnostic for what stands at an offset and begins no token."""
    if source.text[at] == '"':
        return _string(source, at)
    broken = _BROKEN_SIZE.match(source.text, at)
    if broken:
        span = Span(source, at, broken.end())
        size = re.match(r"\d+(x\d+)*", span.text)
        assert size is not None
        advice = Help(f"did you mean `{size.group()}`?", span, size.group(), sure=False)
        label = Label(span, "sizes are digits joined by `x`")
        return Diagnostic("E0103", f"`{span.text}` is not a size or a number", label, help=advice)
    return _character(source, at)


def _character(source: Source, at: int) -> Diagnostic:
    char = source.text[at]
    span = Span(source, at, at + 1)
    shown = char if char.isprintable() else f"U+{ord(char):04X}"
    message = f"the character `{shown}` means nothing here"
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
