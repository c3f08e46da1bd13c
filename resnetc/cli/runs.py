"""`resnetc runs list|show|compare`: what was trained, and how it came out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import click

from resnetc.cli.arguments import json_option
from resnetc.history import RUNS, Run, differences, find_run, list_runs, settings

_LONG = 60
"""Characters of a setting that are shown to a reader."""

_under = click.option(
    "--runs",
    "root",
    type=click.Path(path_type=Path),
    default=RUNS,
    show_default=True,
    help="The folder under which runs lie.",
)


@click.group()
def runs() -> None:
    """List, show and compare runs of `resnetc train`."""


@runs.command(name="list")
@_under
@json_option
def list_command(root: Path, as_json: bool) -> None:
    """List the runs under a folder: their state, and the errors of their last and best weights.

    A run is "finished", or "diverged", "failed" or "interrupted" at an iteration. One that is
    "unfinished" or "begun" was killed, unless it is being trained right now; all but those that
    diverged are gone on with by --resume.
    """
    found = list_runs(root)
    if as_json:
        click.echo(json.dumps([run.to_json() for run in found], indent=2))
    elif not found:
        click.echo(f"no runs under {root}", err=True)
    else:
        head = ("run", "network", "data", "seed", "state", "iterations", "error", "best")
        _print([head, *map(_row, found)])
        for run in found:
            if run.trouble:
                click.echo(f"warning: {run.trouble}", err=True)


@runs.command()
@click.argument("run", metavar="RUN")
@_under
@json_option
def show(run: str, root: Path, as_json: bool) -> None:
    """Show one run: how it stands, and every setting.

    RUN is a run's folder, or the end of its path: NETWORK/ID, or ID.
    """
    found = find_run(run, root)
    if as_json:
        click.echo(json.dumps({**found.to_json(), "settings": settings(found)}, indent=2))
        return
    pairs = [
        ("run", str(found.path)),
        ("state", f"{found.standing}, {_progress(found)} iterations"),
    ]
    pairs += [("error", _percent(found.error)), ("best error", _percent(found.best_error))]
    pairs += [("ending", found.ending)] if found.ending else []
    pairs += [("trouble", found.trouble)] if found.trouble else []
    _print([*pairs, *((name, _short(value)) for name, value in settings(found).items())])


@runs.command()
@click.argument("one", metavar="RUN")
@click.argument("two", metavar="RUN")
@_under
@json_option
def compare(one: str, two: str, root: Path, as_json: bool) -> None:
    """Compare two runs: how they came out, and the settings they do not share."""
    pair = find_run(one, root), find_run(two, root)
    differing = differences(*pair)
    if as_json:
        described = [run.to_json() for run in pair]
        click.echo(json.dumps({"runs": described, "differences": differing}, indent=2))
        return
    rows = [("", *(str(run.path) for run in pair))]
    rows.append(("state", *(f"{run.standing}, {_progress(run)}" for run in pair)))
    rows.append(("error", *(_percent(run.error) for run in pair)))
    rows.append(("best error", *(_percent(run.best_error) for run in pair)))
    rows += [(name, _short(a), _short(b)) for name, (a, b) in differing.items()]
    _print(rows)
    if not differing:
        click.echo("the same in every setting")


def _row(run: Run) -> tuple[str, ...]:
    return (
        str(run.path),
        run.network,
        run.data,
        str(run.lock.get("seed", "?")),
        run.standing,
        _progress(run),
        _percent(run.error),
        _percent(run.best_error),
    )


def _progress(run: Run) -> str:
    length = "?" if run.iterations is None else f"{run.iterations:,}"
    return length if run.state == "finished" else f"{run.step:,} of {length}"


def _percent(error: float | None) -> str:
    return "-" if error is None else f"{error:.2%}"


def _short(value: str | None) -> str:
    if value is None:
        return "-"
    return value if len(value) <= _LONG else value[: _LONG - 3] + "..."


def _print(rows: Sequence[tuple[str, ...]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo("  ".join(cells).rstrip())
