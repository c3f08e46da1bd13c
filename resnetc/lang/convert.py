"""How values convert to declared types, and what to say of those that do not."""

from __future__ import annotations

import re
from collections.abc import Callable

from resnetc.diagnostics import Help, Label, Span, suggest
from resnetc.lang import syntax as s
from resnetc.lang.mistake import Mistake
from resnetc.lang.scan import CLOSERS, spans
from resnetc.lang.signatures import misfit, signed
from resnetc.lang.values import (
    TYPES,
    Layer,
    Poison,
    Range,
    Record,
    TensorList,
    show,
    show_type,
    type_name,
)


class Mismatch(Exception):  # noqa: N818 - becomes a Mistake once it is located
    """A value that is not of the declared type. `detail` explains, `fix` replaces its text."""

    def __init__(
        self,
        message: str,
        detail: str = "",
        fix: str | None = None,
        code: str = "E0301",
        secondary: tuple[Label, ...] = (),
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.detail = detail
        self.fix = fix
        self.secondary = secondary
        self.items: tuple[int, ...] = ()
        """Which item of a list is to blame, of which item of that, and so on."""


def checked(value: object, type_: s.TypeExpr, span: Span) -> object:
    """The value as the declared type holds it, or a located Mistake."""
    try:
        return convert(value, type_)
    except Mismatch as error:
        advice = None
        item = _item(span, error.items)
        span = item or span
        if error.fix is not None and item is not None:
            literal = _LITERAL.fullmatch(span.text) is not None
            advice = Help(f"write `{error.fix}`", span, error.fix, sure=literal)
        labels = error.secondary
        mistake = Mistake(
            error.code, error.message, span, error.detail, secondary=labels, help=advice
        )
        raise mistake from None


def _item(span: Span, items: tuple[int, ...]) -> Span | None:
    """Where an item of a list is written; None where the list is not written out."""
    for index in items:
        written = _items(span)
        if index >= len(written):
            return None
        span = written[index]
    return span


def _items(span: Span) -> list[Span]:
    """The items of a list that is written out; none of anything else."""
    tokens = spans(span.source, span.start, span.end)
    if len(tokens) < 3 or tokens[0].text != "[" or tokens[-1].text != "]":
        return []
    groups: list[list[Span]] = [[]]
    depth = 0
    for token in tokens[1:-1]:
        depth += (token.text in CLOSERS) - (token.text in CLOSERS.values())
        if token.text == "for" or depth < 0:
            return []
        if token.text == "," and depth == 0:
            groups.append([])
        else:
            groups[-1].append(token)
    return [group[0].to(group[-1]) for group in groups if group]


def convert(value: object, type_: s.TypeExpr) -> object:
    """The value as the declared type holds it, or a Mismatch.

    An int widens to float, one int makes a square size, a range a list; nothing else converts.
    """
    if isinstance(value, Poison) or (value is None and type_.optional):
        return value
    if type_.choices:
        return _convert_enum(value, type_.choices)
    if type_.name not in TYPES or (type_.name == "list") != (type_.item is not None):
        return value  # there is no such type, which has been reported
    own = _CONVERSIONS.get(type_.name)
    if own is not None:
        return own(value, type_)
    if type_name(value) == type_.name:
        return value
    raise _mismatch(value, type_)


def _mismatch(value: object, type_: s.TypeExpr, detail: str = "") -> Mismatch:
    fix = _written_as(value, type_.name)
    return Mismatch(f"expected {_wanted(type_)}, found {_described(value)}", detail, fix)


def _written_as(value: object, name: str) -> str | None:
    """A value as it would be written to be of a type, where that is plain: `"3x3"`, 16.0, 1."""
    if value is None and name == "shortcut":
        return "plain"
    if isinstance(value, str) and name in _IN_QUOTES and _IN_QUOTES[name].fullmatch(value):
        return value
    if name == "int" and isinstance(value, float) and value == int(value):
        return None if isinstance(value, s.Percent) else str(int(value))
    if name == "bool" and value in (0, 1) and isinstance(value, int):
        return "true" if value else "false"
    if name == "string" and isinstance(value, int | float | tuple):
        return f'"{show(value)}"'
    return None


def _wanted(type_: s.TypeExpr) -> str:
    return show_type(type_).removesuffix("?") + (" or none" if type_.optional else "")


def _described(value: object) -> str:
    plain = isinstance(value, int | float | str | tuple) and value is not None
    return f"{type_name(value)} {show(value)}" if plain else type_name(value)


def _convert_enum(value: object, choices: tuple[str, ...]) -> object:
    if value in choices:
        return value
    quoted = [f'"{choice}"' for choice in choices]
    found = show(value) if isinstance(value, str) else _described(value)
    message = f"this must be {' or '.join(quoted)}, not {found}"
    close = suggest(value, choices) if isinstance(value, str) else None
    raise Mismatch(message, fix=f'"{close}"' if close else None, code="E0302")


def _convert_list(value: object, type_: s.TypeExpr) -> object:
    items = value.items if isinstance(value, TensorList) else value
    if not isinstance(items, list | Range):
        raise _mismatch(value, type_)
    assert type_.item is not None
    converted: list[object] = []
    for index, item in enumerate(items):
        try:
            converted.append(convert(item, type_.item))
        except Mismatch as error:
            error.items = (index, *error.items)
            raise
    return converted


def _convert_table(value: object, type_: s.TypeExpr) -> object:
    if isinstance(value, list) and all(isinstance(item, Record | Poison) for item in value):
        return [_convert_record(item, type_) for item in value]
    raise _mismatch(value, type_, "a table is a list of records")


def _convert_record(value: object, type_: s.TypeExpr) -> object:
    """The record with the cells that the type speaks of as it says; other cells stay."""
    if isinstance(value, Poison) or (isinstance(value, Record) and type_.params is None):
        return value
    if not isinstance(value, Record):
        raise _mismatch(value, type_)
    cells = dict(value.cells)
    for column in type_.params or ():
        declared = (Label(column.span, "wanted here"),)
        if column.name not in cells:
            known = f"it has {', '.join(cells)}"
            message = f"this table has no column `{column.name}`"
            raise Mismatch(message, known, secondary=declared)
        try:
            cells[column.name] = convert(cells[column.name], column.type)
        except Mismatch as error:
            message = f"in column `{column.name}`: {error.message}"
            raise Mismatch(message, error.detail, code=error.code, secondary=declared) from None
    return Record(cells)


def _convert_layer(value: object, type_: s.TypeExpr) -> object:
    if not isinstance(value, Layer):
        raise _mismatch(value, type_)
    if type_.params is None:
        return value
    problem = misfit(value, type_)
    if problem is not None:
        raise Mismatch(problem.message, code=problem.code, secondary=problem.secondary)
    return signed(value, type_)


def _convert_ratio(value: object, type_: s.TypeExpr) -> object:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _mismatch(value, type_)
    if 0 <= value <= 1:
        return s.Percent(value)
    if isinstance(value, s.Percent):
        raise Mismatch(f"a ratio lies between 0% and 100%, and this is {show(value)}")
    fix = f"{value:g}%" if 0 <= value <= 100 else None
    shown = f"{type_name(value)} {show(value)}"
    raise Mismatch(f"expected ratio, found {shown}", "a ratio lies between 0% and 100%", fix)


def _convert_float(value: object, type_: s.TypeExpr) -> object:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    raise _mismatch(value, type_)


def _convert_size(value: object, type_: s.TypeExpr) -> object:
    if isinstance(value, int) and not isinstance(value, bool):
        return (value, value)
    if isinstance(value, tuple) and len(value) == 2:
        return value
    raise _mismatch(value, type_, "a size is HxW, or one int")


def _convert_shape(value: object, type_: s.TypeExpr) -> object:
    if isinstance(value, tuple):
        return value
    raise _mismatch(value, type_)


def _convert_block(value: object, type_: s.TypeExpr) -> object:
    if not isinstance(value, Layer):
        raise _mismatch(value, type_)
    if isinstance(value.declaration, s.Block):
        return _convert_layer(value, type_)
    name = value.declaration.name
    raise Mismatch(f"expected block, found layer `{name}`", "this is a primitive, not a block")


_LITERAL = re.compile(r'none|[\d_.]+(?:[eE][+-]?\d+)?%?|\d+(?:x\d+)+|"[^"{}\\\n]*"')
_IN_QUOTES = {
    "int": re.compile(r"\d{1,15}"),
    "size": re.compile(r"\d{1,6}x\d{1,6}"),
    "bool": re.compile(r"true|false"),
    "float": re.compile(r"\d{1,15}(?:\.\d+)?"),
    **dict.fromkeys(("layer", "block", "shortcut"), re.compile(r"[A-Za-z_]\w*")),
}
"""What stands in quotes and should not, by the type that is wanted."""
_CONVERSIONS: dict[str, Callable[[object, s.TypeExpr], object]] = {
    "list": _convert_list,
    "table": _convert_table,
    "record": _convert_record,
    "layer": _convert_layer,
    "ratio": _convert_ratio,
    "float": _convert_float,
    "size": _convert_size,
    "shape": _convert_shape,
    "block": _convert_block,
}
"""Types whose values are not just those of their name."""
