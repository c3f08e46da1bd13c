"""`resnetc build`: from a spec to its artefacts, training and measuring on the way when asked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from resnetc.atomic import write_text
from resnetc.cli.arguments import load_network, network_argument, outputs_option, told
from resnetc.cli.bench import bench
from resnetc.cli.export import export
from resnetc.cli.train import seeded, summary, train
from resnetc.diagnostics import UsageError
from resnetc.driver import Network

_SHARED = [p for p in train.params if p.name not in ("network", "lock_file", "as_json")]
_TRAINING = {param.name for param in _SHARED} - {"settings", "out"}
"""Options that mean nothing without --train."""


@click.command(params=_SHARED)
@network_argument
@outputs_option
@click.option("--train", "training", is_flag=True, help="Train by the spec's recipe first.")
@click.option("--weights", metavar="FILE|FOLDER", help="Weights to build with, instead of --train.")
@click.option(
    "--export",
    "targets",
    metavar="BACKEND[,...]",
    help="Any of onnx, tensorrt, torch.  [torch; with weights torch,onnx]",
)
@click.option(
    "--export-precision",
    "precisions",
    type=click.Choice(["fp32", "fp16", "bf16"]),
    multiple=True,
    help="Of the exports; any number of times.  [fp32]",
)
@click.option("--bench", "measuring", is_flag=True, help="Measure every backend at the end.")
@click.pass_context
def build(
    ctx: click.Context,
    /,
    network: str,
    settings: tuple[str, ...],
    outputs: tuple[str, ...] | None,
    training: bool,
    weights: str | None,
    targets: str | None,
    precisions: tuple[str, ...],
    measuring: bool,
    out: Path | None,
    **training_options: Any,
) -> None:
    """Check NETWORK, and write what can be made of it.

    With --train it is trained first, and everything goes into the run's folder; otherwise into
    build/NETWORK. The training options are those of `resnetc train`; FILE:EXPERIMENT in the place
    of NETWORK is its network, trained by its recipe and from its seed.
    """
    net = whole = load_network(network, settings)
    if outputs is not None:
        net = whole.with_outputs(outputs)
    if net.deploy is not None:
        raise UsageError("a deployment is what `resnetc export` writes; build its network")
    if training and weights:
        raise UsageError("--train makes weights and --weights brings them: give one of the two")
    if not training:
        _refuse_training_options(ctx)
    folder = out or Path("build") / net.name
    if training:
        net, folder, weights = _train(whole, out, training_options)
        net = net if outputs is None else net.with_outputs(outputs)
    write_text(folder / "report.json", json.dumps(_report(net), indent=2) + "\n")
    write_text(folder / "spec.rnet", net.source_text)
    chosen = targets or ("torch,onnx" if weights else "torch")
    codes = [
        _invoke(
            ctx, export, net, weights, targets=chosen, precision=precision, out=folder / "export"
        )
        for precision in precisions or ("fp32",)
    ]
    if measuring:
        codes.append(_invoke(ctx, bench, net, weights, out=str(folder / "bench.json")))
    click.echo(f"everything lies in {folder}")
    ctx.exit(next((code for code in codes if code), 0))


def _refuse_training_options(ctx: click.Context) -> None:
    """An option that would have no effect is a mistake."""
    spoken = click.core.ParameterSource.COMMANDLINE
    idle = [p for p in ctx.command.params if p.name in _TRAINING]
    given = [p for p in idle if p.name and ctx.get_parameter_source(p.name) is spoken]
    used = ["/".join([p.opts[0], *p.secondary_opts]) for p in given]
    if used:
        raise UsageError(f"{', '.join(used)} would have no effect without --train")


def _train(net: Network, out: Path | None, options: dict[str, Any]) -> tuple[Network, Path, str]:
    """Train; returns the network as trained, the run's folder and its weights."""
    from resnetc.train import TrainOptions
    from resnetc.train import train as run

    quiet = options.pop("quiet")
    result = run(net, TrainOptions(out=out, progress=not quiet, **seeded(net, told(options))))
    click.echo(summary(result))
    return result.network, result.run, str(result.weights)


def _report(net: Network) -> dict[str, Any]:
    from resnetc.analysis import stages

    return {
        "network": net.name,
        "reference": net.reference,
        "settings": net.settings,
        "outputs": list(net.graph.outputs),
        "graph_hash": net.graph.hash,
        "cost": net.cost.to_json(),
        "stages": [stage.to_json() for stage in stages(net.graph)],
    }


def _invoke(
    ctx: click.Context, command: click.Command, net: Network, weights: str | None, **options: Any
) -> int:
    """Run another verb on the network; returns its exit code, so that the next one still runs."""
    settings = tuple(f"{name}={value}" for name, value in net.settings.items())
    try:
        ctx.invoke(
            command,
            network=net.reference,
            settings=settings,
            outputs=net.outputs,
            weights=weights,
            **options,
        )
    except click.exceptions.Exit as leave:
        return leave.exit_code
    return 0
