"""TensorRT's builder on the command line, and `resnetc refit`: an engine with other weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from resnetc.cli.arguments import load_trained, network_argument, outputs_option, set_option
from resnetc.diagnostics import UsageError

if TYPE_CHECKING:
    from resnetc.backends.tensorrt import EngineSettings

_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
_BUILDERS = ("timing_cache", "hardware", "version_compatible", "refit", "strip")
_FLAGS = (*_BUILDERS, "optimization_level", "workspace")


def _bytes(ctx: click.Context, param: click.Parameter, text: str | None) -> int | None:
    """`512M`, `2G`, or plain bytes."""
    if text is None:
        return None
    number, unit = (text[:-1], text[-1].upper()) if text[-1:].isalpha() else (text, "")
    if not number.isdecimal() or int(number) < 1 or (unit and unit not in _UNITS):
        raise click.BadParameter(f"`{text}` is no size such as 512M or 2G")
    return int(number) * _UNITS.get(unit, 1)


def engine_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """All flags of TensorRT, of which :func:`take_engine` takes those for the builder."""
    flags = [
        click.option(
            "--library",
            type=click.Choice(["tensorrt", "tensorrt_rtx"]),
            help="TensorRT library; by default what is installed and can build here.",
        ),
        click.option(
            "--capability",
            "capabilities",
            multiple=True,
            metavar="X.Y",
            help="Compute capability to build for, with tensorrt_rtx; any number of times.",
        ),
        click.option(
            "--tf32", is_flag=True, help="Let TensorRT compute fp32 convolutions in TF32."
        ),
        click.option(
            "--timing-cache",
            type=click.Path(path_type=Path, dir_okay=False),
            metavar="FILE",
            help="Tactics that TensorRT has timed: read where it exists, written afterwards.",
        ),
        click.option(
            "--hardware-compatible",
            "hardware",
            type=click.Choice(["ampere+", "same"]),
            help="An engine for every GPU from Ampere on, or of the same compute capability.",
        ),
        click.option(
            "--version-compatible", is_flag=True, help="An engine for later TensorRT versions too."
        ),
        click.option("--refit", is_flag=True, help="An engine whose weights can be exchanged."),
        click.option(
            "--strip-weights",
            "strip",
            is_flag=True,
            help="An engine without weights, for `resnetc refit` to put in.",
        ),
        click.option(
            "--optimization-level",
            type=click.IntRange(0, 5),
            help="How hard TensorRT tries: 0 is fast to build, 5 slow; 3 by default.",
        ),
        click.option(
            "--workspace",
            callback=_bytes,
            metavar="SIZE",
            help="Scratch memory that a layer may use on the GPU, as 512M or 2G.",
        ),
        click.option(
            "--layers", is_flag=True, help="Write what became of every layer of an engine."
        ),
        click.option("--progress", is_flag=True, help="Say what TensorRT's builder is doing."),
    ]
    for flag in reversed(flags):
        command = flag(command)
    return command


def take_engine(options: dict[str, Any], targets: Sequence[str]) -> EngineSettings | None:
    """Take the builder's flags out of an export's options. Raises UsageError for those that have
    no effect."""
    chosen = {name: options.pop(name) for name in _FLAGS}
    shown = options.pop("progress")
    given = [name for name, value in chosen.items() if value is not None and value is not False]
    given += ["layers"] if options["layers"] else []
    if "tensorrt" not in targets:
        if given:
            flags = ", ".join(_spelt(name) for name in given)
            raise UsageError(f"{flags} would have no effect without --to tensorrt")
        return None
    from resnetc.backends.tensorrt import EngineSettings

    return EngineSettings(**chosen, progress=_Telling() if shown else None)


def _spelt(name: str) -> str:
    flags = {"hardware": "hardware-compatible", "strip": "strip-weights"}
    return f"--{flags.get(name, name).replace('_', '-')}"


class _Telling:
    """Says on stderr each phase of the builder that is not part of another one's, once it begins,
    and those inside it by their depth."""

    def __init__(self) -> None:
        self._depth: dict[str, int] = {}

    def __call__(self, phase: str, parent: str | None, done: int, steps: int) -> None:
        if done == 0 and phase not in self._depth:
            self._depth[phase] = 0 if parent is None else self._depth.get(parent, 0) + 1
            if self._depth[phase] < 3:
                click.echo(f"{'  ' * self._depth[phase]}{phase} ({steps} steps)", err=True)


@click.command()
@network_argument
@click.argument("engine", type=click.Path(path_type=Path))
@set_option
@outputs_option
@click.option(
    "--weights", required=True, metavar="FILE|FOLDER", help="Weights to put in, as of `export`."
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write another engine, and leave this one.",
)
def refit(
    network: str,
    engine: Path,
    settings: tuple[str, ...],
    outputs: tuple[str, ...] | None,
    weights: str,
    out: Path | None,
) -> None:
    """Put weights into ENGINE, a TensorRT engine of NETWORK.

    It must have been exported with --refit or --strip-weights; nothing is built again. This needs
    the GPU.
    """
    from resnetc.backends.tensorrt.refit import refit_engine
    from resnetc.backends.weights import read_weights

    net = load_trained(network, settings, weights, outputs)
    path = refit_engine(net.graph, engine, read_weights(Path(weights)), out)
    click.echo(f"{path}  the weights are those of {weights}")
