"""`resnetc lift`: the source of a network that exists as an ONNX file."""

from __future__ import annotations

from pathlib import Path

import click

from resnetc.atomic import write_text
from resnetc.diagnostics import UsageError


def _shape(ctx: click.Context, param: click.Parameter, text: str | None) -> tuple[int, ...] | None:
    """`3x224x224`."""
    if text is None:
        return None
    parts = text.split("x")
    if len(parts) != 3 or not all(part.isdecimal() and int(part) for part in parts):
        raise click.BadParameter(f"`{text}` is not CxHxW, such as 3x224x224")
    return tuple(map(int, parts))


@click.command()
@click.argument("model", metavar="MODEL.onnx", type=click.Path(path_type=Path))
@click.option("-o", "--out", type=click.Path(path_type=Path), help="Write here, not to stdout.")
@click.option(
    "--weights",
    metavar="FILE.safetensors",
    type=click.Path(path_type=Path),
    help="Write the model's weights too, by the names that the source gives them.",
)
@click.option(
    "--input",
    "shape",
    metavar="CxHxW",
    callback=_shape,
    help="The input's shape, where the file leaves it open.",
)
@click.option("--name", metavar="NAME", help="What the network is called.  [the file's name]")
def lift(
    model: Path,
    out: Path | None,
    weights: Path | None,
    shape: tuple[int, ...] | None,
    name: str | None,
) -> None:
    """Write the source of the network in MODEL.onnx.

    Repeated blocks, stages and shortcuts are recognised, and parameters keep the file's names. The
    source is compiled and compared with the model, node by node, before anything is written. A
    model that the language cannot express is refused with exit code 3, and the node is named.
    """
    from resnetc.backends.weights import write_weights
    from resnetc.lift import lift as read

    if weights is not None and weights.suffix != ".safetensors":
        raise UsageError(f"--weights {weights}: weights are written to a .safetensors file")
    lifted = read(model, shape=shape, name=name)
    if weights is not None:
        write_weights(weights, lifted.arrays)
    if out is None:
        click.echo(lifted.text, nl=False)
    else:
        write_text(out, lifted.text)
    written = ", ".join(str(path) for path in (out, weights) if path is not None)
    said = f"{lifted.name}: {len(lifted.graph):,} layers, {len(lifted.arrays):,} arrays"
    click.echo(f"{said}; wrote {written}" if written else said, err=True)
