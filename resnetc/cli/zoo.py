"""`resnetc list` and `resnetc new`: what ships, and a start of one's own."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path

import click

from resnetc import resources, zoo
from resnetc.analysis import cost
from resnetc.atomic import write_text
from resnetc.checking import check_file
from resnetc.cli.arguments import json_option
from resnetc.diagnostics import UsageError


@click.command("list")
@click.argument("word", default="")
@click.option("--costs", is_flag=True, help="Compile the networks and show their size.")
@json_option
def list_networks(word: str, costs: bool, as_json: bool) -> None:
    """List the networks of the shipped zoo, or those with WORD in their name or their file's."""
    by_file: dict[Path, list[str]] = {}
    for name, path in zoo.networks().items():
        if word in name or word in path.stem:
            by_file.setdefault(path, []).append(name)
    if not by_file:
        raise UsageError(f"no network of the zoo has `{word}` in its name")
    if as_json:
        click.echo(json.dumps({f"specs/{p.name}": names for p, names in by_file.items()}, indent=2))
        return
    for path, names in by_file.items():
        click.secho(f"specs/{path.name}", bold=True)
        if costs:
            _print_costs(path, names)
        else:
            click.echo(_wrapped("  ".join(names)))


def _wrapped(text: str) -> str:
    """The text in lines of at most 100 columns, indented."""
    indent = "  "
    return textwrap.fill(text, 100, initial_indent=indent, subsequent_indent=indent)


def _print_costs(path: Path, names: list[str]) -> None:
    width = max(map(len, names))
    for name in names:
        report = check_file(f"{path}:{name}")
        if name in report.templates:
            click.echo(f"  {name:<{width}} template")
        for graph in report.networks.values():
            total = cost(graph)
            size = f"{total.params:>12,} parameters {total.macs / 1e9:>9.3f} GMAC"
            click.echo(f"  {name:<{width}} {size}")


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
