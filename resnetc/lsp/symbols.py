"""Which name means what: every place in a file where a name is written, and the thing it names."""

from __future__ import annotations

import bisect
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from resnetc.diagnostics import Source, Span
from resnetc.lang import syntax as s
from resnetc.lang.modules import Definition, Module
from resnetc.lang.scan import spans


class Kind(Enum):
    """What sort of thing a name stands for, in the words of the language."""

    NETWORK = "network"
    BLOCK = "block"
    PRIMITIVE = "primitive"
    SHORTCUT = "shortcut"
    FUNCTION = "fn"
    CONSTANT = "const"
    AMBIENT = "ambient"
    SECTION = "section"
    ALIAS = "import"
    PARAMETER = "parameter"
    VALUE = "value"
    LABEL = "label"
    BUILTIN = "builtin"


_DECLARED: tuple[tuple[type[s.Decl], Kind], ...] = (
    (s.Network, Kind.NETWORK),
    (s.Variant, Kind.NETWORK),
    (s.Block, Kind.BLOCK),
    (s.Primitive, Kind.PRIMITIVE),
    (s.Shortcut, Kind.SHORTCUT),
    (s.Function, Kind.FUNCTION),
    (s.Const, Kind.CONSTANT),
    (s.Ambient, Kind.AMBIENT),
)


@dataclass(frozen=True)
class Symbol:
    """A thing with a name. It is known by its kind, its file and the place of its name.

    `definition` is set for what is declared at the top of a file, `param` for parameters,
    `owner` names the declaration that a parameter, value or label belongs to.
    """

    kind: Kind
    name: str
    path: Path | None
    start: int
    span: Span | None = field(default=None, compare=False)
    definition: Definition | None = field(default=None, compare=False)
    param: s.Param | None = field(default=None, compare=False)
    owner: str = field(default="", compare=False)
    target: Symbol | None = field(default=None, compare=False)
    """What an imported name stands for."""
    scope: int = field(default=0, compare=False)
    """Labels with the same number are names in the same module of the tree."""
    fixed: bool = field(default=False, compare=False)
    """Whether the compiler itself knows the name: a parameter of a primitive."""

    @property
    def meant(self) -> Symbol:
        """The thing itself, where this is another name for it."""
        return self.target or self


@dataclass(frozen=True, slots=True)
class Occurrence:
    """A place where a symbol's name is written; `defines` where the name is given there."""

    span: Span
    symbol: Symbol
    defines: bool = False


@dataclass
class Index:
    """The names of a file, in source order."""

    module: Module
    occurrences: list[Occurrence]
    steps: list[s.Step]

    def __post_init__(self) -> None:
        self.occurrences.sort(key=lambda o: (o.span.start, o.span.end))
        self._starts = [o.span.start for o in self.occurrences]

    def at(self, offset: int) -> Occurrence | None:
        """The name written at an offset; also right behind its last character."""
        number = bisect.bisect_right(self._starts, offset)
        for occurrence in reversed(self.occurrences[max(0, number - 8) : number]):
            if occurrence.span.start <= offset <= occurrence.span.end:
                return occurrence
        return None


def declared(definition: Definition) -> Symbol:
    """The symbol of a declaration."""
    decl = definition.decl
    kind = next((kind for type_, kind in _DECLARED if isinstance(decl, type_)), Kind.SECTION)
    path = definition.home.path.resolve()
    return Symbol(kind, decl.name, path, decl.name_span.start, decl.name_span, definition)


def parameter(home: Module, decl: s.Callable, param: s.Param) -> Symbol:
    """The symbol of a declaration's parameter."""
    fixed = isinstance(decl, s.Primitive)
    return nested_parameter(home.path.resolve(), decl.name, param, fixed=fixed)


def nested_parameter(path: Path, owner: str, param: s.Param, *, fixed: bool = False) -> Symbol:
    """The symbol of a parameter by the name of what it belongs to."""
    start = param.span.start
    span = Span(param.span.source, start, start + len(param.name))
    return Symbol(
        Kind.PARAMETER, param.name, path, start, span, param=param, owner=owner, fixed=fixed
    )


def callee_parameter(callee: Symbol | None, name: str, home: Module) -> Symbol | None:
    """The parameter that `name=` gives in a call of a file, where the text tells: of what is
    called, of the signature that a parameter's type demands, of what it is by default."""
    if callee is None:
        return None
    callee = callee.meant
    demanded = callee.param.type.params if callee.param is not None else None
    if demanded is not None and callee.path is not None:
        found = next((param for param in demanded if param.name == name), None)
        return nested_parameter(callee.path, callee.owner, found) if found is not None else None
    template = signature_of(callee.definition)
    if callee.param is not None:
        template = signature_of_value(callee.param.default, home)
    if template is None or not isinstance(template.decl, s.Callable):
        return None
    found = next((param for param in template.decl.params if param.name == name), None)
    return parameter(template.home, template.decl, found) if found is not None else None


def builtin(name: str) -> Symbol:
    """The symbol of a name that the language itself gives a meaning."""
    return Symbol(Kind.BUILTIN, name, None, -1)


def signature_of(definition: Definition | None, depth: int = 0) -> Definition | None:
    """The declaration whose parameters a call of this one may give, where the text tells.

    An ambient stands for what it is bound to at first, a derived network for its template.
    """
    if definition is None or depth > 16:
        return None
    decl = definition.decl
    if isinstance(decl, s.Callable):
        return definition
    if isinstance(decl, s.Ambient | s.Const):
        return signature_of_value(decl.value, definition.home, depth + 1)
    if isinstance(decl, s.Variant | s.SectionVariant):
        return signature_of_value(decl.derivation.base, definition.home, depth + 1)
    return None


def signature_of_value(value: s.Expr | None, home: Module, depth: int = 0) -> Definition | None:
    """The declaration that an expression of a file names, perhaps with arguments bound."""
    while isinstance(value, s.Apply):
        value = value.callee
    if not isinstance(value, s.Name):
        return None
    return signature_of(home.names.get(value.name), depth)


def named_between(source: Source, start: int, end: int, names: tuple[str, ...]) -> Iterator[Span]:
    """Where the names stand in a part of a source that holds them in this order."""
    wanted = iter(names)
    name = next(wanted, None)
    for span in spans(source, start, end):
        if span.text == name:
            yield span
            name = next(wanted, None)
