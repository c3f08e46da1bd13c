"""Precision on the command line: which layers compute in what, calibrated on which images."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from resnetc.diagnostics import UsageError
from resnetc.driver import Network
from resnetc.sections import CALIBRATIONS, Entropy, MinMax, Percentile

if TYPE_CHECKING:
    from resnetc.backends.weights import Arrays
    from resnetc.passes import Plan
    from resnetc.quantization import Images, Sensitivity

Calibration = Entropy | Percentile | MinMax

_WIDE = click.Choice(["fp32", "fp16", "bf16"])
_LISTED = 20
"""Layers listed by a ranking for people."""
_CACHE = "calibration"
"""The folder, in that of the artefacts, in which ranges are kept."""


# -------------------------------------------------------------------------------------- options


def _calibration(ctx: click.Context, param: click.Parameter, text: str | None) -> object:
    """`entropy`, `percentile`, `percentile:99.99`, `min_max`."""
    if text is None:
        return None
    word, colon, share = text.partition(":")
    record = CALIBRATIONS.get(word.replace("-", "_"))
    if record is None:
        raise click.BadParameter(f"`{word}` is none of {', '.join(CALIBRATIONS)}")
    if not colon:
        return record()
    try:
        percent = float(share.removesuffix("%"))
    except ValueError:
        percent = 0.0
    if record is not Percentile or not 50 < percent <= 100:
        raise click.BadParameter(f"`{text}`: only `percentile` takes a number, of 50 to 100 %")
    return Percentile(percent / 100)


def precision_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """All flags of precision, which :func:`take_request` takes."""
    flags = [
        click.option(
            "--precision",
            type=click.Choice(["fp32", "fp16", "bf16", "int8", "fp8"]),
            default="fp32",
            show_default=True,
            help="What layers compute in.",
        ),
        click.option(
            "--keep",
            multiple=True,
            metavar="LABEL",
            help="Layers, or blocks with all that is in them, that compute in --kept; any number "
            "of times.",
        ),
        click.option(
            "--kept",
            type=_WIDE,
            default="fp32",
            show_default=True,
            help="What kept layers compute in, and beside int8 and fp8 all the rest.",
        ),
        click.option(
            "--inputs", type=_WIDE, default="fp32", show_default=True, help="Inputs and outputs."
        ),
        click.option(
            "--encoding",
            type=click.Choice(["ort", "tensorrt"]),
            help="How int8 is encoded in the ONNX file: for onnxruntime and OpenVINO on x86 (the "
            "default) or for TensorRT.",
        ),
        click.option(
            "--weight-bits",
            type=click.IntRange(7, 8),
            help="Bits of int8 weights for onnxruntime: 7 where the file is for x86 processors "
            "without VNNI, which add in 16 bits. By default what suits this processor.",
        ),
        click.option(
            "--calibrate",
            callback=_calibration,
            metavar="METHOD",
            help="How int8 and fp8 find the ranges of activations: entropy (the default), "
            "percentile[:99.99], min_max.",
        ),
        click.option(
            "--calibration-images",
            type=click.IntRange(1),
            help="Training images to calibrate on; 512 by default.",
        ),
        click.option(
            "--data",
            metavar="NAME[:PATH]",
            help="The set to calibrate and judge on; by default that of the weights' run, else the "
            "recipe's.",
        ),
        click.option(
            "--explain-precision",
            is_flag=True,
            help="Rank layers by what it costs on the test images that each is narrow; writes "
            "nothing.",
        ),
        click.option(
            "--max-loss",
            type=click.FloatRange(0),
            metavar="POINTS",
            help="Keep the dearest layers wide, until at most so many points of accuracy are lost.",
        ),
        click.option(
            "--judge-images",
            type=click.IntRange(1),
            help="Test images to judge on; by default all.",
        ),
        click.option(
            "--fine-tune",
            type=click.IntRange(1),
            metavar="ITERATIONS",
            help="Train the weights on with int8 or fp8 in the loop, before they are exported.",
        ),
        click.option(
            "--fine-tune-lr",
            type=click.FloatRange(0, min_open=True),
            default=1e-3,
            show_default=True,
            help="Rate that fine-tuning begins with.",
        ),
    ]
    for flag in reversed(flags):
        command = flag(command)
    return command


# -------------------------------------------------------------------------------------- request


@dataclass(frozen=True)
class PrecisionRequest:
    """What was asked for of precision."""

    layers: str
    keep: tuple[str, ...]
    kept: str
    inputs: str
    encoding: str
    weight_bits: int | None
    method: Calibration
    data: str | None
    explain: bool
    max_loss: float | None
    judge_images: int | None
    fine_tune: int | None
    fine_tune_lr: float

    @property
    def eight_bits(self) -> bool:
        return self.layers in ("int8", "fp8")

    @property
    def judges(self) -> bool:
        """Whether layers are to be judged by images."""
        return self.explain or self.max_loss is not None


def take_request(options: dict[str, Any]) -> PrecisionRequest:
    """Take the flags of precision out of an export's options. Raises UsageError for those that
    have no effect."""
    method = options.pop("calibrate") or Entropy()
    count = options.pop("calibration_images")
    request = PrecisionRequest(
        layers=options.pop("precision"),
        keep=tuple(options.pop("keep")),
        kept=options.pop("kept"),
        inputs=options.pop("inputs"),
        encoding=options.pop("encoding") or "ort",
        weight_bits=options.pop("weight_bits"),
        method=method if count is None else replace(method, images=count),
        data=options.pop("data"),
        explain=options.pop("explain_precision"),
        max_loss=options.pop("max_loss"),
        judge_images=options.pop("judge_images"),
        fine_tune=options.pop("fine_tune"),
        fine_tune_lr=options.pop("fine_tune_lr"),
    )
    if request.fine_tune is not None and not request.eight_bits:
        raise UsageError(f"--fine-tune is for int8 and fp8, not for {request.layers}")
    if request.judges and request.layers in ("fp32", "bf16"):
        why = "costs nothing" if request.layers == "fp32" else "has no convolution in onnxruntime"
        raise UsageError(f"{request.layers} {why}: there are no layers to rank")
    return request


@dataclass(frozen=True)
class Prepared:
    """The weights to export, fine-tuned where that was asked for, and the precision by encoding."""

    weights: Arrays
    plans: dict[str, Plan]


def prepare(
    request: PrecisionRequest,
    net: Network,
    held: Arrays,
    weights: str | None,
    encodings: Iterable[str],
    out: Path,
    *,
    as_json: bool,
) -> Prepared | None:
    """Calibrate, fine-tune, judge, as far as was asked for; None where there is nothing to export.

    A ranking goes to stdout where it is what was asked for, else to stderr.
    """
    wanted = sorted(encodings)
    plans = make_plans(request, net, held, weights, wanted, out)
    if request.fine_tune is not None:
        held = _tuned(request, net, held, weights, plans[wanted[0]], out)
        plans = make_plans(request, net, held, weights, wanted, out)
    if not request.judges:
        return Prepared(held, plans)
    found = explain(request, net, held, weights, plans[wanted[0]])
    shown = to_json(found) if as_json else ranking(found, request.layers, request.max_loss)
    click.echo(shown, err=not request.explain)
    if request.explain:
        return None
    kept = {name: replace(plan, keep=(*plan.keep, *found.keep)) for name, plan in plans.items()}
    return Prepared(held, kept)


def _tuned(
    request: PrecisionRequest,
    net: Network,
    held: Arrays,
    weights: str | None,
    plan: Plan,
    out: Path,
) -> Arrays:
    """The weights after training on, which are written beside the artefacts."""
    from resnetc.backends.weights import as_arrays, write_weights
    from resnetc.train.fine_tuning import FineTuning, fine_tune

    assert request.fine_tune is not None
    options = FineTuning(request.fine_tune, request.fine_tune_lr)
    with _bar("fine-tuning", request.fine_tune) as tick:
        made = fine_tune(
            net, held, plan, options, folder=_folder(weights), data=request.data, progress=tick
        )
    file = out / f"{net.name}.tuned.safetensors"
    write_weights(file, made)
    click.echo(f"fine-tuned over {request.fine_tune} iterations: {file}", err=True)
    return as_arrays(made)


def make_plans(
    request: PrecisionRequest,
    net: Network,
    held: Arrays,
    weights: str | None,
    encodings: Iterable[str],
    out: Path,
) -> dict[str, Plan]:
    """The precision in each of the encodings that are wanted, calibrated where it must be; ranges
    are kept in a folder of `out`."""
    from resnetc.passes import Plan, find_encoding

    plain = Plan(request.layers, request.keep, request.kept, request.inputs)
    if not request.eight_bits:
        return dict.fromkeys(encodings, plain)
    images = _images(request, net, weights)
    plans = {}
    for target in encodings:
        encoding = find_encoding(request.layers, target, request.weight_bits)
        found = _calibrate(request, net, held, encoding, images, out / _CACHE)
        plans[target] = replace(
            plain, encoding=encoding, ranges=found.ranges, calibration=str(found)
        )
    return plans


def _images(request: PrecisionRequest, net: Network, weights: str | None) -> Images:
    from resnetc.train.samples import calibration_images

    return calibration_images(net, _folder(weights), request.data, request.method.images)


def _folder(weights: str | None) -> Path | None:
    return None if weights in (None, "random") else Path(str(weights))


def _calibrate(
    request: PrecisionRequest,
    net: Network,
    held: Arrays,
    encoding: Any,
    images: Images,
    cache: Path,
) -> Any:
    from resnetc.quantization import calibrate

    with _bar("calibrating", images.count) as tick:
        return calibrate(
            net.graph,
            held,
            encoding,
            images,
            request.method,
            keep=request.keep,
            cache=cache,
            progress=tick,
        )


class _bar:  # noqa: N801  (reads as a function)
    """Progress on stderr, where that is a terminal."""

    def __init__(self, what: str, length: int) -> None:
        import sys

        shown = sys.stderr.isatty()
        self._bar = click.progressbar(length=length, label=what, file=sys.stderr, hidden=not shown)

    def __enter__(self) -> Callable[[int, int], None]:
        bar = self._bar.__enter__()
        return lambda done, total: bar.update(done - bar.pos)

    def __exit__(self, *error: Any) -> None:
        self._bar.__exit__(*error)


# ---------------------------------------------------------------------------------- sensitivity


def explain(
    request: PrecisionRequest, net: Network, held: Arrays, weights: str | None, plan: Plan
) -> Sensitivity:
    """Rank layers on the test images, and choose those to keep where a loss is stated."""
    from resnetc.quantization import choose_kept, rank_layers
    from resnetc.train.samples import judging_images

    images = judging_images(net, _folder(weights), request.data, request.judge_images)
    with _bar("judging layers", len(net.graph)) as tick:
        found = rank_layers(net.graph, held, plan, images, progress=tick)
    if request.max_loss is not None:
        found = choose_kept(net.graph, held, plan, images, found, request.max_loss)
    if not images.real:
        click.echo("made-up images: accuracies mean nothing", err=True)
    return found


def ranking(found: Sensitivity, layers: str, max_loss: float | None) -> str:
    """A ranking for a reader."""
    lines = [
        f"{found.images}: top-1 {found.wide:.2%} in fp32, {found.narrow:.2%} with all in {layers}",
        f"  {'loss':>6}  {'divergence':>10}  {'MACs':>5}  layer, alone in {layers}",
    ]
    for cost in found.layers[:_LISTED]:
        lines.append(
            f"  {cost.loss:>6.2f}  {cost.divergence:>10.2e}  {cost.share:>5.1%}  {cost.layer}"
            f"  {cost.place}"
        )
    if len(found.layers) > _LISTED:
        lines.append(f"  and {len(found.layers) - _LISTED} more that cost less")
    if max_loss is not None and found.kept is not None:
        names = ", ".join(found.keep) or "nothing"
        lines.append(f"kept for a loss of at most {max_loss:g} points: {names} ({found.kept:.2%})")
    return "\n".join(lines)


def to_json(found: Sensitivity) -> str:
    """The same for machines."""
    return json.dumps(found.to_json(), indent=2)
