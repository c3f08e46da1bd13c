"""What is written otherwise in other languages, and misspelt words that statements begin with.

Each function looks at a token that cannot stand where it does; what is to blame may stand before.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from resnetc.diagnostics import Diagnostic, Help, Label, Span, is_typo, suggest
from resnetc.lang.scan import spans, starts_line
from resnetc.lang.syntax_place import OPERATORS, STATEMENTS, Place

_LITERAL = re.compile(r'\d[\w.]*%?|"[^"\n]*"')
_TIMES = re.compile(r"(\d+)[ \t]*\*")
_REPEAT_FIRST = re.compile(
    r"(\d+)[ \t]*\*[ \t]*([A-Za-z_]\w*(?:\([^()\n]*\))?)(?=[ \t]*(?:$|->|=>|as\b|[}|#]))", re.M
)
_UNDIVIDED = re.compile(r'\d+(?:x\d+)+|"[^"\n]*"')
_WORDS = re.compile(r"//[ \t]*\w+[ \t]+\w+")
_LABEL_ONLY = {"COLON"}
"""What may follow a number or a string where a statement could begin."""


def _misspelt(place: Place) -> Diagnostic | None:
    """`inptu 3x8x8`, `requre x > 3`: the first word was read as a layer."""
    if "REQUIRE" not in place.accepts and place.accepts != _LABEL_ONLY:
        return None
    tail = [*place.before[-3:], place.here]
    for before, word, after in zip(tail, tail[1:], tail[2:], strict=False):
        close = suggest(word.text, STATEMENTS)
        read = word.text.isidentifier() and word.text not in place.keywords
        if close and read and word.line == after.line and before.text not in _GO_ON:
            advice = Help(f"did you mean `{close}`?", word, close, sure=is_typo(word.text, close))
            message = f"`{word.text}` begins no statement"
            return Diagnostic("E0100", message, Label(word), help=advice)
    return None


def _comment(place: Place) -> Diagnostic | None:
    """`// a comment`, of which a word or two may have been read as a divisor and a layer."""
    if place.here.source.text.startswith("/*", place.here.start):
        advice = Help("a comment begins with `#`, on each of its lines")
        return Diagnostic("E0100", "`/*` begins no comment", Label(place.here), help=advice)
    signs = [token for token in (*place.before, place.here) if token.text == "//"]
    if not signs or signs[-1].line != place.here.line:
        return None
    sign = signs[-1]
    if not (starts_line(sign) or _WORDS.match(sign.source.text, sign.start)):
        before = place.before[-1].text if place.before else ""
        undivided = "STAR" in place.accepts or _UNDIVIDED.fullmatch(before)
        if sign is not place.here or not undivided:
            return None
    advice = Help("a comment begins with `#`", sign, "#")
    return Diagnostic("E0100", "`//` begins no comment", Label(sign), help=advice)


def _repeat_by_x(place: Place) -> Diagnostic | None:
    """`basic(64) x 3`: the `x` was read as a layer, the number as a label."""
    if place.accepts != _LABEL_ONLY or len(place.before) < 3:
        return None
    layer, sign, count = place.before[-3:]
    ends_layer = layer.text in (")", "}") or layer.text.isidentifier()
    if sign.text not in ("x", "X") or not ends_layer or not layer.line == sign.line == count.line:
        return None
    advice = Help(f"a repeat is written `* {count.text}`", sign, "*")
    return Diagnostic("E0100", f"`{sign.text}` repeats nothing", Label(sign), help=advice)


def _repeat_first(place: Place) -> Diagnostic | None:
    """`3 * basic(64)`, behind a label or not."""
    if place.here.text == "*" and place.accepts == _LABEL_ONLY and place.before:
        count = place.before[-1]
    elif "REUSE" in place.accepts:
        count = place.here
    else:
        return None
    times = _TIMES.match(count.source.text, count.start)
    if times is None:
        return None
    advice = Help(f"write the layer first: `basic(64) * {times[1]}`")
    match = _REPEAT_FIRST.match(count.source.text, count.start)
    if match is not None:
        whole, turned = Span(count.source, *match.span()), f"{match[2]} * {match[1]}"
        advice = Help(f"write `{turned}`", whole, turned)
    message = "a repeat stands behind what it repeats"
    return Diagnostic("E0100", message, Label(count), help=advice)


def _bare_arguments(place: Place) -> Diagnostic | None:
    """`conv 3x3 64`: numbers and strings right behind a layer."""
    first = place.before[-1] if place.accepts == _LABEL_ONLY and place.before else place.here
    if not _LITERAL.fullmatch(first.text) or (first is place.here and "LPAR" not in place.accepts):
        return None
    before = [token for token in place.before if token.end <= first.start]
    if len(before) < 2 or before[-1].line != first.line or before[-2].text in _GO_ON - {":", "->"}:
        return None
    callee = before[-1]
    if not callee.text.isidentifier() or callee.text in place.keywords:
        return None
    arguments, behind = _run(first)
    shown = f"{callee.text}({', '.join(token.text for token in arguments)}"
    written = callee.to(arguments[-1])
    advice = Help(f"write `{shown}, ...)`")
    if behind in ("", "->", "=>", "*", "as", "}", "|"):
        advice = Help(f"write `{shown})`", written, f"{shown})")
    label = Label(first.to(arguments[-1]))
    return Diagnostic("E0100", "arguments stand in parentheses", label, help=advice)


def _run(first: Span) -> tuple[list[Span], str]:
    """The numbers and strings on a line from the first on, and what stands behind them there."""
    source = first.source
    end = source.line_start(first.line) + len(source.line_text(first.line))
    run: list[Span] = []
    comma = False
    for token in spans(source, first.start, end):
        if _LITERAL.fullmatch(token.text):
            run.append(token)
        elif token.text != "," or comma:
            return run, token.text
        comma = token.text == ","
    return run, "," if comma else ""


def _ternary(place: Place) -> Diagnostic | None:
    """`a ? b : c`."""
    if place.here.text != "?" or "PLUS" not in place.accepts:
        return None
    advice = Help("a choice is written `if a then b else c`")
    return Diagnostic("E0100", "`?` cannot stand here", Label(place.here), help=advice)


_GO_ON = {*OPERATORS, "->", ":", ",", "(", "[", ".", "from", "reuse"}
"""What a statement cannot begin behind."""
FOREIGN_SYNTAX: tuple[Callable[[Place], Diagnostic | None], ...] = (
    _comment,
    _ternary,
    _misspelt,
    _repeat_by_x,
    _repeat_first,
    _bare_arguments,
)
