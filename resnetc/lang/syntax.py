"""The syntax tree: what was written, nothing resolved, nothing checked.

Every node carries its span. Class names follow the grammar's rules. Expressions and statements have
files of their own; declarations stand here, and all of them are read from here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from resnetc.diagnostics import Source, Span
from resnetc.lang.expressions import Apply as Apply
from resnetc.lang.expressions import Arg as Arg
from resnetc.lang.expressions import Attr as Attr
from resnetc.lang.expressions import Binary as Binary
from resnetc.lang.expressions import Column as Column
from resnetc.lang.expressions import Comprehension as Comprehension
from resnetc.lang.expressions import Cond as Cond
from resnetc.lang.expressions import Expr as Expr
from resnetc.lang.expressions import Index as Index
from resnetc.lang.expressions import ListExpr as ListExpr
from resnetc.lang.expressions import Literal as Literal
from resnetc.lang.expressions import Name as Name
from resnetc.lang.expressions import Param as Param
from resnetc.lang.expressions import Percent as Percent
from resnetc.lang.expressions import Slice as Slice
from resnetc.lang.expressions import Table as Table
from resnetc.lang.expressions import Template as Template
from resnetc.lang.expressions import TypeExpr as TypeExpr
from resnetc.lang.expressions import Unary as Unary
from resnetc.lang.statements import Aux as Aux
from resnetc.lang.statements import Bind as Bind
from resnetc.lang.statements import Body as Body
from resnetc.lang.statements import Branch as Branch
from resnetc.lang.statements import Call as Call
from resnetc.lang.statements import Chain as Chain
from resnetc.lang.statements import Claim as Claim
from resnetc.lang.statements import Expect as Expect
from resnetc.lang.statements import For as For
from resnetc.lang.statements import From as From
from resnetc.lang.statements import Guard as Guard
from resnetc.lang.statements import If as If
from resnetc.lang.statements import InputStmt as InputStmt
from resnetc.lang.statements import Let as Let
from resnetc.lang.statements import Meta as Meta
from resnetc.lang.statements import OutputStmt as OutputStmt
from resnetc.lang.statements import Require as Require
from resnetc.lang.statements import Reuse as Reuse
from resnetc.lang.statements import Set as Set
from resnetc.lang.statements import Setting as Setting
from resnetc.lang.statements import Shape as Shape
from resnetc.lang.statements import Step as Step
from resnetc.lang.statements import Stmt as Stmt


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
class Subsection:
    """`name { key = value }` inside a section."""

    span: Span
    name: str
    name_span: Span
    settings: tuple[Setting, ...]
    subsections: tuple[Subsection, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Section(Decl):
    """Base of sections: keys and values against a schema.

    `kind` is the word they begin with, `noun` what messages call them.
    """

    kind: ClassVar[str]
    noun: ClassVar[str]
    settings: tuple[Setting, ...]
    subsections: tuple[Subsection, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Recipe(Section):
    """How a network is trained."""

    kind: ClassVar[str] = "recipe"
    noun: ClassVar[str] = "a recipe"


@dataclass(frozen=True, slots=True, eq=False)
class Experiment(Section):
    """A network, a recipe and a seed."""

    kind: ClassVar[str] = "experiment"
    noun: ClassVar[str] = "an experiment"


@dataclass(frozen=True, slots=True, eq=False)
class Deploy(Section):
    """What a network is exported to, and in which precision."""

    kind: ClassVar[str] = "deploy"
    noun: ClassVar[str] = "a deploy section"


@dataclass(frozen=True, slots=True, eq=False)
class SectionVariant(Decl):
    """Base of sections derived from another; a key in a subsection is written `a.b`."""

    kind: ClassVar[str]
    noun: ClassVar[str]
    derivation: Derivation


@dataclass(frozen=True, slots=True, eq=False)
class RecipeVariant(SectionVariant):
    """A recipe derived from another."""

    kind: ClassVar[str] = "recipe"
    noun: ClassVar[str] = "a recipe"


@dataclass(frozen=True, slots=True, eq=False)
class ExperimentVariant(SectionVariant):
    """An experiment derived from another."""

    kind: ClassVar[str] = "experiment"
    noun: ClassVar[str] = "an experiment"


@dataclass(frozen=True, slots=True, eq=False)
class DeployVariant(SectionVariant):
    """A deploy section derived from another."""

    kind: ClassVar[str] = "deploy"
    noun: ClassVar[str] = "a deploy section"


@dataclass(frozen=True)
class File:
    """One parsed file: unchecked."""

    source: Source
    edition: int | None
    uses: tuple[Use, ...]
    decls: tuple[Decl, ...]
    docs: dict[str, str] = field(default_factory=dict)
