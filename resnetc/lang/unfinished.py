"""Statements that break off: what follows on the next line is not to blame."""

from __future__ import annotations

import re

from resnetc.diagnostics import Diagnostic, Help, Label, Span
from resnetc.lang.scan import CLOSERS, indent, starts_line, tokens
from resnetc.lang.syntax_place import OPERAND, OPERATORS, Place

_ENDS_ROW = frozenset({")", "]", "}", ",", ";", "=>", "->", "|", ":"})
_GO_ON = frozenset({"set", "with", "as", "from", "in", "let", "for", "if", "then", "else", "use"})
_GO_ON |= {"require", "expect", "return", "input", "output", "aux", "reuse", ","}
"""What cannot end a statement. The word that follows may be the next statement's."""
_ITEM = re.compile(r'[\w"\[({-]')
_WHOLE = re.compile(r"\d[\d_]*")
_MERGES = ("add", "concat", "mul", "tuple")


def broken_number(place: Place) -> Diagnostic | None:
    """`3.`: the next word was read as the name of an attribute, or could not be."""
    tail = [*place.before[-3:], place.here]
    for number, dot, after in zip(tail, tail[1:], tail[2:], strict=False):
        apart = after.start > dot.end or not after.text.isidentifier()
        if dot.text == "." and apart and _WHOLE.fullmatch(number.text):
            written = number.to(dot)
            advice = Help(f"write `{number.text}.0`", written, f"{number.text}.0")
            message = f"`{written.text}` is not a size or a number"
            label = Label(written, "digits follow the dot")
            return Diagnostic("E0103", message, label, help=advice)
    return None


def missing_operand(place: Place) -> Diagnostic | None:
    """`3 +` at the end of a line: what follows may have been taken for the operand."""
    before, here = place.before, place.here
    if not before:
        return None
    last = before[-1].text
    ends = starts_line(here) or here.text in _ENDS_ROW
    if last in (*OPERATORS, "->") and place.accepts >= OPERAND and ends:
        operator, follows = before[-1], here
    elif len(before) > 1 and before[-2].text in OPERATORS and starts_line(before[-1]):
        operator, follows = before[-2], before[-1]
    else:
        return None
    return operator_at_end(operator, follows)


def operator_at_end(operator: Span, follows: Span | None) -> Diagnostic:
    """An operator without what should follow it."""
    is_row = operator.text == "->"
    needs = "a layer after it" if is_row else "a right-hand side"
    label = Label(operator, f"`{operator.text}` needs {needs}")
    secondary: tuple[Label, ...] = ()
    if follows is not None and follows.text == "}":
        secondary = (Label(follows, "this ends the body"),)
    elif follows is not None and starts_line(follows):
        secondary = (Label(follows, "this starts the next statement"),)
    message = f"the {'row' if is_row else 'expression'} ends with an operator"
    return Diagnostic("E0102", message, label, secondary)


def broken_off(place: Place) -> Diagnostic | None:
    """A line that is not finished; its next token is a statement of its own."""
    before, here = place.before, place.here
    if len(before) > 1 and before[-2].text in _GO_ON and starts_line(before[-1]):
        return _unfinished(before[-2], "", before[-1])
    if not before or before[-1].text in CLOSERS or not starts_line(here):
        return None
    expected = place.expected
    if not expected and before[-1].text not in _GO_ON:
        return None
    return _body(place) or _unfinished(before[-1], expected, here)


def _unfinished(last: Span, expected: str, follows: Span) -> Diagnostic:
    end = Span(last.source, last.end, last.end)
    what = "this ends the body" if follows.text == "}" else "this starts something else"
    message = f"the line breaks off after `{last.text}`"
    return Diagnostic("E0117", message, Label(end, expected), (Label(follows, what),))


def _body(place: Place) -> Diagnostic | None:
    """A body without `{`: the lines that follow are deeper."""
    last = place.before[-1]
    if "LBRACE" not in place.accepts or indent(place.here) <= indent(last):
        return None
    advice = Help("add `{`", place.end_before, " {")
    label = Label(place.end_before, "expected `{`")
    return Diagnostic("E0101", "this body is missing its `{`", label, help=advice)


def missing_comma(place: Place) -> Diagnostic | None:
    """Two items side by side in a bracket that closes on the line."""
    before, here = place.before, place.here
    if not place.open or place.open[-1].text == "{":
        return None
    if "COMMA" not in place.accepts or "IN" in place.accepts:
        return None
    if before[-1].line != here.line or not _ITEM.match(here.text) or here.text in place.keywords:
        return None
    if not _closes_on_line(place.open[-1], here):
        return None
    advice = Help("add `,`", place.end_before, ",")
    label = Label(place.end_before, "expected `,`")
    return Diagnostic("E0116", "a comma is missing between two items", label, help=advice)


def _closes_on_line(opened: Span, here: Span) -> bool:
    source = here.source
    start = source.line_start(here.line)
    rest = tokens(source.text, here.start, start + len(source.line_text(here.line)))
    depth = 1
    for match in rest:
        depth += (match[0] == opened.text) - (match[0] == CLOSERS[opened.text])
        if depth == 0:
            return True
    return False


def missing_bar(place: Place) -> Diagnostic | None:
    """A first branch without its `|`, before one that has it."""
    if place.here.text != "|" or not place.open or place.open[-1].text != "{":
        return None
    inside = [token for token in place.before if token.start > place.open[-1].start]
    merge = _merge(place)
    if not inside or merge is None or any(token.text == "|" for token in inside):
        return None
    first = Span(inside[0].source, inside[0].start, inside[0].start)
    advice = Help("add `|`", first, "| ")
    message = f"the branches of `{merge}` begin with `|`"
    return Diagnostic("E0118", message, Label(inside[0], "the first one here"), help=advice)


def _merge(place: Place) -> str | None:
    """The merge whose brace is open."""
    names = [token.text for token in place.before if token.end <= place.open[-1].start]
    return names[-1] if names and names[-1] in _MERGES else None
