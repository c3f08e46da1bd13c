"""The syntax tree: what was written, nothing resolved, nothing checked.

Every node carries its span. Class names follow the grammar's rules.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from resnetc.diagnostics import Source, Span

# ----------------------------------------------------------------------------------- expressions


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
    """A type as written: `name` or `list[item]` or an enum of strings, perhaps optional."""

    span: Span
    name: str
    item: TypeExpr | None = None
    choices: tuple[str, ...] = ()
    optional: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Param:
    """One declared parameter."""

    span: Span
    name: str
    type: TypeExpr
    default: Expr | None


# ------------------------------------------------------------------------------------ statements


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
    core: Call | From
    repeat: Expr | None
    binds: tuple[Bind, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Chain(Stmt):
    """`a -> b -> c`."""

    steps: tuple[Step, ...]


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
    """`expect params = 25_557_032`."""

    settings: tuple[Setting, ...]


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


# ---------------------------------------------------------------------------------- declarations


@dataclass(frozen=True, slots=True, eq=False)
class Decl:
    """Base of declarations. `name_span` is where the name is written, `doc` its `##` comment."""

    span: Span
    name: str
    name_span: Span


@dataclass(frozen=True, slots=True, eq=False)
class ImportName:
    """One name of a `use`."""

    span: Span
    name: str
    alias: str


@dataclass(frozen=True, slots=True, eq=False)
class Use:
    """`use module { names }`; `dots` counts the leading dots."""

    span: Span
    dots: int
    parts: tuple[str, ...]
    module_span: Span
    names: tuple[ImportName, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Callable(Decl):
    """Base of declarations with parameters."""

    params: tuple[Param, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Network(Callable):
    """A network with a body; a template if a parameter has no default."""

    body: Body


@dataclass(frozen=True, slots=True, eq=False)
class Derivation:
    """`base with settings`."""

    span: Span
    base: Expr
    settings: tuple[Setting, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Variant(Decl):
    """A network derived from another, with `expect` and `meta` facts of its own."""

    derivation: Derivation
    facts: tuple[Stmt, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Block(Callable):
    """A block of layers."""

    body: Body


@dataclass(frozen=True, slots=True, eq=False)
class Primitive(Callable):
    """The signature of an op the compiler implements."""


@dataclass(frozen=True, slots=True, eq=False)
class Shortcut(Callable):
    """A shortcut policy: the branches that join a residual body."""

    branches: tuple[Branch, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Function(Callable):
    """A function of values."""

    returns: TypeExpr
    lets: tuple[Let, ...]
    result: Expr


@dataclass(frozen=True, slots=True, eq=False)
class Const(Decl):
    """A named value."""

    type: TypeExpr | None
    value: Expr


@dataclass(frozen=True, slots=True, eq=False)
class Ambient(Decl):
    """A dynamically scoped layer slot."""

    type: TypeExpr
    value: Expr


@dataclass(frozen=True, slots=True, eq=False)
class Recipe(Decl):
    """A training recipe."""

    settings: tuple[Setting, ...]


@dataclass(frozen=True, slots=True, eq=False)
class RecipeVariant(Decl):
    """A recipe derived from another."""

    derivation: Derivation


@dataclass(frozen=True)
class File:
    """One parsed file: unchecked."""

    source: Source
    edition: int | None
    uses: tuple[Use, ...]
    decls: tuple[Decl, ...]
    docs: dict[str, str] = field(default_factory=dict)


class Percent(float):
    """A ratio as written: `20%` is `Percent(0.2)`."""
