"""`resnetc reproduce`: tables and figures of the paper, made again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from resnetc.cli.arguments import json_option, layout_option, told
from resnetc.diagnostics import UsageError
from resnetc.reproduce.page import Report, write

COUNTED = ("table1", "claims")
TRAINED = ("fig1", "fig6", "table6", "table3-small", "fig7")


def _numbers(
    ctx: click.Context, param: click.Parameter, text: str | None
) -> tuple[int, ...] | None:
    try:
        return None if text is None else tuple(sorted({int(part) for part in text.split(",")}))
    except ValueError:
        raise click.BadParameter(f"`{text}` is not a list of numbers, such as 20,56") from None


@click.command()
@click.argument("studies", metavar="STUDY...", nargs=-1, required=True)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("reproduce"),
    show_default=True,
    help="Where pages and JSON go.",
)
@click.option("--budget", type=float, metavar="MINUTES", help="Time for all training together.")
@click.option("--iterations", type=int, help="Of each run.  [what the budget allows]")
@click.option(
    "--data", metavar="NAME[:PATH]", default="cifar10", show_default=True, help="Data set."
)
@click.option("--depths", callback=_numbers, metavar="N,...", help="Depths.  [the paper's]")
@click.option(
    "--seeds", callback=_numbers, metavar="N,...", default="0", show_default=True, help="Seeds."
)
@click.option(
    "--runs",
    type=click.Path(path_type=Path),
    default=Path("runs/reproduce"),
    show_default=True,
    help="Where the runs lie, to be gone on with.",
)
@click.option("--batch", type=int, help="Images per step.  [the recipe's]")
@click.option(
    "--precision", type=click.Choice(["fp32", "bf16"]), help="fp32, or bf16 under autocast."
)
@layout_option
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option("--threads", type=int, help="CPU threads that compute.")
@json_option
def reproduce(studies: tuple[str, ...], out: Path, as_json: bool, **asked: Any) -> None:
    """Make tables and figures of the paper again, as one page and one JSON file each.

    table1 and claims count, and train nothing. fig1, fig6, table6, table3-small and fig7 train
    what they need, by the paper's recipe and within --budget minutes or for --iterations each;
    runs that several of them need are made once. Runs that are there already are taken, and one
    that was stopped is gone on with: give the same command again. Without a budget and iterations
    nothing is trained, and what is not there is "not run". `all` stands for all of them.
    """
    wanted = _chosen(studies)
    for report in _reports(wanted, asked):
        page, numbers = write(report, out)
        _show(report, page, numbers, as_json)


def _chosen(studies: tuple[str, ...]) -> tuple[str, ...]:
    known = (*COUNTED, *TRAINED)
    for study in studies:
        if study not in (*known, "all"):
            raise UsageError(f"there is no study `{study}`; there are {', '.join(known)} and all")
    return known if "all" in studies else tuple(dict.fromkeys(studies))


def _reports(wanted: tuple[str, ...], asked: dict[str, Any]) -> list[Report]:
    from resnetc.reproduce import counts

    counted = {"table1": counts.table1, "claims": counts.claims}
    reports = [counted[study]() for study in wanted if study in counted]
    trained = tuple(study for study in wanted if study in TRAINED)
    if trained:
        from resnetc.reproduce.cells import Request
        from resnetc.reproduce.studies import run

        reports += run(trained, Request(**told(asked)), lambda text: click.echo(text, err=True))
    return reports


def _show(report: Report, page: Path, numbers: Path, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(report.to_json()))
        return
    click.echo(f"{report.title}\n  {report.headline}")
    for finding in report.findings:
        click.echo(f"  {finding}")
    click.echo(f"  {page}\n  {numbers}")
