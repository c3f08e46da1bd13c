"""`resnetc train` and `resnetc eval`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from resnetc.cli.arguments import (
    json_option,
    layout_option,
    load_network,
    network_argument,
    run_alone,
    set_option,
    told,
)
from resnetc.cli.sizes import size
from resnetc.diagnostics import UsageError
from resnetc.driver import Network

if TYPE_CHECKING:
    from resnetc.train import Evaluation, TrainOptions, TrainResult

_DATA_HELP = (
    "Data set, as NAME or NAME:PATH: digits, fashion_mnist, cifar10, cifar100, imagenet, folder, "
    "synthetic."
)
_PRECISION = click.Choice(["fp32", "bf16"])
_peer_timeout_option = click.option(
    "--peer-timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=600.0,
    show_default=True,
    metavar="SECONDS",
    help="How long processes wait for one that does not come or answer.",
)
_WORST = 5
"""Classes listed by `eval` where there are more."""


@click.command()
@click.argument("network", metavar="NETWORK", required=False)
@set_option
@click.option(
    "--from",
    "lock_file",
    type=click.Path(path_type=Path),
    metavar="LOCK.JSON",
    help="Have the run of a lock file once more, in the place of NETWORK.",
)
@click.option("--data", metavar="NAME[:PATH]", help=_DATA_HELP)
@click.option("--recipe", metavar="NAME", help="A recipe of the network's file, or a preset.")
@click.option("--iterations", type=int, help="Length of the run; milestones are scaled to it.")
@click.option("--epochs", type=int, help="Length of the run, in passes over the training images.")
@click.option("--batch", type=int, help="Images per step, over all processes.")
@click.option("--lr", type=float, help="Learning rate before the first drop.")
@click.option("--precision", type=_PRECISION, help="fp32, or bf16 under autocast.")
@click.option(
    "--override",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change any field of the recipe: --override optimizer.momentum=0.8, "
    "--override schedule=[step(at=[100, 200])].",
)
@click.option("--seed", type=int, help="Decides everything random.  [the experiment's, else 0]")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option("--out", type=click.Path(path_type=Path), help="The run's folder.  [runs/NETWORK/ID]")
@click.option("--resume", is_flag=True, help="Go on from the last checkpoint, if there is one.")
@layout_option
@click.option(
    "--deterministic",
    is_flag=True,
    default=None,
    help="Bit-identical weights, also after a resume.",
)
@click.option(
    "--accumulate",
    type=int,
    metavar="N",
    help="Let each process's share of a batch through the network in N parts.  [1]",
)
@click.option(
    "--compile", is_flag=True, default=None, help="Compile the network's repeated blocks."
)
@click.option("--cuda-graph", is_flag=True, help="On a GPU, record a whole step and replay it.")
@click.option(
    "--memory-limit",
    type=size,
    help="Let a step take no more than this: parts of the network run twice to hold less.",
)
@click.option("--workers", type=int, help="Processes that read image files.")
@click.option("--threads", type=int, help="CPU threads that compute.")
@click.option("--log-every", type=int, metavar="N", help="Iterations between two readings.")
@click.option("--checkpoint-every", type=int, metavar="N", help="Iterations.  [every evaluation]")
@click.option("--keep", type=int, default=3, show_default=True, help="Checkpoints kept, and best.")
@click.option("--tensorboard", is_flag=True, help="Write the metrics for TensorBoard, too.")
@_peer_timeout_option
@click.option("--quiet", is_flag=True, help="No progress on stderr.")
@json_option
def train(
    network: str | None,
    settings: tuple[str, ...],
    lock_file: Path | None,
    as_json: bool,
    quiet: bool,
    **asked: Any,
) -> None:
    """Train NETWORK by its recipe, or an experiment by its recipe and from its seed.

    Everything goes into the run's folder: weights, checkpoints, metrics, curves, and a lock file
    with all that was decided. Ctrl-C and SIGTERM end it with a checkpoint; --resume goes on. Run
    it under torchrun or srun for several processes. --from a run's lock.json does that run once
    more.
    """
    net, options = _request(network, settings, lock_file, {**asked, "progress": not quiet})
    from resnetc.train import train as run

    result = run(net, options)
    if _leads():
        click.echo(json.dumps(result.to_json(), indent=2) if as_json else summary(result))


_DECIDED = {
    "recipe": "--recipe",
    "iterations": "--iterations",
    "epochs": "--epochs",
    "batch": "--batch",
    "lr": "--lr",
    "precision": "--precision",
    "overrides": "--override",
    "seed": "--seed",
    "channels_last": "--channels-last/--contiguous",
    "deterministic": "--deterministic",
    "accumulate": "--accumulate",
    "compile": "--compile",
}
"""What a lock file decides, and the flags that would say otherwise."""


def _request(
    network: str | None,
    settings: tuple[str, ...],
    lock_file: Path | None,
    asked: dict[str, Any],
) -> tuple[Network, TrainOptions]:
    """What is to be trained and how, by a network's name or by a lock file."""
    if lock_file is None:
        if network is None:
            raise UsageError("say what to train: NETWORK, or --from the lock.json of a run")
        net = load_network(network, settings)
        from resnetc.train import TrainOptions

        return net, TrainOptions(**seeded(net, told(asked)))
    given = [flag for name, flag in _DECIDED.items() if asked[name] not in (None, ())]
    given += ["--set"] if settings else []
    given += ["NETWORK"] if network is not None else []
    if given:
        raise UsageError(f"--from takes everything from the lock file; leave out {given[0]}")
    from resnetc.train import TrainOptions, replay

    return replay(lock_file, TrainOptions(**told(asked)))


def seeded(net: Network, asked: dict[str, Any]) -> dict[str, Any]:
    """What was asked for; without a seed it is the experiment's."""
    return {"seed": net.experiment.seed if net.experiment else 0, **asked}


def summary(result: TrainResult) -> str:
    """What a finished run comes to, for a reader."""
    lines = [
        f"{result.network.name} on {result.data}: test accuracy {result.test.top1:.2%} "
        f"(error {result.test.error:.2%}, best {result.best_error:.2%}) after "
        f"{result.iterations:,} iterations",
        f"training error {result.train_error:.2%}, {result.seconds:,.0f} s at "
        f"{result.images_per_second:,.0f} images/s",
        f"weights: {result.weights}",
        f"curves:  {result.run / 'report' / 'curves.png'}",
    ]
    if not result.real:
        lines.insert(1, "made-up images: the accuracy means nothing")
    return "\n".join(lines)


def _sides(context: click.Context, option: click.Parameter, text: str | None) -> tuple[int, ...]:
    """`224,256` as numbers."""
    try:
        sides = tuple(int(part) for part in text.split(",")) if text else ()
    except ValueError:
        sides = (0,)
    if any(side < 1 for side in sides):
        raise UsageError(f"--scales takes numbers of pixels, as 224,256, not `{text}`")
    return sides


@click.command(name="eval")
@network_argument
@set_option
@click.option(
    "--weights",
    multiple=True,
    type=click.Path(path_type=Path),
    help="A run's folder, a checkpoint's, a .safetensors, .pth, .onnx or .engine file. Given "
    "several times: the ensemble; runs bring their own networks.",
)
@click.option("--data", metavar="NAME[:PATH]", help=_DATA_HELP)
@click.option("--recipe", metavar="NAME", help="Whose evaluation transforms to use.")
@click.option("--ten-crop", is_flag=True, help="Average over corners, centre and their mirrors.")
@click.option(
    "--scales",
    metavar="N,...",
    callback=_sides,
    help="Average over whole images of these shorter sides, fully convolutionally: "
    "224,256,384,480,640 is the paper's.",
)
@click.option("--per-class", is_flag=True, help="List every class, not only the worst.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option("--precision", type=_PRECISION, default="fp32", show_default=True, help="Autocast.")
@layout_option
@click.option("--workers", type=int, default=0, help="Processes that read image files.")
@click.option("--threads", type=int, help="CPU threads that compute.")
@_peer_timeout_option
@json_option
def evaluate(
    network: str,
    settings: tuple[str, ...],
    weights: tuple[Path, ...],
    per_class: bool,
    as_json: bool,
    **asked: Any,
) -> None:
    """Judge weights of NETWORK by the test images of a data set.

    NETWORK alone may be the folder of a run: its network and its weights. Weights of a run are
    judged as the run's recipe says; --data is then the run's own set.
    Several are judged together, by the average of their probabilities. Under torchrun or srun the
    images are shared by the processes.
    """
    net = load_network(network, settings) if weights else run_alone(network, settings)
    weights = weights or (Path(network),)
    from resnetc.train import EvaluateOptions
    from resnetc.train import evaluate as judge

    result = judge(net, weights, EvaluateOptions(**told(asked)))
    said = json.dumps(result.to_json(), indent=2) if as_json else verdict(result, per_class)
    if _leads():
        click.echo(said)


def verdict(result: Evaluation, per_class: bool = False) -> str:
    """An evaluation for a reader, with the classes that do worst, or all in their order."""
    lines = [
        f"top-1 {result.top1:.2%}  top-5 {result.top5:.2%}  loss {result.loss:.4f}  "
        f"({result.images:,} images)"
    ]
    worst = sorted(result.per_class.items(), key=lambda item: item[1])[:_WORST]
    shown = result.per_class.items() if per_class else worst
    lines += [f"  {accuracy:7.2%}  {name}" for name, accuracy in shown]
    return "\n".join(lines)


def _leads() -> bool:
    """Whether this process speaks for all that were started with it."""
    from resnetc.train.launch import leads

    return leads()
