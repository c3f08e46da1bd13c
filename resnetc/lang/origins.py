"""Who set each value of a network: an elaboration that remembers, for `resnetc explain`.

An ordinary elaboration keeps no such record and pays nothing for it. The classes here do what
:class:`Evaluator` and :class:`Elaborator` do, and note on the way where each name got its value.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass, replace

from resnetc.diagnostics import Span
from resnetc.lang import syntax as s
from resnetc.lang.bind import bind_arguments
from resnetc.lang.elaborate import Elaborator
from resnetc.lang.evaluate import Env, Evaluator
from resnetc.lang.record import Recorder
from resnetc.lang.site import Site
from resnetc.lang.values import Bound
from resnetc.lang.variants import KEYWORDS, OPTION, Derived

WRITTEN, BOUND, WITH, SETTING = "written", "bound", "with", "--set"
DEFAULT, LET, SET, LOOP, PLACE = "default", "let", "set", "loop", "place"
CONST, AMBIENT, DECLARED = "const", "ambient", "declared"
"""Kinds of origins. `written` stands at the call itself, `bound` at another call, which may be one
of the block that the layer is in; `place` is what a body knows of where it is, such as `first`."""
_OF_PLACE = ("input", "output", "here", "stride", "changed", "index", "first", "last")

_Place = tuple[int, int, int]
"""A stretch of a source: the source's identity, start, end."""


def _place(span: Span) -> _Place:
    return id(span.source), span.start, span.end


@dataclass(frozen=True)
class Origin:
    """Where a value comes from: how it was set, its text there, and the names in that text.

    `owner` is the declaration that a default or binding belongs to.
    """

    kind: str
    value: object
    span: Span | None = None
    owner: str = ""
    names: tuple[tuple[str, Origin], ...] = ()

    @property
    def text(self) -> str:
        """The expression as it is written."""
        return "" if self.span is None else " ".join(self.span.text.split())


@dataclass(frozen=True)
class Placement:
    """A primitive or block as it was placed: the call, and every argument's origin."""

    declaration: s.Primitive | s.Block
    call: Span
    callee: tuple[str, Origin]
    arguments: tuple[tuple[str, Origin], ...]


class Tracer(Evaluator):
    """Evaluates and remembers. `ops` and `blocks` are the placements by the record's positions,
    `network` the network's own parameters and the ambients in force at its beginning."""

    def __init__(self) -> None:
        super().__init__()
        self.record: Recorder | None = None
        self.network: tuple[tuple[str, Origin], ...] = ()
        self.ops: dict[int, Placement] = {}
        self.blocks: dict[int, Placement] = {}
        self.ambient_origins: dict[tuple[int, str], Origin] = {}
        self._names: dict[tuple[int, str], Origin] = {}
        self._bound: dict[int, Origin] = {}
        self._latest: dict[_Place, Origin] = {}
        self._expressions: dict[_Place, Origin] = {}
        self._called_in: Env | None = None
        # What is known by identity has to live as long as this does.
        self._kept: list[object] = []

    # ---- what is noted on the way

    def __call__(self, expr: s.Expr, env: Env) -> object:
        value = super().__call__(expr, env)
        span = expr.span
        if self.record is None:  # a derivation: `with` and --set
            origin = self.written(expr, env, value)
            self._expressions[_place(span)] = origin
            self._kept.append(span.source)
        return value

    def arguments(self, args: tuple[s.Arg, ...], env: Env) -> tuple[Bound, ...]:
        bound = super().arguments(args, env)
        for arg, made in zip(args, bound, strict=True):
            origin = self.written(arg.value, env, made.value)
            self._bound[id(made)] = origin
            # A signature names what was given by position: another `Bound`, of the same text.
            self._latest[_place(made.span)] = origin
        self._kept += bound
        self._called_in = env
        return bound

    def bind(
        self, decl: s.Callable, bound: tuple[Bound, ...], env: Env, span: Span
    ) -> dict[str, Span]:
        called_in = self._called_in
        where = super().bind(decl, bound, env, span)
        given, _ = bind_arguments(decl, bound, span)
        for param in decl.params:
            value = env.names[param.name]
            if param.name in given:
                origin = self._given(given[param.name], value, decl, span)
            else:
                assert param.default is not None
                origin = self.written(param.default, env, value)
                origin = replace(origin, kind=DEFAULT, owner=decl.name)
            self._note(param.name, env, origin)
        if isinstance(decl, s.Primitive | s.Block) and self.record is not None:
            self._placed(decl, env, called_in, span)
        return where

    def let(self, let: s.Let, env: Env) -> None:
        before = self.written(let.value, env, None)
        super().let(let, env)
        for name in let.targets:
            origin = replace(before, kind=LET, value=env.names[name])
            self._note(name, env, origin)

    def assign(self, targets: tuple[str, ...], value: object, env: Env, span: Span) -> None:
        super().assign(targets, value, env, span)
        for name in targets:
            self._note(name, env, Origin(LOOP, env.names[name], span))

    def ambients_set(self, before: dict[str, object], env: Env, origins: dict[str, Origin]) -> None:
        """Ambients were rebound: the dictionary is another one, with new origins for some."""
        self._kept.append(env.ambients)
        for name in env.ambients:
            known = origins.get(name) or self.ambient_origins.get((id(before), name))
            if known is not None:
                self.ambient_origins[id(env.ambients), name] = known

    def of_parameter(self, name: str, env: Env) -> Origin:
        """Where a parameter that became an ambient got its value."""
        return self._names[id(env), name]

    def _note(self, name: str, env: Env, origin: Origin) -> None:
        self._names[id(env), name] = origin
        self._kept.append(env)

    def _given(self, bound: Bound, value: object, decl: s.Callable, call: Span) -> Origin:
        known = self._bound.get(id(bound)) or self._latest.get(_place(bound.span))
        known = known or self.overriding(bound.span, value)
        here = call.source is bound.whole.source and call.start <= bound.whole.start < call.end
        kind = WRITTEN if known.kind == WRITTEN and here else known.kind
        if known.kind == WRITTEN and not here:
            kind = BOUND
        return replace(known, kind=kind, value=value, owner=decl.name)

    def overriding(self, span: Span, value: object) -> Origin:
        """The origin of what `with` or --set gave at a place."""
        known = self._expressions.get(_place(span))
        kind = SETTING if is_setting(span) else WITH
        return replace(known or Origin(kind, value, span), kind=kind, value=value)

    def _placed(
        self, decl: s.Primitive | s.Block, env: Env, called_in: Env | None, span: Span
    ) -> None:
        assert self.record is not None
        name = span.text.partition("(")[0].strip() if called_in else decl.name
        callee = decl.name, Origin(DECLARED, None, decl.name_span)
        if called_in is not None and name.isidentifier():
            callee = name, self.of_name(name, called_in)
        arguments = tuple((p.name, self._names[id(env), p.name]) for p in decl.params)
        placement = Placement(decl, span, callee, arguments)
        if isinstance(decl, s.Primitive):
            self.ops[len(self.record.ops)] = placement
        else:
            self.blocks[len(self.record.blocks)] = placement

    # ---- what is known of a name

    def written(self, expr: s.Expr, env: Env, value: object) -> Origin:
        """The origin of an expression's value: it is written there, with these names in it."""
        names = {node.name for node in names_in(expr)} - _own_names(expr)
        known = ((name, self.of_name(name, env)) for name in sorted(names))
        told = tuple((name, origin) for name, origin in known if origin.kind != DECLARED)
        return Origin(WRITTEN, value, expr.span, names=told)

    def of_name(self, name: str, env: Env) -> Origin:
        """Where a name got the value that it has in an environment."""
        inner: Env | None = env
        while inner is not None:
            if name in inner.names:
                value = inner.names[name]
                known = self._names.get((id(inner), name))
                return known or Origin(PLACE if name in _OF_PLACE else WRITTEN, value)
            inner = inner.parent
        definition = env.home.names.get(name)
        if definition is None:
            return Origin(DECLARED, None)
        decl = definition.decl
        if isinstance(decl, s.Ambient):
            return self._of_ambient(decl, env)
        if isinstance(decl, s.Const):
            value = self._constants.get(id(decl))
            return Origin(CONST, value, decl.value.span, owner=decl.name)
        return Origin(DECLARED, None, decl.name_span)

    def in_force(self, name: str, env: Env) -> Origin:
        """As :meth:`of_name`, with the value of an ambient that nothing has read yet."""
        origin, definition = self.of_name(name, env), env.home.names.get(name)
        if origin.kind == AMBIENT and definition and isinstance(definition.decl, s.Ambient):
            decl = definition.decl
            return replace(origin, value=self._constant(decl, definition.home, decl.name_span))
        return origin

    def _of_ambient(self, decl: s.Ambient, env: Env) -> Origin:
        known = self.ambient_origins.get((id(env.ambients), decl.name))
        if known is not None:
            return known
        return Origin(AMBIENT, self._constants.get(id(decl)), decl.value.span, owner=decl.name)


class TracedElaborator(Elaborator):
    """Elaborates one network and notes what `set` and the network's parameters rebind."""

    evaluate: Tracer

    def __init__(self, derived: Derived, tracer: Tracer) -> None:
        # Blocks are copied only where nobody looks on; here each is to be seen.
        super().__init__(derived, tracer, observe=lambda row: None)
        tracer.record = self.record

    def _bind_network(self, decl: s.Network, env: Env) -> None:
        before, tracer = env.ambients, self.evaluate
        super()._bind_network(decl, env)
        origins = {
            name: tracer.overriding(_value_of(span), env.ambients[name])
            for name, span in self.derived.ambient_spans.items()
        }
        for param in decl.params:
            if param.name in env.ambients and param.name not in env.names:
                origins[param.name] = tracer.of_parameter(param.name, env)
        tracer.ambients_set(before, env, origins)
        names = dict.fromkeys([*(param.name for param in decl.params), *env.home.ambients])
        tracer.network = tuple((name, tracer.in_force(name, env)) for name in names)

    def _set(self, statement: s.Set, env: Env, site: Site) -> None:
        before, tracer = env.ambients, self.evaluate
        origins = {}
        for setting in statement.settings:
            origins[setting.name] = tracer.written(setting.value, env, None)
        super()._set(statement, env, site)
        for name, origin in origins.items():
            origins[name] = replace(origin, kind=SET, value=env.ambients[name])
        tracer.ambients_set(before, env, origins)


def is_setting(span: Span) -> bool:
    """Whether a place is in what --set or Python gives."""
    return span.source.name in (OPTION, KEYWORDS)


def _value_of(setting: Span) -> Span:
    """The value of a `name = value` of a `with` or --set."""
    value = setting.text.partition("=")[2].lstrip()
    return Span(setting.source, setting.end - len(value), setting.end)


def names_in(node: object) -> Iterator[s.Name]:
    """The names in an expression."""
    if isinstance(node, s.Name):
        yield node
    elif isinstance(node, tuple):
        for item in node:
            yield from names_in(item)
    elif is_dataclass(node) and not isinstance(node, Span | type):
        for field in fields(node):
            yield from names_in(getattr(node, field.name))


def _own_names(node: object) -> set[str]:
    """Names that comprehensions in an expression bind themselves."""
    own: set[str] = set()
    if isinstance(node, s.Comprehension):
        own |= set(node.targets)
    if isinstance(node, tuple):
        for item in node:
            own |= _own_names(item)
    elif is_dataclass(node) and not isinstance(node, Span | type):
        for field in fields(node):
            own |= _own_names(getattr(node, field.name))
    return own
