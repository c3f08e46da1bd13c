"""The syntax tree's statements: what may stand in a body."""

from __future__ import annotations

from dataclasses import dataclass

from resnetc.diagnostics import Span
from resnetc.lang.expressions import Arg, Expr


@dataclass(frozen=True, slots=True, eq=False)
class Stmt:
    """Base of statements."""

    span: Span


@dataclass(frozen=True, slots=True, eq=False)
class Body:
    """`{ statements }`."""

    span: Span
    statements: tuple[Stmt, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Guard:
    """`[if test]` or `[for targets in iterable if test]` before a branch."""

    span: Span
    test: Expr | None
    targets: tuple[str, ...] = ()
    iterable: Expr | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Branch:
    """`| [guard] statements`."""

    span: Span
    guard: Guard | None
    body: Body


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """A layer placed by name: `name(args) { body }` or `name { | branches }`."""

    span: Span
    name: str
    name_span: Span
    args: tuple[Arg, ...]
    body: Body | None
    branches: tuple[Branch, ...] | None


@dataclass(frozen=True, slots=True, eq=False)
class From:
    """`from x, y`."""

    span: Span
    values: tuple[Expr, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Reuse:
    """`reuse label`: what the label names, once more, with the same parameters."""

    span: Span
    label: Expr


@dataclass(frozen=True, slots=True, eq=False)
class Bind:
    """One target of `as`: a name, or a list to append to."""

    span: Span
    name: str
    append: bool


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """`label: core * repeat as binds`. The label is a string or a template."""

    span: Span
    label: Expr | None
    core: Call | From | Reuse
    repeat: Expr | None
    binds: tuple[Bind, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Chain(Stmt):
    """`a -> b -> c`."""

    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Aux(Stmt):
    """`aux label: head(args)`: a chain whose end is an auxiliary output."""

    chain: Chain


@dataclass(frozen=True, slots=True, eq=False)
class Shape(Stmt):
    """`=> 56x56`."""

    value: Expr


@dataclass(frozen=True, slots=True, eq=False)
class Setting:
    """`key = value`."""

    span: Span
    name: str
    name_span: Span
    value: Expr


@dataclass(frozen=True, slots=True, eq=False)
class Claim(Setting):
    """`key = value`, `key <= value`: what an `expect` says."""

    relation: str


@dataclass(frozen=True, slots=True, eq=False)
class Let(Stmt):
    """`let a, b = value`."""

    targets: tuple[str, ...]
    value: Expr


@dataclass(frozen=True, slots=True, eq=False)
class Set(Stmt):
    """`set ambient = value`."""

    settings: tuple[Setting, ...]


@dataclass(frozen=True, slots=True, eq=False)
class If(Stmt):
    """`if test {} else {}`."""

    test: Expr
    then: Body
    orelse: Body | None


@dataclass(frozen=True, slots=True, eq=False)
class For(Stmt):
    """`for targets in iterable {}`."""

    targets: tuple[str, ...]
    iterable: Expr
    body: Body


@dataclass(frozen=True, slots=True, eq=False)
class Require(Stmt):
    """`require test, "why"`."""

    test: Expr
    reason: Expr


@dataclass(frozen=True, slots=True, eq=False)
class Expect(Stmt):
    """`expect params = 25_557_032, macs <= 4.2e9`."""

    claims: tuple[Claim, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Meta(Stmt):
    """`meta { key = value }`."""

    settings: tuple[Setting, ...]


@dataclass(frozen=True, slots=True, eq=False)
class InputStmt(Stmt):
    """`input 3x224x224`."""

    value: Expr


@dataclass(frozen=True, slots=True, eq=False)
class OutputStmt(Stmt):
    """`output x, y`."""

    values: tuple[Expr, ...]
