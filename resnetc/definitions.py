"""What a file's definitions stand for: which network is meant, and with which settings."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Collection, Iterable, Iterator, Mapping

from resnetc.diagnostics import CompileError, Diagnostic, Source, Span
from resnetc.ir import Graph
from resnetc.lang import syntax as s
from resnetc.lang.evaluate import Env, Evaluator
from resnetc.lang.mistake import Mistake, Poisoned
from resnetc.lang.modules import Definition, Program
from resnetc.lang.parser import parse_expression
from resnetc.lang.sections import Sections, network_of
from resnetc.lang.variants import KEYWORDS, OPTION, Derived, derive, needs, require_bound
from resnetc.zoo import Reference


def choose(program: Program, found: Reference) -> Definition:
    """The network a reference means in its file: named, or that of an experiment or deployment."""
    meant = network_of(program.entry, found.network)
    if meant is not None:
        return meant
    networks = {d.decl.name: d for d in own_networks(program)}
    return networks[found.choose(list(networks), [n for n, d in networks.items() if _whole(d)])]


def _whole(definition: Definition) -> bool:
    """Whether a network is complete: a template with open parameters is not."""
    try:
        return not needs(derive(definition, Evaluator()))
    except (Mistake, Poisoned):
        return True


def whole_networks(program: Program) -> list[Definition]:
    """The networks of a program's file that are complete: no templates."""
    return [definition for definition in own_networks(program) if _whole(definition)]


def own_networks(program: Program) -> list[Definition]:
    """The networks that stand in a program's own file, templates among them."""
    return list(program.entry.own((s.Network, s.Variant)))


@contextlib.contextmanager
def collecting(findings: list[Diagnostic]) -> Iterator[None]:
    """Add the mistakes that come up to the findings, and go on."""
    try:
        yield
    except CompileError as error:
        findings += error.diagnostics


def raise_findings(findings: Iterable[Diagnostic], checked: Source | None = None) -> None:
    """Raise CompileError when there are any; those of the checked text come first."""
    once = distinct(findings, checked)
    if once:
        raise CompileError(once)


def distinct(findings: Iterable[Diagnostic], checked: Source | None = None) -> list[Diagnostic]:
    """Each finding once, though a template may be elaborated many times; in source order, those of
    the checked text before those of other files."""
    by_place = {(d.code, d.primary.span): d for d in reversed(list(findings))}

    def order(found: Diagnostic) -> tuple[bool, str, int]:
        span = found.primary.span
        return span.source != checked, span.source.name, span.start

    return sorted(by_place.values(), key=order)


def derived_network(
    evaluate: Evaluator,
    definition: Definition,
    settings: Mapping[str, str] | None = None,
    *,
    keywords: Collection[str] = (),
    template_fits: bool = False,
) -> Derived:
    """The network a definition stands for, with settings from outside, of which `keywords` are
    keyword arguments of a call in Python. Raises CompileError, also for one with open parameters,
    unless `template_fits`."""
    try:
        derived = derive(definition, evaluate)
        for name, text in (settings or {}).items():
            place = KEYWORDS if name in keywords else OPTION
            source = Source(place, f"{name}={text}")
            expr = parse_expression(source, len(name) + 1)
            value = evaluate(expr, Env(definition.home))
            derived.override(name, value, Span(source, 0, len(name)), expr.span)
            derived.rebound = True
        if not template_fits:
            require_bound(derived)
    except Mistake as mistake:
        raise CompileError(mistake.diagnostic) from None
    except Poisoned:
        raise CompileError(()) from None  # it reads what has been reported as broken
    return derived


def wrong_labels(graph: Graph | None, sections: Sections, name: str | None) -> list[Diagnostic]:
    """What is wrong with the labels that a deployment of this name holds."""
    labels = sections.labels.get(name or "", ())
    if graph is None or not labels:
        return []
    from resnetc.passes.deployed import mislabelled

    return mislabelled(graph, labels)


@contextlib.contextmanager
def collector_paused() -> Iterator[None]:
    """No garbage collection meanwhile: a compilation makes many objects, and nearly all stay, so
    that looking for others among them takes a third of its time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
