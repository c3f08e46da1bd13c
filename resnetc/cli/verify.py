"""`resnetc verify`: do artefacts and runtimes agree with the network, and are they fresh?"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from resnetc.cli.arguments import RANDOM, load_trained, running_options
from resnetc.cli.export import load_weights
from resnetc.diagnostics import CheckError, MissingError, ResnetcError, RunError, UsageError
from resnetc.driver import Network

if TYPE_CHECKING:
    import numpy as np

    from resnetc.backends.parity import Agreement
    from resnetc.backends.provenance import Claim
    from resnetc.backends.weights import Arrays


@click.command()
@running_options("eager, compile, onnxruntime, openvino", "eager,onnxruntime")
@click.option(
    "--onnx",
    "onnx_files",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="FILE",
    help="An ONNX file to hold against the network, any number of times; by default one is made.",
)
@click.option(
    "--engine",
    "engines",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="FILE",
    help="A TensorRT engine whose sidecar is to be checked, and that is run where an NVIDIA GPU "
    "is; any number of times.",
)
@click.option("--batch", type=click.IntRange(1), default=4, show_default=True, help="Samples.")
@click.option(
    "--data",
    metavar="NAME[:PATH]",
    help="Compare on test images of this data set instead of random input.",
)
@click.option(
    "--tolerance", type=click.FloatRange(0), help="Largest error, relative to the largest output."
)
def verify(
    network: str,
    settings: tuple[str, ...],
    outputs: tuple[str, ...] | None,
    weights: str | None,
    seed: int,
    onnx_files: tuple[Path, ...],
    engines: tuple[Path, ...],
    backends: tuple[str, ...] | None,
    batch: int,
    data: str | None,
    tolerance: float | None,
    as_json: bool,
) -> None:
    """Compare PyTorch and ONNX with a float64 reference, and artefacts with where they come from.

    Exit code 5 when one is further away than the tolerance of its precision, which is told with
    the first block where the two part; and when an artefact was written from another state of the
    network or from other weights.
    """
    from resnetc.backends.parity import DEFAULT, differences
    from resnetc.backends.provenance import staleness

    net = load_trained(network, settings, weights, outputs)
    held = load_weights(net, weights, seed)
    claims = list(_claims(net, held, weights, onnx_files, engines))
    if not as_json:
        for claim in claims:
            click.echo(str(claim))
    images = None if data is None else _images(net, weights, data, batch)
    shown = _inputs(batch, seed, data, images)
    chosen = DEFAULT if backends is None else backends
    agreements, refusals = _compare(
        net, held, onnx_files, engines, chosen, images, batch, seed, tolerance
    )
    if as_json:
        told = _document(net, shown, claims, agreements)
        told["refused"] = [str(error) for error in refusals]
        click.echo(json.dumps(told, indent=2))
    else:
        click.echo(f"{net.name}: {shown['said']}; reference: torch in float64")
        for each in agreements:
            click.echo(_row(each))
        for note in dict.fromkeys(
            f"{each.backend}: {each.note}" for each in agreements if each.note
        ):
            click.echo(f"  {note}")
    if problems := [*staleness(claims), *differences(agreements)]:
        refusals.append(CheckError("\n".join(problems)))
    _raise_gravest(refusals)


def _claims(
    net: Network,
    held: Arrays,
    weights: str | None,
    onnx_files: tuple[Path, ...],
    engines: tuple[Path, ...],
) -> Iterator[Claim]:
    """What all artefacts say of themselves, the weights' file included."""
    from resnetc.backends.provenance import (
        Claim,
        check_engine,
        check_onnx,
        check_weights,
        text_hash,
    )
    from resnetc.backends.tensorrt.library import gpu_present

    spec = text_hash(net.source_text)
    if weights not in (None, RANDOM):
        # Weights are of the network as a whole, whatever outputs are asked for.
        yield from check_weights(net.whole.graph, _weights_file(Path(str(weights))))
    for file in onnx_files:
        yield from check_onnx(net.graph, held, file, spec)
    for engine in engines:
        yield from check_engine(net.graph, held, engine, spec)
        if not gpu_present():
            yield Claim(engine.name, "run", None, "not run: there is no NVIDIA GPU here")


def _weights_file(path: Path) -> Path:
    from resnetc.backends.weights import CHECKPOINT_WEIGHTS

    return path / CHECKPOINT_WEIGHTS if path.is_dir() else path


def _images(net: Network, weights: str | None, data: str, count: int) -> np.ndarray:
    """Test images as the network takes them, float32 [N, C, H, W]."""
    import numpy as np

    from resnetc.train.samples import judging_images

    folder = None if weights in (None, RANDOM) else Path(str(weights))
    seen = judging_images(net, folder, data, count, judges=False)
    return np.concatenate([images for images, _ in seen.batches(count)])


def _inputs(batch: int, seed: int, data: str | None, images: np.ndarray | None) -> dict[str, Any]:
    if images is None:
        return {"batch": batch, "seed": seed, "said": f"{batch} random inputs, seed {seed}"}
    count = len(images)
    return {"batch": count, "data": data, "said": f"{count} test images of {data}"}


def _compare(
    net: Network,
    held: Arrays,
    files: tuple[Path, ...],
    engines: tuple[Path, ...],
    backends: tuple[str, ...],
    images: np.ndarray | None,
    batch: int,
    seed: int,
    tolerance: float | None,
) -> tuple[list[Agreement], list[ResnetcError]]:
    """Agreements for every file, and what was refused: a file that cannot be compared, or not in
    one runtime, does not keep others from being."""
    from resnetc.backends.parity import compare_runtimes
    from resnetc.backends.tensorrt.library import gpu_present

    found: list[Agreement] = []
    refused: list[ResnetcError] = []
    torch_once = backends
    compare = partial(
        compare_runtimes,
        net.graph,
        held,
        images=images,
        batch=batch,
        seed=seed,
        tolerance=tolerance,
    )
    if engines and gpu_present():
        agreements, refusals = compare(backends=(), engines=engines)
        found += agreements
        refused += refusals
    for file in files or (None,):
        try:
            agreements, refusals = compare(onnx_file=file, backends=torch_once)
        except ResnetcError as error:
            refused.append(error)
        else:
            found += agreements
            refused += refusals
            # What reads no file has been told of, and gives the same beside another.
            torch_once = tuple(name for name in backends if name not in ("eager", "compile"))
    return found, refused


_GRAVITY = (UsageError, CheckError, RunError, MissingError)
"""Kinds of errors, the gravest first: what makes no sense, what is wrong, what cannot be told."""


def _raise_gravest(errors: list[ResnetcError]) -> None:
    """Raise the gravest error, if there is one, once the others have been told."""
    several = list({str(error): error for error in errors}.values())
    several.sort(key=lambda error: [isinstance(error, kind) for kind in _GRAVITY], reverse=True)
    for error in several[1:]:
        click.echo(f"error: {error}", err=True)
    if several:
        raise several[0]


def _document(
    net: Network, shown: dict[str, Any], claims: list[Claim], agreements: list[Agreement]
) -> dict[str, Any]:
    return {
        "network": net.name,
        **{key: value for key, value in shown.items() if key != "said"},
        "provenance": [claim.to_json() for claim in claims],
        "agreements": [each.to_json() for each in agreements],
    }


def _row(each: Agreement) -> str:
    verdict = "agrees" if each.passed else "DIFFERS"
    top1 = "" if each.top1 is None else f"  top-1 {each.top1:.0%}"
    return (
        f"  {each.backend:<18} {each.output:<8} max abs {each.max_abs:.2e}  rel {each.max_rel:.2e}"
        f"  cosine {each.cosine:.9f}{top1}  {verdict} (tolerance {each.tolerance:.2g} rel)"
    )
