"""What a file's definitions stand for: which network is meant, and with which settings."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterable, Iterator, Mapping

from resnetc.diagnostics import CompileError, Diagnostic, Source
from resnetc.ir import Graph
from resnetc.lang import syntax as s
from resnetc.lang.elaborate import Elaborator, WrongFactsError
from resnetc.lang.evaluate import Env, Evaluator
from resnetc.lang.mistake import Mistake, Poisoned
from resnetc.lang.modules import Definition, Program
from resnetc.lang.parser import parse_expression
from resnetc.lang.record import CheckedNetwork
from resnetc.lang.sections import Sections, network_of
from resnetc.lang.variants import Derived, derive, needs, require_bound
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


def raise_findings(findings: Iterable[Diagnostic]) -> None:
    """Raise CompileError when there are any."""
    once = distinct(findings)
    if once:
        raise CompileError(once)


def distinct(findings: Iterable[Diagnostic]) -> list[Diagnostic]:
    """Each finding once, though a template may be elaborated many times; in source order."""
    by_place = {(d.code, d.primary.span): d for d in reversed(list(findings))}
    return sorted(
        by_place.values(), key=lambda d: (d.primary.span.source.name, d.primary.span.start)
    )


def derived_network(
    evaluate: Evaluator,
    definition: Definition,
    settings: Mapping[str, str] | None = None,
    *,
    template_fits: bool = False,
) -> Derived:
    """The network a definition stands for, with settings from outside. Raises CompileError, also
    for one with open parameters, unless `template_fits`."""
    try:
        derived = derive(definition, evaluate)
        for name, text in (settings or {}).items():
            source = Source(f"--set {name}", text)
            expr = parse_expression(source)
            value = evaluate(expr, Env(definition.home))
            derived.override(name, value, expr.span, expr.span)
            derived.rebound = True
        if not template_fits:
            require_bound(derived)
    except Mistake as mistake:
        raise CompileError(mistake.diagnostic) from None
    except Poisoned:
        raise CompileError(()) from None  # it reads what has been reported as broken
    return derived


def elaborated(elaborator: Elaborator, findings: list[Diagnostic]) -> CheckedNetwork:
    """The elaborated network; what is wrong only in what it says of itself becomes a finding.
    Raises CompileError where the network is not whole."""
    try:
        return elaborator.run()
    except WrongFactsError as error:
        findings += error.diagnostics
        return error.network


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
