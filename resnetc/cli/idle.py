"""Flags of an export that would have no effect beside the others: who gives one means it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import click

from resnetc.diagnostics import UsageError

Options = Mapping[str, Any]


@dataclass(frozen=True)
class _Need:
    """What some options, by name, have an effect with; `without` says what is missing."""

    options: tuple[str, ...]
    holds: Callable[[Options, Collection[str]], bool]
    without: str


def _eight_bits(options: Options) -> bool:
    return options["precision"] in ("int8", "fp8")


def _judges(options: Options) -> bool:
    return options["explain_precision"] or options["max_loss"] is not None


_NEEDS = (
    _Need(("opset", "external", "fold"), lambda o, to: "onnx" in to, "without --to onnx"),
    _Need(
        ("library", "capabilities", "tf32"),
        lambda o, to: "tensorrt" in to,
        "without --to tensorrt",
    ),
    _Need(
        ("encoding", "weight_bits"),
        lambda o, to: o["precision"] == "int8",
        "without --precision int8",
    ),
    _Need(
        ("calibrate", "calibration_images"),
        lambda o, to: _eight_bits(o),
        "without --precision int8 or fp8",
    ),
    _Need(
        ("data",),
        lambda o, to: _eight_bits(o) or _judges(o),
        "without --precision int8 or fp8, or --max-loss",
    ),
    _Need(
        ("kept",),
        lambda o, to: _eight_bits(o) or bool(o["keep"]),
        "without --keep, or --precision int8 or fp8",
    ),
    _Need(
        ("keep",),
        lambda o, to: o["precision"] != o["kept"],
        "where --precision and --kept are the same",
    ),
    _Need(
        ("judge_images",),
        lambda o, to: _judges(o),
        "without --explain-precision or --max-loss",
    ),
    _Need(("fine_tune_lr",), lambda o, to: o["fine_tune"] is not None, "without --fine-tune"),
)


def refuse_idle(ctx: click.Context, options: Options, targets: Collection[str]) -> None:
    """Raise UsageError for flags of the command line that change nothing for these targets.

    `options` are all that hold, a deployment's too: of those only what a flag has said is refused.
    """
    for need in _NEEDS:
        given = [param for param in ctx.command.params if param.name in need.options]
        idle = [_spelt(param, options) for param in given if _is_asked(ctx, param, options)]
        if idle and not need.holds(options, targets):
            raise UsageError(f"{', '.join(idle)} would have no effect {need.without}")


def _is_asked(ctx: click.Context, param: click.Parameter, options: Options) -> bool:
    """Whether a flag was given, and not to say what is so anyway."""
    name = str(param.name)
    said = ctx.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
    return said and options[name] != param.default


def _spelt(param: click.Parameter, options: Options) -> str:
    off = options[str(param.name)] is False and param.secondary_opts
    return str(param.secondary_opts[0] if off else param.opts[0])
