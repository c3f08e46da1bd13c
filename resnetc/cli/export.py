"""`resnetc export`: artefacts of a network."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from resnetc.cli.arguments import (
    RANDOM,
    json_option,
    load_trained,
    network_options,
    weights_option,
)
from resnetc.cli.deployment import apply_deployment
from resnetc.cli.engine import engine_options, take_engine
from resnetc.cli.idle import refuse_idle
from resnetc.cli.precision import precision_options, prepare, take_request
from resnetc.diagnostics import ResnetcError
from resnetc.driver import Network

if TYPE_CHECKING:
    from resnetc.backends.base import Artefact, ExportRequest
    from resnetc.backends.weights import Arrays

_WITHOUT_WEIGHTS = {"torch"}
"""Backends that write the network alone."""
_ENCODINGS = {"tensorrt": "tensorrt"}
"""Encodings that backends insist on."""
Batch = int | tuple[int, int, int] | None


# -------------------------------------------------------------------------------------- options


def _batch(ctx: click.Context, param: click.Parameter, text: str | None) -> Batch:
    """`8` is fixed; `1..32`, or `1..8..32` with the usual batch between, is dynamic."""
    if text is None:
        return None
    parts = text.split("..")
    if len(parts) > 3 or not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise click.BadParameter(f"`{text}` is neither N nor MIN..MAX nor MIN..OPT..MAX")
    numbers = [int(part) for part in parts]
    if numbers != sorted(numbers):
        raise click.BadParameter(f"`{text}` does not rise")
    if len(numbers) == 1:
        return numbers[0]
    return numbers[0], numbers[len(numbers) // 2], numbers[-1]


def load_weights(net: Network, weights: str | None, seed: int, *, say: bool = True) -> Arrays:
    """The weights a verb was asked for, fitted to the network. Says so when they are made up."""
    from resnetc.backends.random_weights import random_weights
    from resnetc.backends.weights import fit_weights, read_weights, require_numbers

    if weights is None and say:
        click.echo(f"no --weights: random ones, seed {seed}", err=True)
    if weights in (None, RANDOM):
        return random_weights(net.graph, seed)
    held = fit_weights(net.graph, read_weights(Path(str(weights))))
    require_numbers(net.graph, held)
    return held


# --------------------------------------------------------------------------------------- export


@click.command()
@network_options
@click.option(
    "--to",
    "targets",
    default="onnx",
    show_default=True,
    metavar="BACKEND[,...]",
    help="Any of onnx, tensorrt, torch (a stand-alone .py).",
)
@weights_option
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("export"),
    show_default=True,
    metavar="DIR",
    help="Folder to write to.",
)
@precision_options
@click.option(
    "--batch",
    callback=_batch,
    metavar="N|MIN..MAX",
    help="Fixed batch, or its bounds; dynamic by default.",
)
@click.option(
    "--opset", type=int, help="ONNX opset; 18 by default, 19 for narrow scales, 22 in bf16."
)
@click.option(
    "--external/--inline",
    default=None,
    help="ONNX weights in a second file; by default above 2 GB.",
)
@click.option(
    "--fold/--no-fold",
    default=True,
    show_default=True,
    help="Fold batch norms in ONNX, or keep them.",
)
@engine_options
@json_option
@click.pass_context
def export(
    ctx: click.Context,
    /,
    network: str,
    settings: tuple[str, ...],
    outputs: tuple[str, ...] | None,
    targets: str,
    weights: str | None,
    seed: int,
    as_json: bool,
    **options: Any,
) -> None:
    """Write a network as ONNX, as a TensorRT engine, or as PyTorch source.

    FILE:DEPLOYMENT in the place of NETWORK writes what the spec's deployment says.

    One backend that fails does not keep the others from being written; the exit code is then the
    failed one's.
    """
    from resnetc.backends.base import ExportRequest, require_known
    from resnetc.backends.provenance import text_hash

    net = load_trained(network, settings, weights, outputs)
    settled = apply_deployment(ctx, net, targets, options)
    if settled.name is not None:
        click.echo(settled, err=True)
    options = settled.options
    chosen = list(dict.fromkeys(target.strip() for target in settled.targets.split(",")))
    require_known(chosen)
    refuse_idle(ctx, options, chosen)
    provenance = {
        "reference": net.reference,
        "settings": json.dumps(net.settings),
        "spec_hash": text_hash(net.source_text),
    }
    if net.outputs is not None:
        provenance["outputs"] = json.dumps(net.outputs)
    precision = take_request(options)
    engine = take_engine(options, chosen)
    plain = _WITHOUT_WEIGHTS.issuperset(chosen) and precision.layers == "fp32"
    held = load_weights(net, weights, seed, say=not plain)
    encodings = {_ENCODINGS.get(name, precision.encoding) for name in chosen}
    prepared = prepare(precision, net, held, weights, encodings, options["out"], as_json=as_json)
    if prepared is None:
        return
    request = ExportRequest(
        net.name,
        net.graph,
        prepared.weights,
        **options,
        weights_given=weights not in (None, RANDOM),
        precision=precision.layers,
        plans=prepared.plans,
        encoding=precision.encoding,
        engine=engine,
        provenance=provenance,
    )
    written, failures = _export_each(chosen, request, say=None if as_json else click.echo)
    if as_json:
        failed = [{"backend": name, "error": str(error)} for name, error in failures.items()]
        made = [{"backend": name, **each.to_json()} for name, each in written.items()]
        document: dict[str, Any] = {"network": net.name, "written": made, "failed": failed}
        if settled.name is not None:
            document["deployment"] = settled.to_json()
        click.echo(json.dumps(document, indent=2))
    if failures:
        ctx.exit(next(iter(failures.values())).exit_code)


def _export_each(
    backends: Sequence[str], request: ExportRequest, say: Callable[[str], object] | None
) -> tuple[dict[str, Artefact], dict[str, ResnetcError]]:
    """What each backend wrote, and what went wrong in the others; errors are told at once."""
    from resnetc.backends.base import find_exporter

    written: dict[str, Artefact] = {}
    failures: dict[str, ResnetcError] = {}
    for name in backends:
        try:
            written[name] = find_exporter(name)(request)
        except ResnetcError as error:
            failures[name] = error
            click.echo(f"error: {name}: {error}", err=True)
        else:
            if say is not None:
                say(str(written[name]))
    return written, failures
