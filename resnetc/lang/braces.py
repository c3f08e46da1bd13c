"""Braces that do not pair: which one was forgotten, told by how the lines are indented."""

from __future__ import annotations

from resnetc.diagnostics import Diagnostic, Help, Label, Span
from resnetc.lang.scan import CLOSERS, indent, starts_line


def _margins(tokens: list[Span]) -> dict[int, int]:
    """Columns before the first sign of the statement that each bracket opens the body of.

    A list of parameters or arguments before it may have begun on a line further up.
    """
    margins: dict[int, int] = {}
    stack: list[Span] = []
    before: Span | None = None
    for token in tokens:
        closed = None
        if token.text in CLOSERS:
            margins[token.start] = indent(before if before is not None else token)
            stack.append(token)
        elif token.text in CLOSERS.values() and stack:
            closed = stack.pop()
        before = closed if closed is not None and closed.text != "{" else None
    return margins


def left_open(before: list[Span]) -> Span | None:
    """The bracket that was forgotten: one whose closing brace stands further left, or the last."""
    margins = _margins(before)
    stack: list[Span] = []
    for span in before:
        if span.text in CLOSERS:
            stack.append(span)
        elif span.text in CLOSERS.values() and stack:
            opened = stack.pop()
            if starts_line(span) and indent(span) < margins[opened.start]:
                return opened
    return stack[-1] if stack else None


def never_closed(opened: Span, before: list[Span], secondary: Label) -> Diagnostic:
    """Blame the place where the bracket's body ends, as the lines are indented."""
    closer = CLOSERS[opened.text]
    margin = _margins([token for token in before if token.start <= opened.start])[opened.start]
    last = _last_inside(opened, before, margin)
    end = Span(opened.source, last.end, last.end)
    advice = Help(f"add `{closer}`", end, closer if opened.text != "{" else f" {closer}")
    if opened.text == "{" and last.line > opened.line:
        # On a line of its own, behind what is said of the last.
        behind = opened.source.line_start(last.line) + len(opened.source.line_text(last.line))
        new = f"\n{' ' * margin}{closer}"
        advice = Help(f"add `{closer}`", Span(opened.source, behind, behind), new)
    return Diagnostic(
        "E0101",
        f"this `{opened.text}` is never closed",
        Label(end, f"expected `{closer}`"),
        (Label(opened, "opened here"), *([] if secondary.span == end else [secondary])),
        help=advice,
    )


def _last_inside(opened: Span, before: list[Span], margin: int) -> Span:
    last = opened
    for token in before:
        if token.start <= opened.start:
            continue
        if starts_line(token) and indent(token) <= margin:
            break
        last = token
    return last


def never_opened(before: list[Span], here: Span) -> Diagnostic | None:
    """A brace that closes what a line without `{` should have opened.

    `here` closes one too many, or stands behind the end of what should still be open.
    """
    margins = _margins(before)
    stack: list[Span] = []
    for token in (*before, here):
        if token.text == "{" and token is not here:
            stack.append(token)
        elif token.text == "}":
            opened = stack.pop() if stack else None
            if starts_line(token) and (opened is None or margins[opened.start] < indent(token)):
                head = _headless(before, token)
                return None if head is None else _unopened(head, token)
    return None


def _headless(before: list[Span], closing: Span) -> Span | None:
    """The end of the line that should have opened the body which a brace closes: the last one
    indented as that brace, where it opens nothing and deeper lines follow."""
    lines: dict[int, list[Span]] = {}
    for token in before:
        if token.end <= closing.start:
            lines.setdefault(token.line, []).append(token)
    deeper = False
    for tokens in reversed(lines.values()):
        if indent(tokens[0]) > indent(closing):
            deeper = True
        elif indent(tokens[0]) < indent(closing) or not deeper:
            return None
        else:
            opens = tokens[-1].text in CLOSERS
            return None if opens else tokens[-1]
    return None


def _unopened(head: Span, closing: Span) -> Diagnostic:
    end = Span(head.source, head.end, head.end)
    return Diagnostic(
        "E0101",
        "this body is missing its `{`",
        Label(end, "expected `{`"),
        (Label(closing, "closed here"),),
        help=Help("add `{`", end, " {"),
    )
