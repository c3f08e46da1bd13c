"""`resnetc list` and `resnetc new`: what ships, and a start of one's own."""

from __future__ import annotations

import json
from pathlib import Path

import click

from resnetc import resources, zoo
from resnetc.atomic import write_text
from resnetc.cli.arguments import json_option
from resnetc.diagnostics import UsageError
from resnetc.driver import check_file


@click.command("list")
@click.option("--costs", is_flag=True, help="Compile every network and show its size.")
@json_option
def list_networks(costs: bool, as_json: bool) -> None:
    """List the networks of the shipped zoo."""
    by_file: dict[Path, list[str]] = {}
    for name, path in zoo.networks().items():
        by_file.setdefault(path, []).append(name)
    if as_json:
        click.echo(json.dumps({f"specs/{p.name}": names for p, names in by_file.items()}, indent=2))
        return
    for path, names in by_file.items():
        click.secho(f"specs/{path.name}", bold=True)
        if costs:
            _print_costs(path)
        else:
            click.echo("  " + "  ".join(names))


def _print_costs(path: Path) -> None:
    from resnetc.analysis import cost

    report = check_file(path)
    for name in report.templates:
        click.echo(f"  {name:<20} template")
    for name, graph in report.networks.items():
        total = cost(graph)
        click.echo(f"  {name:<20} {total.params:>12,} parameters {total.macs / 1e9:>9.3f} GMAC")


@click.command()
@click.argument("path", type=click.Path(path_type=Path), metavar="FILE.rnet")
@click.option(
    "--from",
    "base",
    default="cifar_resnet",
    metavar="SPEC",
    help="The shipped spec to start from, by its file's name.",
)
def new(path: Path, base: str) -> None:
    """Start a spec of one's own as a copy of a shipped one."""
    if path.suffix != ".rnet":
        raise UsageError(f"{path}: a spec's name ends in .rnet")
    if path.exists():
        raise UsageError(f"{path} exists already; nothing was changed")
    source = resources.specs() / f"{base.removesuffix('.rnet')}.rnet"
    if not source.is_file():
        known = ", ".join(sorted(p.stem for p in resources.specs().glob("*.rnet")))
        raise UsageError(f"there is no shipped spec `{base}`; there are {known}")
    write_text(path, source.read_text(encoding="utf-8"))
    click.echo(f"wrote {path}; look at it with: resnetc check {path}")
