"""Reading on behind a mistake of syntax: one finding for each region of a file that has one.

A mistake is mended in a draft of the text where it is clear how, or else its statement is blanked
out; then the draft is read again. A second mistake in the same statement is most likely the first
one's echo and is not told. Offsets in the draft lead back to the text.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable
from dataclasses import replace

import lark

from resnetc.diagnostics import MAX_REPORTED, Diagnostic, Edit, Help, Label, Source, Span
from resnetc.lang.scan import indent, spans, starts_line, unclosed
from resnetc.lang.syntax_mistakes import explain
from resnetc.lang.syntax_place import DECLARATIONS, OPERATORS

_GO_ON = {*OPERATORS, "->", ")", "]", ","} - {"//"}
"""What no line begins with that begins a statement; `//` was meant to begin a comment."""
MAX_REREAD = 100_000
"""Characters read again, all drafts together: as many as take well under a second."""

Read = Callable[[str], lark.exceptions.UnexpectedInput | None]
"""What cannot be read of a text, None where all can."""


def all_mistakes(
    source: Source,
    error: lark.exceptions.UnexpectedInput,
    keywords: frozenset[str],
    read: Read,
) -> list[Diagnostic]:
    """Every mistake of syntax in a file, given the first; of a file too long to be read again, that
    one alone."""
    draft = _Draft(source)
    if len(source.text) > MAX_REREAD:
        return [explain(error, source, 0, len(source.text), keywords)]
    findings: list[Diagnostic] = []
    allowed = MAX_REREAD
    unread: lark.exceptions.UnexpectedInput | None = error
    while unread is not None and len(findings) < MAX_REPORTED:
        found = explain(unread, draft.source, 0, len(draft.source.text), keywords)
        at = _position(unread, draft.source.text)
        region = _region(draft.source, found.primary.span, at, wide=False)
        echo = draft.has_been_mended(region, at)
        if echo:
            region = _region(draft.source, found.primary.span, at, wide=True)
        else:
            findings.append(draft.original(found))
        allowed -= len(draft.source.text)
        if _is_end(unread) or allowed < 0 or not draft.mend(found, region, at, blank=echo):
            break
        unread = read(draft.source.text)
    return findings


def _is_end(error: lark.exceptions.UnexpectedInput) -> bool:
    return isinstance(error, lark.exceptions.UnexpectedToken) and error.token.type == "$END"


def _position(error: lark.exceptions.UnexpectedInput, text: str) -> int:
    return len(text) if _is_end(error) else error.pos_in_stream or 0


class _Draft:
    """A text in which mistakes are mended one after the other."""

    def __init__(self, source: Source) -> None:
        self._original = source
        self.source = source
        self._inserted: list[int] = []
        self._mended: list[tuple[int, int]] = []
        self._met: set[int] = set()

    def mend(self, found: Diagnostic, region: Span, at: int, *, blank: bool) -> bool:
        """Mend a mistake, or blank out its region; whether that changed anything.

        `at` is where reading stopped, which may be behind what is to blame.
        """
        before = self.source.text
        self._met.add(self._back(at))
        self._mended.append((self._back(region.start), self._back(region.end)))
        edit = None if blank else _clear_edit(found)
        if edit is None:
            self._replace(region.start, region.end, _blanked(region.text))
        else:
            self._replace(edit.span.start, edit.span.end, edit.replacement)
        return self.source.text != before

    def has_been_mended(self, region: Span, at: int) -> bool:
        """Whether a statement has been touched already, or a mistake was met at this very token.

        What is left of a line behind a blanked statement counts as part of it.
        """
        start, end, at = self._back(region.start), self._back(region.end), self._back(at)
        line = self._original.position(start)[0]
        if at in self._met or self._closes_nothing_left(at):
            return True
        for begin, to in self._mended:
            if begin < end and (start < to or self._original.position(to)[0] == line):
                return True
        return False

    def _closes_nothing_left(self, at: int) -> bool:
        """Whether a brace stands right behind what has been blanked out of its body."""
        text = self._original.text
        return text[at : at + 1] == "}" and any(
            to <= at and not text[to:at].strip() for _, to in self._mended
        )

    def original(self, found: Diagnostic) -> Diagnostic:
        """A finding about the draft as one about the text."""
        advice = found.help
        if advice is not None and advice.span is not None:
            advice = replace(advice, span=self._original_span(advice.span))
        return replace(
            found,
            primary=self._original_label(found.primary),
            secondary=tuple(map(self._original_label, found.secondary)),
            help=advice,
        )

    def _original_label(self, label: Label) -> Label:
        return Label(self._original_span(label.span), label.text)

    def _original_span(self, span: Span) -> Span:
        return Span(self._original, self._back(span.start), self._back(span.end))

    def _back(self, offset: int) -> int:
        """The offset in the text of an offset in the draft."""
        return offset - bisect.bisect_left(self._inserted, offset)

    def _replace(self, start: int, end: int, new: str) -> None:
        """Replace by a text of the same length, or insert one."""
        text = self.source.text
        grown = len(new) - (end - start)
        self._inserted = [at + grown if at >= end else at for at in self._inserted]
        for i in range(grown):
            bisect.insort(self._inserted, end + i)
        self.source = Source(self.source.name, text[:start] + new + text[end:])


def _clear_edit(found: Diagnostic) -> Edit | None:
    """How a draft can be read on with nothing lost; None where that is not clear."""
    span = found.primary.span
    if found.code == "E0103":
        return Edit(span, "1".ljust(span.end - span.start))
    edits = found.help.edits if isinstance(found.help, Help) and found.help.sure else ()
    if len(edits) != 1:
        return None
    (edit,) = edits
    shorter = len(edit.span.text) - len(edit.replacement)
    return Edit(edit.span, edit.replacement + " " * max(0, shorter))


def _blanked(text: str) -> str:
    return "".join(char if char in "\r\n" else " " for char in text)


# ------------------------------------------------------------------------------------ the region


def _region(source: Source, blamed: Span, at: int, *, wide: bool) -> Span:
    """The statement or declaration that a mistake is in; with `wide`, the whole of its lines.

    It ends where a line begins that is indented no deeper than its first and that can begin a
    statement; a brace that closes one of its own belongs to it.
    """
    tokens = spans(source, 0, len(source.text))
    first = _first_token(tokens, min(blamed.start, at), wide=wide)
    if first is None:
        return Span(source, len(source.text), len(source.text))
    start = tokens[first]
    column = indent(start) if starts_line(start) else indent(start) + 1
    depth, end = 0, start.end
    for token in tokens[first:]:
        begins = starts_line(token) and token.start > start.start
        if begins and token.text in DECLARATIONS and indent(token) == 0:
            return Span(source, start.start, end)
        behind = token.start >= at or token.start > blamed.end
        can_begin = token.text not in _GO_ON
        if begins and behind and indent(token) <= column and can_begin and depth <= 0:
            return Span(source, start.start, end)
        if token.text == "{":
            depth += 1
        elif token.text == "}":
            if depth == 0 and token.start >= at and token.start > start.start:
                return Span(source, start.start, end)
            depth -= 1
        end = token.end
    return Span(source, start.start, len(source.text))


def _first_token(tokens: list[Span], offset: int, *, wide: bool) -> int | None:
    """The token that begins the statement in which an offset is: the first of its line, or unless
    `wide` behind the brace that stands on that line."""
    if not tokens:
        return None
    starts = [token.start for token in tokens]
    index = max(0, bisect.bisect_right(starts, offset) - 1)
    for opened in unclosed(tokens[: index + 1])[::-1]:
        if opened.text == "{":
            break
        index = bisect.bisect_left(starts, opened.start)
    while index > 0 and not _begins(tokens, index, wide=wide):
        index -= 1
    if tokens[index].text == "}" and not wide:
        return _first_token(tokens, offset, wide=True)
    return index


def _begins(tokens: list[Span], index: int, *, wide: bool) -> bool:
    """Whether a statement can begin here: on a new line, not as the rest of what goes before."""
    before, token = tokens[index - 1], tokens[index]
    if not starts_line(token):
        return before.text == "{" and not wide
    goes_on = before.text in (*OPERATORS, "->", ",", "(", "[")
    return not goes_on and token.text not in ("->", ")", "]")
