"""`resnetc export` and `resnetc verify`: artefacts of a network, and whether they agree."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from resnetc.cli.arguments import json_option, load_network, network_argument, set_option
from resnetc.diagnostics import ResnetcError, UsageError
from resnetc.driver import Network

if TYPE_CHECKING:
    from resnetc.backends.parity import Agreement
    from resnetc.backends.weights import Arrays

RANDOM = "random"
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


def weights_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--weights` and, for made-up ones, `--seed`."""
    command = click.option(
        "--seed",
        type=click.IntRange(0),
        default=0,
        show_default=True,
        help="Seed of random weights and inputs.",
    )(command)
    return click.option(
        "--weights",
        metavar="FILE|FOLDER|random",
        help="A .safetensors file, the folder of a run or a checkpoint, a .pth of torch's, or "
        "`random` (the default): seeded weights for trying out the path.",
    )(command)


def load_weights(net: Network, weights: str | None, seed: int) -> Arrays:
    """The weights a verb was asked for, fitted to the network. Says so when they are made up."""
    from resnetc.backends.random_weights import random_weights
    from resnetc.backends.weights import fit_weights, read_weights

    if weights is None:
        click.echo(f"no --weights: random ones, seed {seed}", err=True)
    if weights in (None, RANDOM):
        return random_weights(net.graph, seed)
    return fit_weights(net.graph, read_weights(Path(str(weights))))


# --------------------------------------------------------------------------------------- export


@dataclass(frozen=True)
class _Request:
    """What `export` was asked for, for one exporter after another."""

    net: Network
    weights: Arrays
    out: Path
    precision: str
    batch: Batch
    opset: int | None
    external: bool | None
    fold: bool
    library: str | None
    capabilities: tuple[str, ...]
    tf32: bool

    def file(self, suffix: str) -> Path:
        """`resnet50.onnx`, `resnet50.fp16.onnx`; source has no precision."""
        middle = "" if self.precision == "fp32" or suffix == ".py" else f".{self.precision}"
        return self.out / f"{self.net.name}{middle}{suffix}"

    @property
    def provenance(self) -> dict[str, str]:
        return {"reference": self.net.reference, "settings": json.dumps(self.net.settings)}


@click.command()
@network_argument
@set_option
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
@click.option(
    "--precision",
    type=click.Choice(["fp32", "fp16", "bf16"]),
    default="fp32",
    show_default=True,
    help="Element type of parameters and arithmetic; inputs and outputs stay fp32.",
)
@click.option(
    "--batch",
    callback=_batch,
    metavar="N|MIN..MAX",
    help="Fixed batch, or its bounds; dynamic by default.",
)
@click.option("--opset", type=int, help="ONNX opset; 18 by default, 22 in bf16.")
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
@click.option(
    "--library",
    type=click.Choice(["tensorrt", "tensorrt_rtx"]),
    help="TensorRT library; by default what is installed and can build here.",
)
@click.option(
    "--capability",
    "capabilities",
    multiple=True,
    metavar="X.Y",
    help="Compute capability to build for, with tensorrt_rtx; any number of times.",
)
@click.option("--tf32", is_flag=True, help="Let TensorRT compute fp32 convolutions in TF32.")
@json_option
@click.pass_context
def export(
    ctx: click.Context,
    /,
    network: str,
    settings: tuple[str, ...],
    targets: str,
    weights: str | None,
    seed: int,
    as_json: bool,
    **options: Any,
) -> None:
    """Write a network as ONNX, as a TensorRT engine, or as PyTorch source.

    One backend that fails does not keep the others from being written; the exit code is then the
    failed one's.
    """
    chosen = _chosen(targets)
    net = load_network(network, settings)
    request = _Request(net, load_weights(net, weights, seed), **options)
    written: list[dict[str, Any]] = []
    failures: list[tuple[str, ResnetcError]] = []
    for name in chosen:
        try:
            written.append(_export_one(request, name))
        except ResnetcError as error:
            failures.append((name, error))
            click.echo(f"error: {name}: {error}", err=True)
        else:
            if not as_json:
                click.echo(_line(written[-1]))
    if as_json:
        failed = [{"backend": name, "error": str(error)} for name, error in failures]
        click.echo(
            json.dumps({"network": net.name, "written": written, "failed": failed}, indent=2)
        )
    if failures:
        ctx.exit(failures[0][1].exit_code)


def _export_one(request: _Request, name: str) -> dict[str, Any]:
    suffix, exporter = EXPORTERS[name]
    path = request.file(suffix)
    replaced = path.exists()
    return {"backend": name, **exporter(request, path), "replaced": replaced}


def _to_onnx(request: _Request, path: Path) -> dict[str, Any]:
    from resnetc.backends.onnx import OnnxOptions, write_onnx

    options = OnnxOptions(
        fold=request.fold,
        batch=request.batch if isinstance(request.batch, int) else None,
        opset=request.opset,
        external=request.external,
        precision=request.precision,  # type: ignore[arg-type]  # click has checked it
    )
    graph, weights, provenance = request.net.graph, request.weights, request.provenance
    files = write_onnx(graph, path, weights, options=options, provenance=provenance)
    return {
        "files": [str(file) for file in files],
        "bytes": sum(file.stat().st_size for file in files),
        "precision": request.precision,
        "opset": options.version,
    }


def _to_tensorrt(request: _Request, path: Path) -> dict[str, Any]:
    from resnetc.backends.tensorrt import TensorRtOptions, build_engine

    options = TensorRtOptions(
        precision=request.precision,
        **({} if request.batch is None else {"batch": request.batch}),
        library=request.library,  # type: ignore[arg-type]  # click has checked it
        capabilities=request.capabilities,
        tf32=request.tf32,
    )
    graph, weights, provenance = request.net.graph, request.weights, request.provenance
    report = build_engine(graph, path, weights, options=options, provenance=provenance)
    document = report.to_json()
    return {"files": [document.pop("path"), str(report.sidecar)], **document}


def _to_torch(request: _Request, path: Path) -> dict[str, Any]:
    request.net.to_torch_source(path)
    return {"files": [str(path)], "bytes": path.stat().st_size}


EXPORTERS: Mapping[str, tuple[str, Callable[[_Request, Path], dict[str, Any]]]] = {
    "onnx": (".onnx", _to_onnx),
    "tensorrt": (".engine", _to_tensorrt),
    "torch": (".py", _to_torch),
}
"""Each backend's suffix and what writes its file and tells about it."""


def _chosen(targets: str) -> list[str]:
    names = list(dict.fromkeys(target.strip() for target in targets.split(",")))
    for name in names:
        if name not in EXPORTERS:
            raise UsageError(
                f"there is no backend `{name}` to export to; choose {', '.join(EXPORTERS)}"
            )
    return names


def _line(written: Mapping[str, Any]) -> str:
    """One written artefact for people: the file first, so that it can be cut off."""
    facts = [f"{written['bytes'] / 1e6:.1f} MB"]
    if written["backend"] == "onnx":
        facts += [written["precision"], f"opset {written['opset']}"]
    if written["backend"] == "tensorrt":
        found = ", ".join(f"{n} layers {precision}" for precision, n in written["found"].items())
        facts += [
            f"{written['library']} {written['version']}",
            f"{found} (read from the {written['read_from']})",
        ]
        facts += [f"built in {written['seconds']:.1f} s"]
    if written["replaced"]:
        facts.append("replaced")
    return "  ".join([*written["files"][:1], *facts])


# --------------------------------------------------------------------------------------- verify


@click.command()
@network_argument
@set_option
@weights_option
@click.option(
    "--onnx",
    "onnx_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="An ONNX file to hold against the network; by default one is made.",
)
@click.option("--batch", type=click.IntRange(1), default=4, show_default=True, help="Samples.")
@click.option(
    "--tolerance", type=click.FloatRange(0), help="Largest error, relative to the largest output."
)
@json_option
def verify(
    network: str,
    settings: tuple[str, ...],
    weights: str | None,
    seed: int,
    onnx_file: Path | None,
    batch: int,
    tolerance: float | None,
    as_json: bool,
) -> None:
    """Compare PyTorch and ONNX with a float64 reference, on seeded random input.

    Exit code 5 when one is further away than the tolerance of its precision.
    """
    from resnetc.backends.parity import check_parity, require_parity

    net = load_network(network, settings)
    held = load_weights(net, weights, seed)
    agreements = check_parity(
        net.graph, held, onnx_file=onnx_file, batch=batch, seed=seed, tolerance=tolerance
    )
    if as_json:
        rows = [each.to_json() for each in agreements]
        click.echo(
            json.dumps(
                {"network": net.name, "batch": batch, "seed": seed, "agreements": rows}, indent=2
            )
        )
    else:
        click.echo(f"{net.name}: {batch} random inputs, seed {seed}; reference: torch in float64")
        for each in agreements:
            click.echo(_row(each))
    require_parity(agreements)


def _row(each: Agreement) -> str:
    verdict = "agrees" if each.passed else "DIFFERS"
    top1 = "" if each.top1 is None else f"  top-1 {each.top1:.0%}"
    return (
        f"  {each.backend:<18} {each.output:<8} max abs {each.max_abs:.2e}  rel {each.max_rel:.2e}"
        f"  cosine {each.cosine:.9f}{top1}  {verdict} (tolerance {each.tolerance:.0e} rel)"
    )
