"""`resnetc diff`: what changed between two networks."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

import click

from resnetc.analysis.difference import (
    Change,
    Difference,
    Group,
    difference,
    paths_text,
)
from resnetc.checking import check_file
from resnetc.cli.arguments import json_option, load_network, set_option
from resnetc.diagnostics import CompileError
from resnetc.ir import Graph
from resnetc.zoo import find

_SIGNS = {"added": "+", "removed": "-", "changed": "~", "rewired": "~"}
_COLOURS = {"added": "green", "removed": "red", "changed": "yellow", "rewired": "yellow"}


@click.command()
@click.argument("before", metavar="BEFORE")
@click.argument("after", metavar="AFTER")
@set_option
@json_option
def diff(before: str, after: str, settings: tuple[str, ...], as_json: bool) -> None:
    """Say what changed between two networks, block by block, and what it costs.

    BEFORE and AFTER are networks, or two files whose networks are compared by name. --set binds
    parameters of AFTER. Exit code 0 when they are the same, 1 when they differ.
    """
    olds = _networks(before, ())
    news = _networks(after, settings)
    if len(olds) == 1 and len(news) == 1:
        olds = dict.fromkeys(news, next(iter(olds.values())))
    shared = [name for name in olds if name in news]
    found = {name: difference(olds[name], news[name]) for name in shared}
    lone = {
        "removed": [n for n in olds if n not in news],
        "added": [n for n in news if n not in olds],
    }
    if as_json:
        compared = [comparison.to_json() for comparison in found.values()]
        click.echo(json.dumps({**lone, "compared": compared}, indent=2, ensure_ascii=False))
    else:
        click.echo("\n".join(_report(found, lone)))
    if any(lone.values()) or not all(comparison.same for comparison in found.values()):
        click.get_current_context().exit(1)


def _networks(reference: str, settings: tuple[str, ...]) -> Mapping[str, Graph]:
    """The networks that a reference means: one, or all of a file that has several."""
    if settings or find(reference).network is not None:
        network = load_network(reference, settings)
        return {network.name: network.graph}
    report = check_file(reference)
    if report.findings:
        raise CompileError(report.findings)
    return report.networks or {(one := load_network(reference)).name: one.graph}


def _report(found: Mapping[str, Difference], lone: Mapping[str, list[str]]) -> Iterator[str]:
    for kind, names in lone.items():
        yield from (f"{_SIGNS[kind]} network {name}" for name in names)
    same = [name for name, comparison in found.items() if comparison.same]
    for comparison in found.values():
        if not comparison.same:
            yield from _differing(comparison)
    if len(same) == len(found) == 1 and not any(lone.values()):
        yield f"{' and '.join(next(iter(found.values())).names)} are the same"
    elif same:
        yield f"the same: {', '.join(same)}"


def _differing(comparison: Difference) -> Iterator[str]:
    before, after = comparison.names
    yield f"{before} -> {after}" if before != after else before
    for group in comparison.groups:
        yield ""
        yield from _group(group)
    yield ""
    yield from _totals(comparison)
    yield ""


def _group(group: Group) -> Iterator[str]:
    site = group.like
    where = paths_text([site.path or "the network" for site in group.sites])
    block = f" ({site.block})" if site.block else ""
    each = " each" if len(group.sites) > 1 else ""
    cost = _cost_text(site.params, site.macs)
    yield click.style(where, bold=True) + block + (f": {cost}{each}" if cost else "")
    width = max(len(change.label) for change in site.causes)
    for change in site.causes:
        line = f"{_SIGNS[change.kind]} {change.label.ljust(width)}  {_change_text(change)}"
        yield click.style(f"  {line}".rstrip(), fg=_COLOURS[change.kind])
    if site.followers:
        yield f"  . on other sizes: {', '.join(site.followers)}"


def _change_text(change: Change) -> str:
    what = ", ".join(change.what)
    parts = [] if what == change.label.replace("_", " ") else [what]
    if change.count > 1:
        parts = [f"{what}, {change.count} of them"]
    cost = _cost_text(change.params, change.macs)
    return "  ".join([*parts, cost] if cost else parts)


def _cost_text(params: int, macs: int) -> str:
    counts = [(params, "parameters"), (macs, "MACs")]
    return ", ".join(f"{count:+,} {noun}" for count, noun in counts if count)


def _totals(comparison: Difference) -> Iterator[str]:
    before, after = comparison.costs
    names = comparison.names
    rows = [("", *(names if len(set(names)) == 2 else ("before", "after")), "difference")]
    figures = {
        "parameters": "params",
        "MACs": "macs",
        "activations": "activations",
        "memory, bytes": "peak_inference_bytes",
    }
    for noun, field in figures.items():
        was, now = getattr(before, field), getattr(after, field)
        rows.append((noun, f"{was:,}", f"{now:,}", f"{now - was:+,}" if now != was else "0"))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for noun, *cells in rows:
        padded = [cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=True)]
        yield "  ".join([noun.ljust(widths[0]), *padded])
