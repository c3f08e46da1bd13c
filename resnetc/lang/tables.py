"""Tables: rows of cells under named columns, checked for their shape, made records of."""

from __future__ import annotations

from collections.abc import Sequence

from resnetc.diagnostics import Label
from resnetc.lang import syntax as s
from resnetc.lang.bind import Problem
from resnetc.lang.values import Record


def misfit(table: s.Table) -> Problem | None:
    """What is wrong with a table as written: two columns of one name, a row of another length."""
    first: dict[str, Label] = {}
    for column in table.columns:
        if column.name in first:
            message = f"there are two columns `{column.name}`"
            return Problem("E0206", message, column.span, secondary=(first[column.name],))
        first[column.name] = Label(column.span, "first")
    names = [column.name for column in table.columns]
    for row in table.rows:
        if len(row.items) != len(names):
            cells = _count(len(row.items), "cell")
            message = f"this row has {cells}, the table {_count(len(names), 'column')}"
            columns = Label(table.columns[0].span.to(table.columns[-1].span), "the columns")
            return Problem("E0311", message, row.span, _what(row, names), secondary=(columns,))
    return None


def record(table: s.Table, cells: Sequence[object]) -> Record:
    """The record of a row of values."""
    names = (column.name for column in table.columns)
    return Record(dict(zip(names, cells, strict=True)))


def _what(row: s.ListExpr, names: list[str]) -> str:
    """Which columns are left without a cell, or which cells without a column."""
    missing = names[len(row.items) :]
    if missing:
        return f"nothing for {', '.join(f'`{name}`' for name in missing)}"
    return f"`{row.items[len(names)].span.text}` is too much"


def _count(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
