"""`resnetc check`: everything that can be wrong in a spec, before a tensor exists."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from resnetc.cli.arguments import json_option
from resnetc.diagnostics import CheckError, CompileError, UsageError
from resnetc.driver import FileReport, check_file

if TYPE_CHECKING:
    from resnetc.analysis.paper import PaperReport


@click.command()
@click.argument("specs", nargs=-1, required=True, metavar="SPEC...")
@click.option(
    "--paper", is_flag=True, help="Hold networks that claim to be the paper's against it."
)
@json_option
def check(specs: tuple[str, ...], paper: bool, as_json: bool) -> None:
    """Check spec files, or single networks (FILE:NETWORK, or a name of the zoo).

    Every mistake in a file is reported. Exit code 3 when there is one; with --paper, 5 when a
    network differs from the paper's and no known deviation explains it.
    """
    reports = {spec: check_file(spec) for spec in specs}
    papers = {spec: _against_paper(report) for spec, report in reports.items()} if paper else {}
    if as_json:
        summary = [_to_json(spec, report, papers.get(spec, [])) for spec, report in reports.items()]
        click.echo(json.dumps(summary, indent=2))
    findings = [finding for report in reports.values() for finding in report.findings]
    if not as_json:
        for spec, report in reports.items():
            _print_summary(spec, report)
            _print_papers(papers.get(spec, []))
    if findings and not as_json:
        raise CompileError(findings)
    if findings:
        click.get_current_context().exit(CompileError.exit_code)
    claims = [comparison for found in papers.values() for comparison in found]
    if paper and not claims:
        raise UsageError("no network here claims to be the paper's (`meta { paper = ... }`)")
    broken = [comparison.network for comparison in claims if not comparison.holds]
    if broken:
        raise CheckError(f"not as in the paper, and unexplained: {', '.join(broken)}")


def _against_paper(report: FileReport) -> list[PaperReport]:
    from resnetc.analysis.paper import check_paper

    claims = {name: facts.get("paper") for name, facts in report.meta.items()}
    return [
        check_paper(report.networks[name], claim)
        for name, claim in claims.items()
        if isinstance(claim, str)
    ]


def _print_papers(comparisons: list[PaperReport]) -> None:
    for comparison in comparisons:
        from resnetc.analysis.paper import render

        click.echo("\n" + render(comparison))


def _print_summary(spec: str, report: FileReport) -> None:
    if report.findings:
        return
    counts = [
        (len(report.networks), "network"),
        (len(report.templates), "template"),
        (len(report.recipes), "recipe"),
    ]
    found = ", ".join(f"{n} {noun}{'' if n == 1 else 's'}" for n, noun in counts if n)
    click.echo(f"{spec}: fine ({found or 'no network'})")


def _to_json(spec: str, report: FileReport, papers: list[PaperReport]) -> dict[str, Any]:
    return {
        "spec": spec,
        "networks": {
            name: {"nodes": len(graph), "hash": graph.hash}
            for name, graph in report.networks.items()
        },
        "templates": list(report.templates),
        "recipes": list(report.recipes),
        "findings": [finding.to_json() for finding in report.findings],
        "paper": [comparison.to_json() for comparison in papers],
    }
