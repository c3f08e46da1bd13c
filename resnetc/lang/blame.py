"""Mistakes that come up in another file than the checked one, told where they can be mended.

A template of the library fails where its text meets the value that a derivation gave it. What is
wrong is the value, so that the finding is told of it; the library's line stands beside it. Where
no one value is to blame, the finding at least says which line of the checked file leads to it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass, replace

from resnetc.diagnostics import CompileError, Diagnostic, Help, Label, Source, Span
from resnetc.lang import syntax as s
from resnetc.lang.budget import SPENT
from resnetc.lang.elaborate import Elaborator, WrongFactsError
from resnetc.lang.evaluate import Env, Evaluator
from resnetc.lang.modules import Module
from resnetc.lang.observe import Observer
from resnetc.lang.origins import Origin, TracedElaborator, Tracer, is_setting, names_in
from resnetc.lang.record import CheckedNetwork
from resnetc.lang.site import Opened, Site
from resnetc.lang.variants import Derived

MOST_LABELS = 3


def elaborate(
    derived: Derived,
    evaluate: Evaluator,
    findings: list[Diagnostic],
    observe: Observer | None = None,
) -> CheckedNetwork:
    """The elaborated network; what is wrong only in what it says of itself goes to `findings`.
    Raises CompileError with every mistake of a network that is not whole. All have a place in the
    file that the network stands in."""
    try:
        return Elaborator(derived, evaluate, observe).run()
    except WrongFactsError as error:
        findings += [at_home(each, derived) for each in error.diagnostics]
        return error.network
    except CompileError as error:
        found = error.diagnostics
        if all(_is_own(each.primary.span, derived) for each in found):
            raise
        raise CompileError(_traced(derived, found)) from None


def at_home(found: Diagnostic, derived: Derived) -> Diagnostic:
    """The finding with a place in the file of the derivation, whether or not it has one."""
    if _is_own(found.primary.span, derived):
        return found
    return _beside(found, derived, [Label(derived.derivation, "in this network")])


def _traced(derived: Derived, before: Sequence[Diagnostic]) -> list[Diagnostic]:
    """The findings of an elaboration that remembers who gave what. It copies no blocks: where it
    spends its budget before it comes to them, those that are known."""
    try:
        _Blaming(derived, Tracer()).run()
    except CompileError as error:
        found = error.diagnostics
        spent = {each.code for each in found} & SPENT
        if found and spent <= {each.code for each in before}:
            return list(found)
    return [at_home(each, derived) for each in before]


class _Blaming(TracedElaborator):
    """Elaborates, and looks for the values behind a mistake in the names at its place."""

    def __init__(self, derived: Derived, tracer: Tracer) -> None:
        super().__init__(derived, tracer)
        self._at: list[tuple[s.Stmt, Env]] = []

    def _statement(self, statement: s.Stmt, env: Env, site: Site) -> None:
        self._at.append((statement, env))
        try:
            super()._statement(statement, env, site)
        finally:
            self._at.pop()

    def _located(self, found: Diagnostic, site: Site) -> Diagnostic:
        found = super()._located(found, site)
        if _is_own(found.primary.span, self.derived):
            return found
        if not self._at:
            return at_home(found, self.derived)
        given = self._given(found.primary.span)
        if len(given) == 1:
            return _promoted(found, given[0], self.derived)
        return _beside(found, self.derived, given[:MOST_LABELS] or [self._way_in(site)])

    def _given(self, span: Span) -> list[Label]:
        """Values of the checked file that the expression at a place is made of; where it is made
        of none, the layer that is placed there."""
        statement, env = self._at[-1]
        around = list(_around(statement, span))
        innermost = [node for node in around if isinstance(node, s.Expr)][-1:]
        calls = [node for node in around if isinstance(node, s.Call)][-1:]
        values = [name.name for node in innermost for name in names_in(node)]
        return self._places(values, env) or self._places([call.name for call in calls], env)

    def _places(self, names: Sequence[str], env: Env) -> list[Label]:
        """Where the checked file gives the values of names, each place once."""
        seen: set[int] = set()
        places: dict[Span, Label] = {}
        for name in dict.fromkeys(names):
            for owner, span in self._leaves(name, self.evaluate.of_name(name, env), seen):
                places.setdefault(span, Label(span, f"given for `{owner}`"))
        return list(places.values())

    def _leaves(self, name: str, origin: Origin, seen: set[int]) -> Iterator[tuple[str, Span]]:
        if id(origin) in seen:
            return
        seen.add(id(origin))
        if origin.span is not None and _is_own(origin.span, self.derived):
            yield name, origin.span
            return
        for inner in origin.names:
            yield from self._leaves(*inner, seen)

    def _way_in(self, site: Site) -> Label:
        """The innermost call of a block in the checked file, else its derivation."""
        opened: Opened | None = site.opened
        while opened is not None:
            if _is_own(opened.span, self.derived):
                return Label(opened.span, "placed here")
            opened = opened.outer
        return Label(self.derived.derivation, "in this network")


# ------------------------------------------------------------------------------------- the finding


def _promoted(found: Diagnostic, given: Label, derived: Derived) -> Diagnostic:
    """The finding told of a value of the checked file."""
    there = replace(found.primary, text=found.primary.text or "used here")
    secondary = (there, *found.secondary)
    return replace(found, primary=given, secondary=secondary, help=_fitting(found, derived))


def _beside(found: Diagnostic, derived: Derived, labels: Sequence[Label]) -> Diagnostic:
    """The finding with more places."""
    return replace(found, secondary=(*found.secondary, *labels), help=_fitting(found, derived))


def _fitting(found: Diagnostic, derived: Derived) -> Help | None:
    """The finding's advice, unless it is to change a shipped file; that on the budget changes
    none."""
    if found.help is None or found.code in SPENT:
        return found.help
    sources = {edit.span.source for edit in found.help.edits} or {found.primary.span.source}
    shipped = _shipped(derived.home, set())
    return None if any(source in shipped for source in sources) else found.help


def _shipped(home: Module, seen: set[Module]) -> set[Source]:
    """The sources of the shipped files that a file takes names from, in however many steps."""
    seen.add(home)
    found = {home.file.source} if home.shipped else set()
    for definition in home.names.values():
        if definition.home not in seen:
            found |= _shipped(definition.home, seen)
    return found


def _is_own(span: Span, derived: Derived) -> bool:
    """Whether a place is in the checked file, or in a value from outside."""
    return span.source is derived.home.file.source or is_setting(span)


def _around(node: object, span: Span) -> Iterator[s.Expr | s.Call]:
    """Expressions and calls that a place lies in, from the outside."""
    if isinstance(node, tuple):
        for item in node:
            yield from _around(item, span)
    elif is_dataclass(node) and not isinstance(node, Span | type):
        if isinstance(node, s.Expr | s.Call) and node.span.holds(span):
            yield node
        for field in fields(node):
            yield from _around(getattr(node, field.name), span)
