"""What a `deploy` section asks of `resnetc export` where the command line says nothing else."""

from __future__ import annotations

from typing import Any

import click

from resnetc.diagnostics import MissingError
from resnetc.driver import Network
from resnetc.sections import Deploy, Precision

_WRITTEN = ("fp32", "fp16", "bf16")
"""Precisions that the backends write."""


def apply_deployment(
    ctx: click.Context, net: Network, targets: str, options: dict[str, Any]
) -> tuple[str, dict[str, Any]]:
    """The targets and options of an export by the network's deployment; flags go before it.

    Raises MissingError for what no backend does yet.
    """
    if net.deploy is None:
        return targets, options
    _require_written(net.deploy.precision)
    asked = {**_options(net.deploy), "targets": _target(net.deploy)}
    flags = {name for name in asked if _is_given(ctx, name)}
    chosen = {name: value for name, value in asked.items() if name not in flags}
    targets = chosen.pop("targets", targets)
    return targets, {**options, **chosen}


def _is_given(ctx: click.Context, name: str) -> bool:
    return ctx.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE


def _target(deploy: Deploy) -> str:
    return "tensorrt" if deploy.target == "tensorrt_rtx" else deploy.target


def _options(deploy: Deploy) -> dict[str, Any]:
    """The flags of `resnetc export` that say the same."""
    options: dict[str, Any] = {"precision": deploy.precision.layers}
    if deploy.batch is not None:
        low, high = deploy.batch
        options["batch"] = low if low == high else (low, high, high)
    if deploy.opset is not None:
        options["opset"] = deploy.opset
    if deploy.target in ("tensorrt", "tensorrt_rtx"):
        options["library"] = deploy.target
    return options


def _require_written(precision: Precision) -> None:
    """Refuse what no backend does; calibration is for the layers that are refused."""
    if precision.layers not in _WRITTEN:
        raise _missing(f"{precision.layers} layers", f"layers = {' or '.join(_WRITTEN)}")
    if precision.keep:
        raise _missing("layers kept wider than the others", "keep = []")
    if precision.inputs != "fp32":
        raise _missing(f"{precision.inputs} inputs", 'inputs = "fp32"')


def _missing(what: str, instead: str) -> MissingError:
    return MissingError(f"no backend writes {what} yet", f"write `precision {{ {instead} }}`")
