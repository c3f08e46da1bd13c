"""`resnetc predict`: what a trained network takes images for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from resnetc.cli.arguments import json_option, load_trained, network_argument, run_alone, set_option

if TYPE_CHECKING:
    from resnetc.train.predicting import Prediction


@click.command()
@network_argument
@click.argument(
    "images", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="IMAGE..."
)
@set_option
@click.option(
    "--weights",
    type=click.Path(path_type=Path),
    help="A run's folder, a checkpoint's, a .safetensors, .pth, .onnx or .engine file.",
)
@click.option(
    "--data",
    metavar="NAME[:PATH]",
    help="The set that names the classes and gives the mean, where the weights are of no run.",
)
@click.option("--recipe", metavar="NAME", help="Whose evaluation transforms to use.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option(
    "--top", type=click.IntRange(min=1), default=5, show_default=True, help="Classes shown."
)
@json_option
def predict(
    network: str,
    images: tuple[Path, ...],
    settings: tuple[str, ...],
    weights: Path | None,
    as_json: bool,
    top: int,
    **asked: Any,
) -> None:
    """Say what NETWORK takes each IMAGE for: the likeliest classes and their probabilities.

    NETWORK alone may be the folder of a run: its network and its weights. Images are seen as in an
    evaluation. Weights of a run bring the classes' names, the mean and the transforms with them. An
    image that cannot be read is named and the others go on; the exit code is then 1.
    """
    if weights is None:
        net, weights = run_alone(network, settings), Path(network)
    else:
        net = load_trained(network, settings, str(weights))
    from resnetc.train import EvaluateOptions
    from resnetc.train.predicting import predict as run

    found = run(net, weights, images, EvaluateOptions(**asked), top)
    if as_json:
        click.echo(json.dumps([each.to_json() for each in found], indent=2))
    else:
        _show(found)
    if any(each.trouble for each in found):
        click.get_current_context().exit(1)


def _show(found: list[Prediction]) -> None:
    for each in found:
        if each.trouble:
            click.echo(f"error: {each.trouble}", err=True)
            continue
        click.echo(f"{each.image}")
        for name, probability in each.classes:
            click.echo(f"  {probability:7.2%}  {name}")
