"""The tensor's shape after every row: a live Table 1."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from lsprotocol import types as lsp

from resnetc.diagnostics import Source
from resnetc.lang import syntax as s
from resnetc.lsp.analysis import Analysis, Place, Placed
from resnetc.lsp.indexer import children
from resnetc.lsp.positions import Positions

MAX_TOLD = 12
"""Shapes that a hint's tooltip lists."""


def hints(
    analysis: Analysis, rows: dict[Place, Placed], within: lsp.Range, positions: Positions
) -> list[lsp.InlayHint]:
    """A hint behind every row of a part of the file."""
    source = analysis.source
    start, end = (positions.offset(source, p) for p in (within.start, within.end))
    ends = _row_ends(source, rows)
    shapes = _checked_shapes(analysis)
    found = []
    for place, row in sorted(ends.items()):
        if start <= place <= end:
            at = shapes.get(place, place)
            found.append(
                lsp.InlayHint(
                    position=positions.position(source, at),
                    label=row.shape + (" …" if row.others else ""),
                    kind=lsp.InlayHintKind.Type,
                    tooltip=told(row),
                    padding_left=True,
                )
            )
    return found


def told(row: Placed) -> str:
    """In words: which network's shape it is, and what other instances give."""
    where = f"{row.path} of {row.network}" if row.path else row.network
    lines = [f"in {where}: {row.shape}"]
    same = row.count - sum(row.others.values()) - 1
    if same:
        lines.append(f"{same} more with this shape")
    lines += [f"{count} with {shape}" for shape, count in list(row.others.items())[:MAX_TOLD]]
    if len(row.others) > MAX_TOLD:
        lines.append(f"and {len(row.others) - MAX_TOLD} other shapes")
    return "\n".join(lines)


def _row_ends(source: Source, rows: dict[Place, Placed]) -> dict[int, Placed]:
    """Of every line on which steps end, the last step's end."""
    last: dict[int, tuple[Place, Placed]] = {}
    for place, row in rows.items():
        line, _ = source.position(place[1])
        known = last.get(line)
        if known is None or place[1] > known[0][1]:
            last[line] = place, row
    return {place[1]: row for place, row in last.values()}


def _checked_shapes(analysis: Analysis) -> dict[int, int]:
    """Ends of rows that are followed on their line by `=> 56x56`, with the end of that."""
    ends = {}
    for body in bodies(analysis.module.file):
        for row, shape in pairwise(body.statements):
            if isinstance(shape, s.Shape) and isinstance(row, s.Chain):
                between = analysis.source.text[row.span.end : shape.span.start]
                if "\n" not in between:
                    ends[row.span.end] = shape.span.end
    return ends


def bodies(node: object) -> Iterator[s.Body]:
    """Every body of statements below a node of the syntax tree."""
    waiting = [node]
    while waiting:
        found = waiting.pop()
        if isinstance(found, s.Body):
            yield found
        waiting += children(found)
