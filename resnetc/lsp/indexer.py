"""Walks a file's syntax tree and notes what each name means.

What the walk does not know it walks through, so that a new construct of the language is indexed
as soon as its names are names and its bodies bodies.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

from resnetc.diagnostics import Source, Span
from resnetc.lang import syntax as s
from resnetc.lang.builtins import FUNCTIONS
from resnetc.lang.modules import Definition, Module
from resnetc.lang.structures import STRUCTURES
from resnetc.lsp.symbols import (
    Index,
    Kind,
    Occurrence,
    Symbol,
    builtin,
    callee_parameter,
    declared,
    named_between,
    nested_parameter,
    parameter,
)

IMPLICIT = frozenset({"input", "output", "here", "stride", "changed", "index", "first", "last"})
"""Names that the language gives a value in a body, a policy or a repeat."""


class _Scope:
    """Names bound in a body, and the bodies around it; labels of the module of the tree, which
    is known by where it is written."""

    def __init__(self, parent: _Scope | None = None, module: int | None = None) -> None:
        self.parent = parent
        self.names: dict[str, Symbol] = {}
        self.labels: dict[str, Symbol] = {}
        self.module = module or 0
        if parent is not None and module is None:
            self.labels, self.module = parent.labels, parent.module

    def find(self, name: str) -> Symbol | None:
        scope: _Scope | None = self
        while scope is not None:
            if name in scope.names:
                return scope.names[name]
            scope = scope.parent
        return None


def index(module: Module) -> Index:
    """Every name of a file. `module` knows the file's imports."""
    return _Indexer(module).run()


class _Indexer:
    def __init__(self, module: Module) -> None:
        self.module = module
        self.path = module.path.resolve()
        self.occurrences: list[Occurrence] = []
        self.steps: list[s.Step] = []
        self.aliases: dict[str, Symbol] = {}
        self.owner = ""
        self._by_type: dict[type, Callable[[Any, _Scope], None]] = {
            s.Name: self._name,
            s.Apply: self._apply,
            s.Comprehension: self._comprehension,
            s.Body: self._body,
            s.Branch: self._branch,
            s.For: self._for,
            s.Let: self._let,
            s.Set: self._set,
            s.Step: self._step,
            s.Call: self._call,
            s.Reuse: self._reuse,
        }

    def run(self) -> Index:
        for use in self.module.file.uses:
            for name in use.names:
                self._import(name)
        for decl in self.module.file.decls:
            self._declaration(decl)
        return Index(self.module, self.occurrences, self.steps)

    # ---- the top of the file

    def _import(self, name: s.ImportName) -> None:
        definition = self.module.names.get(name.alias)
        if name.alias in self.module.broken or definition is None:
            return
        target = declared(definition)
        span = name.span
        self._note(Span(span.source, span.start, span.start + len(name.name)), target)
        if name.alias != name.name:
            where = Span(span.source, span.end - len(name.alias), span.end)
            alias = Symbol(Kind.ALIAS, name.alias, self.path, where.start, where, target=target)
            self.aliases[name.alias] = alias
            self._note(where, alias, defines=True)

    def _declaration(self, decl: s.Decl) -> None:
        own = Definition(self.module, decl)
        self.owner = decl.name
        self._note(decl.name_span, declared(own), defines=True)
        scope = _Scope(module=decl.span.start)
        if isinstance(decl, s.Callable):
            for param in decl.params:
                self._parameter(decl, param, scope)
        if isinstance(decl, s.Shortcut):
            for branch in decl.branches:
                self._walk(branch, scope)
        elif isinstance(decl, s.Network | s.Block):
            for statement in decl.body.statements:
                self._walk(statement, scope)
        elif isinstance(decl, s.Variant | s.SectionVariant):
            self._derivation(decl, own, scope)
        else:
            for node in children(decl):
                if not isinstance(node, s.Param):
                    self._walk(node, scope)

    def _parameter(self, decl: s.Callable, param: s.Param, scope: _Scope) -> None:
        symbol = parameter(self.module, decl, param)
        assert symbol.span is not None
        self._note(symbol.span, symbol, defines=True)
        self._type(decl, param.type)
        self._walk(param.default, scope)
        scope.names[symbol.name] = symbol

    def _type(self, decl: s.Callable, type_: s.TypeExpr) -> None:
        """The parameters that a type demands of a block are names of their own."""
        for demanded in type_.params or ():
            own = nested_parameter(self.path, decl.name, demanded)
            assert own.span is not None
            self._note(own.span, own, defines=True)
            self._walk(demanded.default, _Scope())

    def _derivation(
        self, decl: s.Variant | s.SectionVariant, own: Definition, scope: _Scope
    ) -> None:
        self._walk(decl.derivation.base, scope)
        for setting in decl.derivation.settings:
            self._setting(setting, declared(own), scope)
            self._walk(setting.value, scope)
        for fact in decl.facts if isinstance(decl, s.Variant) else ():
            self._walk(fact, scope)

    def _setting(self, setting: s.Setting, network: Symbol | None, scope: _Scope) -> None:
        """`with name = value`: a parameter of the template, else an ambient."""
        found = callee_parameter(network, setting.name, self.module)
        definition = self.module.names.get(setting.name)
        if found is None and definition is not None and isinstance(definition.decl, s.Ambient):
            found = declared(definition)
        if found is not None:
            self._note(setting.name_span, found)

    # ---- bodies

    def _walk(self, node: object, scope: _Scope) -> None:
        if node is None:
            return
        special = self._by_type.get(type(node))
        if special is not None:
            special(node, scope)
        else:
            for child in children(node):
                self._walk(child, scope)

    def _body(self, body: s.Body, scope: _Scope) -> None:
        inner = _Scope(scope)
        for statement in body.statements:
            self._walk(statement, inner)

    def _branch(self, branch: s.Branch, scope: _Scope) -> None:
        inner = _Scope(scope)
        guard = branch.guard
        if guard is not None:
            self._walk(guard.iterable, scope)
            end = guard.iterable.span.start if guard.iterable else guard.span.end
            self._targets(guard.targets, guard.span.start, end, inner, guard.span.source)
            self._walk(guard.test, inner)
        self._walk(branch.body, inner)

    def _for(self, loop: s.For, scope: _Scope) -> None:
        self._walk(loop.iterable, scope)
        inner = _Scope(scope)
        source = loop.span.source
        self._targets(loop.targets, loop.span.start, loop.iterable.span.start, inner, source)
        self._walk(loop.body, inner)

    def _let(self, let: s.Let, scope: _Scope) -> None:
        self._walk(let.value, scope)
        start, end = let.span.start, let.value.span.start
        self._targets(let.targets, start, end, scope, let.span.source)

    def _targets(
        self, names: tuple[str, ...], start: int, end: int, scope: _Scope, source: Source
    ) -> None:
        """Bind the names written between two offsets."""
        for span in named_between(source, start, end, names):
            self._value(span, scope)

    def _value(self, span: Span, scope: _Scope) -> None:
        """Bind a name where it is written; once more in the same body, it is the same name."""
        symbol = scope.names.get(span.text)
        if symbol is None:
            start, owner = span.start, self.owner
            symbol = Symbol(Kind.VALUE, span.text, self.path, start, span, owner=owner)
            scope.names[span.text] = symbol
        self._note(span, symbol, defines=True)

    def _comprehension(self, expr: s.Comprehension, scope: _Scope) -> None:
        inner = _Scope(scope)
        start, end = expr.item.span.end, expr.iterable.span.start
        self._targets(expr.targets, start, end, inner, expr.span.source)
        self._walk(expr.iterable, scope)
        self._walk(expr.item, inner)
        self._walk(expr.condition, inner)

    def _set(self, statement: s.Set, scope: _Scope) -> None:
        for setting in statement.settings:
            self._setting(setting, None, scope)
            self._walk(setting.value, scope)

    def _step(self, step: s.Step, scope: _Scope) -> None:
        self.steps.append(step)
        inside = scope
        if isinstance(step.label, s.Literal):
            self._label(step.label, scope)
            inside = _Scope(scope, step.span.start)
        else:
            self._walk(step.label, scope)
        self._walk(step.core, inside)
        self._walk(step.repeat, scope)
        for bind in step.binds:
            span = Span(bind.span.source, bind.span.start, bind.span.start + len(bind.name))
            grown = scope.find(bind.name) if bind.append else None
            if grown is not None:
                self._note(span, grown)
            else:
                self._value(span, scope)

    def _label(self, label: s.Literal, scope: _Scope) -> None:
        name = str(label.value)
        symbol = scope.labels.get(name)
        if symbol is None:
            symbol = Symbol(
                Kind.LABEL,
                name,
                self.path,
                label.span.start,
                label.span,
                owner=self.owner,
                scope=scope.module,
            )
            scope.labels[name] = symbol
        self._note(label.span, symbol, defines=True)

    def _reuse(self, reuse: s.Reuse, scope: _Scope) -> None:
        if not isinstance(reuse.label, s.Literal):
            self._walk(reuse.label, scope)
            return
        symbol = scope.labels.get(str(reuse.label.value))
        if symbol is not None:
            self._note(reuse.label.span, symbol)

    # ---- names and calls

    def _name(self, expr: s.Name, scope: _Scope) -> None:
        symbol = self._resolve(expr.name, scope)
        if symbol is not None:
            self._note(expr.span, symbol)

    def _resolve(self, name: str, scope: _Scope) -> Symbol | None:
        local = scope.find(name)
        if local is not None:
            return local
        if name in self.aliases:
            return self.aliases[name]
        definition = self.module.names.get(name)
        if definition is not None:
            return declared(definition)
        known = name in FUNCTIONS or name in STRUCTURES or name in IMPLICIT
        return builtin(name) if known else None

    def _call(self, call: s.Call, scope: _Scope) -> None:
        structure = call.name in STRUCTURES
        symbol = builtin(call.name) if structure else self._resolve(call.name, scope)
        if symbol is not None:
            self._note(call.name_span, symbol)
        self._arguments(call.args, symbol, scope)
        self._walk(call.body, scope)
        for branch in call.branches or ():
            self._walk(branch, scope)

    def _apply(self, expr: s.Apply, scope: _Scope) -> None:
        self._walk(expr.callee, scope)
        symbol = None
        if isinstance(expr.callee, s.Name):
            symbol = self._resolve(expr.callee.name, scope)
        self._arguments(expr.args, symbol, scope)

    def _arguments(self, args: tuple[s.Arg, ...], callee: Symbol | None, scope: _Scope) -> None:
        for arg in args:
            found = (
                callee_parameter(callee, arg.name, self.module) if arg.name is not None else None
            )
            if found is not None:
                name = Span(arg.span.source, arg.span.start, arg.span.start + len(found.name))
                self._note(name, found)
            self._walk(arg.value, scope)

    # ---- notes

    def _note(self, span: Span, symbol: Symbol, *, defines: bool = False) -> None:
        self.occurrences.append(Occurrence(span, symbol, defines))


def children(node: object) -> Iterator[object]:
    """The nodes of the syntax tree right below one, in the order of its fields."""
    if not dataclasses.is_dataclass(node):
        return
    for field in dataclasses.fields(node):
        value = getattr(node, field.name)
        for item in value if isinstance(value, tuple) else (value,):
            if dataclasses.is_dataclass(item) and not isinstance(item, Span | Source):
                yield item
