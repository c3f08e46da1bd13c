"""`resnetc check`: everything that can be wrong in a spec, before a tensor exists."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from resnetc.checking import FileReport, check_file
from resnetc.cli import mend
from resnetc.cli.arguments import json_option, specs_below
from resnetc.cli.findings import show_findings
from resnetc.diagnostics import CheckError, CompileError, UsageError
from resnetc.zoo import find, networks

if TYPE_CHECKING:
    from resnetc.analysis.paper import PaperReport


@click.command()
@click.argument("specs", nargs=-1, required=True, metavar="SPEC...")
@click.option("--fix", is_flag=True, help="Make the edits that surely mend what is found.")
@click.option("--diff", is_flag=True, help="Show what --fix would change; change nothing.")
@click.option("--strict", is_flag=True, help="Warnings fail the check, with exit code 5.")
@click.option(
    "--paper", is_flag=True, help="Hold networks that claim to be the paper's against it."
)
@json_option
def check(
    specs: tuple[str, ...], fix: bool, diff: bool, strict: bool, paper: bool, as_json: bool
) -> None:
    """Check spec files, all those in a folder, or single networks (FILE:NETWORK, or a name of the
    zoo).

    Every mistake in a file is reported, and in a file without mistakes what looks like one. Exit
    code 3 when there is a mistake; 5 with --paper when a network differs from the paper's and no
    known deviation explains it, and with --strict when there is a warning.
    """
    specs = tuple(spec for given in specs for spec in _specs(given))
    if diff and as_json:
        raise UsageError("--diff prints no JSON; the edits are in what --json prints")
    if fix or diff:
        reports = {spec: _mended(spec, show=not as_json, write=not diff) for spec in specs}
    else:
        reports = {spec: _checked(spec) for spec in specs}
    papers = {spec: _against_paper(report) for spec, report in reports.items()} if paper else {}
    if as_json:
        summary = [_to_json(spec, report, papers.get(spec, [])) for spec, report in reports.items()]
        click.echo(json.dumps(summary, indent=2))
    else:
        for spec, report in reports.items():
            _print_summary(spec, report)
            _print_papers(papers.get(spec, []))
    _conclude(list(reports.values()), strict=strict, quiet=as_json)
    if paper:
        _conclude_paper([comparison for found in papers.values() for comparison in found])


def _specs(given: str) -> list[str]:
    """What a folder stands for: the files in it. A name of the zoo is no folder."""
    folder = Path(given)
    if given in networks() or not folder.is_dir():
        return [given]
    found = [str(path) for path in specs_below(folder)]
    if not found:
        raise UsageError(f"{given}: there is no .rnet file in this folder")
    return found


def _checked(spec: str) -> FileReport:
    try:
        return check_file(spec)
    except CompileError as error:
        return FileReport({}, {}, (), (), (), (), error.diagnostics)


def _mended(spec: str, *, show: bool, write: bool) -> FileReport:
    """Mend a file and say how, or only show the difference; returns what is left to report."""
    found = find(spec)
    if not Path(found.shown).exists():
        raise UsageError(f"{spec}: only a file of your own is mended, not one of the zoo")
    mended = mend.mend(found.path, found.shown)
    if not write:
        click.echo(mended.diff(), nl=False)
    elif mended.made:
        mend.write(mended, found.path)
        for line in mend.summary(mended.made) if show else ():
            click.echo(line)
    return mended.report


def _conclude(reports: list[FileReport], *, strict: bool, quiet: bool) -> None:
    """Show what was found on standard error, and leave where it is a failure."""
    findings = [finding for report in reports for finding in report.findings]
    warnings = [warning for report in reports for warning in report.warnings]
    if not quiet:
        show_findings(warnings)
    if findings and not quiet:
        raise CompileError(findings)
    if findings:
        click.get_current_context().exit(CompileError.exit_code)
    if warnings and strict:
        raise CheckError(f"{len(warnings)} warning{'' if len(warnings) == 1 else 's'}")


def _conclude_paper(claims: list[PaperReport]) -> None:
    if not claims:
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
        (len(report.experiments), "experiment"),
        (len(report.deploys), "deployment"),
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
        "experiments": list(report.experiments),
        "deploys": list(report.deploys),
        "findings": [finding.to_json() for finding in report.findings],
        "warnings": [warning.to_json() for warning in report.warnings],
        "paper": [comparison.to_json() for comparison in papers],
    }
