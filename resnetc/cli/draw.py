"""`resnetc draw`: a network as the paper's Figure 3 draws it."""

from __future__ import annotations

from pathlib import Path

import click

from resnetc.atomic import write_text
from resnetc.cli.arguments import load_network, network_argument, set_option
from resnetc.drawing import draw as draw_graph


@click.command()
@network_argument
@set_option
@click.option(
    "-o", "--output", metavar="FILE", help="Write the picture here instead of standard output."
)
@click.option(
    "--expand/--collapse",
    default=None,
    help="Draw every block, or equal blocks one behind the other only once. Without either, deep "
    "networks are collapsed.",
)
def draw(network: str, settings: tuple[str, ...], output: str | None, expand: bool | None) -> None:
    """Draw a network as an SVG: layers as boxes, colours by the size of the map, shortcuts as
    arcs, dotted where they project, and beside them what each part puts out and costs."""
    text = draw_graph(load_network(network, settings).graph, expand=expand)
    if output is None:
        click.echo(text, nl=False)
        return
    write_text(Path(output), text)
    click.echo(f"wrote {output}", err=True)
