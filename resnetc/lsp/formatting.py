"""Formatting as small edits, so that the cursor and the marks of the editor stay where they are."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator

from lsprotocol import types as lsp

from resnetc.diagnostics import CompileError, Source
from resnetc.lang.format import format_source
from resnetc.lsp.positions import Positions

MAX_COMPARED = 1_000
"""Lines that are compared one by one; more are replaced together."""
_LINE = re.compile(r"[^\n]*\n|[^\n]+")


def format_edits(
    source: Source, positions: Positions, within: lsp.Range | None = None
) -> list[lsp.TextEdit]:
    """What formatting would change, by lines; with `within`, only what touches these lines.

    A text with a mistake of syntax is left as it is.
    """
    try:
        formatted = format_source(source)
    except CompileError:
        return []
    before, after = _LINE.findall(source.text), _LINE.findall(formatted)
    edits, offset, line = [], 0, 0
    for start, end, new in _changes(before, after):
        offset += sum(map(len, before[line:start]))
        line = start
        touched = within is None or (start <= within.end.line and within.start.line <= end)
        if touched:
            last = offset + sum(map(len, before[start:end]))
            changed = positions.between(source, offset, last)
            edits.append(lsp.TextEdit(changed, "".join(new)))
    return edits


def _changes(before: list[str], after: list[str]) -> Iterator[tuple[int, int, list[str]]]:
    """Runs of lines that change: from and to, in the first text, and what they become."""
    shorter = min(len(before), len(after))
    head = next((i for i in range(shorter) if before[i] != after[i]), shorter)
    rest = shorter - head
    tail = next((i for i in range(rest) if before[-1 - i] != after[-1 - i]), rest)
    old, new = before[head : len(before) - tail], after[head : len(after) - tail]
    if max(len(old), len(new)) > MAX_COMPARED:
        yield head, head + len(old), new
        return
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    for tag, start, end, new_start, new_end in matcher.get_opcodes():
        if tag != "equal":
            yield head + start, head + end, new[new_start:new_end]
