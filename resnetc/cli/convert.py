"""`resnetc convert`: weights that exist, for a network that exists."""

from __future__ import annotations

import json
from pathlib import Path

import click

from resnetc.cli.arguments import json_option, load_network, set_option
from resnetc.diagnostics import UsageError


@click.command()
@click.argument("weights", metavar="WEIGHTS", type=click.Path(path_type=Path))
@click.option("--to", "network", metavar="NETWORK", required=True, help="Whose names they get.")
@set_option
@click.option("-o", "--out", type=click.Path(path_type=Path), help=".safetensors, .pth or .pt.")
@click.option(
    "--rename",
    "renames",
    metavar="OLD=NEW",
    multiple=True,
    help="Rename parts of the weights' paths, in order; `*` is some of a part: "
    "--rename shortcut=downsample --rename 'stage*=layer*'.",
)
@click.option(
    "--by-order",
    is_flag=True,
    help="Let what no name fits go by the order in which it stands, of equal shapes.",
)
@click.option("--drop-head", is_flag=True, help="Give the last layer fresh parameters.")
@click.option("--seed", default=0, show_default=True, help="Of the fresh parameters.")
@json_option
def convert(
    weights: Path,
    network: str,
    settings: tuple[str, ...],
    out: Path | None,
    renames: tuple[str, ...],
    by_order: bool,
    drop_head: bool,
    seed: int,
    as_json: bool,
) -> None:
    """Say whether WEIGHTS fit a network, and write them by its names.

    WEIGHTS is a .safetensors file, a .pth of torch's, torchvision's or timm's, or the folder of a
    run or checkpoint. What does not fit is listed with the renames that would make it fit;
    nothing is written then, and the exit code is 2.
    """
    from resnetc.backends.conversion import Rename, describe, write_converted
    from resnetc.backends.conversion import convert as fit
    from resnetc.backends.weights import read_weights

    if out is not None and out.suffix not in (".safetensors", ".pth", ".pt"):
        raise UsageError(f"{out}: weights are written to .safetensors, .pth or .pt")
    if by_order and weights.suffix not in (".pth", ".pt"):
        raise UsageError("--by-order is for .pth and .pt: other files have their arrays by name")
    patterns = [Rename.parse(text) for text in renames]
    net = load_network(network, settings)
    held = read_weights(weights)
    found = fit(net.graph, held, patterns, drop_head=drop_head, by_order=by_order)
    if as_json:
        click.echo(json.dumps(found.to_json(), indent=2))
    if not found.fits:
        raise UsageError(describe(found))
    if not as_json:
        fresh = f"; fresh from seed {seed}: {', '.join(found.fresh)}" if found.fresh else ""
        click.echo(f"{len(found.sources):,} arrays fit {net.name}{fresh}")
    if out is not None:
        write_converted(out, found.arrays(seed))
        click.echo(f"wrote {out}", err=True)
