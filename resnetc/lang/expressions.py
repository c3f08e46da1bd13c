"""The syntax tree's expressions and types: what may stand where a value or a type is written."""

from __future__ import annotations

from dataclasses import dataclass

from resnetc.diagnostics import Span


@dataclass(frozen=True, slots=True, eq=False)
class Expr:
    """Base of expressions."""

    span: Span


@dataclass(frozen=True, slots=True, eq=False)
class Literal(Expr):
    """int, float, bool, str, None, a size (tuple of ints) or a `Percent`."""

    value: object


@dataclass(frozen=True, slots=True, eq=False)
class Template(Expr):
    """A string with `{expressions}`; parts are str or Expr."""

    parts: tuple[str | Expr, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Name(Expr):
    """A name."""

    name: str


@dataclass(frozen=True, slots=True, eq=False)
class Attr(Expr):
    """`base.name`."""

    base: Expr
    name: str


@dataclass(frozen=True, slots=True, eq=False)
class Index(Expr):
    """`base[index]`."""

    base: Expr
    index: Expr


@dataclass(frozen=True, slots=True, eq=False)
class Slice(Expr):
    """`base[start:stop]`."""

    base: Expr
    start: Expr | None
    stop: Expr | None


@dataclass(frozen=True, slots=True, eq=False)
class Arg:
    """One argument of a call; `name` is None for a positional one."""

    span: Span
    name: str | None
    value: Expr


@dataclass(frozen=True, slots=True, eq=False)
class Apply(Expr):
    """`callee(args)`: a function call, or a layer with some arguments bound."""

    callee: Expr
    args: tuple[Arg, ...]


@dataclass(frozen=True, slots=True, eq=False)
class ListExpr(Expr):
    """`[a, b]`."""

    items: tuple[Expr, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Comprehension(Expr):
    """`[item for targets in iterable if condition]`."""

    item: Expr
    targets: tuple[str, ...]
    iterable: Expr
    condition: Expr | None


@dataclass(frozen=True, slots=True, eq=False)
class Column:
    """The name of a table's column."""

    span: Span
    name: str


@dataclass(frozen=True, slots=True, eq=False)
class Table(Expr):
    """`table (k, out) [3, 16; 5, 24]`: a record for each row."""

    columns: tuple[Column, ...]
    rows: tuple[ListExpr, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Unary(Expr):
    """`-x` or `not x`."""

    operator: str
    operand: Expr


@dataclass(frozen=True, slots=True, eq=False)
class Binary(Expr):
    """Arithmetic, comparison, `and`, `or`, and the range `a..b` (operator "..")."""

    operator: str
    left: Expr
    right: Expr


@dataclass(frozen=True, slots=True, eq=False)
class Cond(Expr):
    """`if test then yes else no`."""

    test: Expr
    yes: Expr
    no: Expr


# ----------------------------------------------------------------------------- types, parameters


@dataclass(frozen=True, slots=True, eq=False)
class TypeExpr:
    """A type as written, perhaps optional.

    A name; `list[item]`; an enum of strings; or `block(width: int)`, with the parameters by which
    the block will be placed or, of a `table`, with the columns it has.
    """

    span: Span
    name: str
    item: TypeExpr | None = None
    choices: tuple[str, ...] = ()
    optional: bool = False
    params: tuple[Param, ...] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Param:
    """One declared parameter."""

    span: Span
    name: str
    type: TypeExpr
    default: Expr | None


class Percent(float):
    """A ratio as written: `20%` is `Percent(0.2)`."""
