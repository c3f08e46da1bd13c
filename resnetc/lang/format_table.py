"""How the cells of a table stand under each other: numbers at the right of their column."""

from __future__ import annotations

import re
from collections.abc import Sequence

from resnetc.lang.format_doc import Doc, flat_text

_NUMBER = re.compile(r"-?\d[\d_]*(\.\d+)?([eE][+-]?\d+)?%?,?")
_LONGEST = 80
"""Rows longer than this are laid out by themselves, so that they do not spread the others."""


def aligned(rows: Sequence[Sequence[Doc]]) -> list[str | None]:
    """Each row as one text, its cells, commas included, as wide as the widest of their column.

    None stands for a row by itself: a comment breaks it, it is long, or it has not as many cells.
    """
    texts = [[flat_text(cell) for cell in row] for row in rows]
    whole = [[cell for cell in row if cell is not None] for row in texts]
    columns = max(map(len, texts), default=0)
    fit = [row for row in whole if len(row) == columns and sum(map(len, row)) < _LONGEST]
    widths = [max((len(row[i]) for row in fit), default=0) for i in range(columns)]
    numeric = [all(_NUMBER.fullmatch(row[i]) for row in fit) for i in range(columns)]
    return [_line(row, widths, numeric) if row in fit else None for row in whole]


def _line(cells: Sequence[str], widths: Sequence[int], numeric: Sequence[bool]) -> str:
    columns = zip(cells, widths, numeric, strict=True)
    parts = [cell.rjust(width) if right else cell.ljust(width) for cell, width, right in columns]
    return " ".join(parts).rstrip()
