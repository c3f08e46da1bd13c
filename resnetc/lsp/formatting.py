"""Formatting as small edits, so that the cursor and the marks of the editor stay where they are."""

from __future__ import annotations

import difflib
import re

from lsprotocol import types as lsp

from resnetc.diagnostics import CompileError, Source
from resnetc.lang.format import format_source
from resnetc.lsp.positions import Positions

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
    matcher = difflib.SequenceMatcher(None, before, after, autojunk=False)
    edits = []
    for tag, start, end, new_start, new_end in matcher.get_opcodes():
        touched = within is None or (start <= within.end.line and within.start.line <= end)
        if tag != "equal" and touched:
            first = sum(map(len, before[:start]))
            last = first + sum(map(len, before[start:end]))
            changed = positions.between(source, first, last)
            edits.append(lsp.TextEdit(changed, "".join(after[new_start:new_end])))
    return edits
