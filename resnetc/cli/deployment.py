"""What a `deploy` section asks of `resnetc export` where the command line says nothing else."""

from __future__ import annotations

from typing import Any

import click

from resnetc.driver import Network
from resnetc.sections import Deploy


def apply_deployment(
    ctx: click.Context, net: Network, targets: str, options: dict[str, Any]
) -> tuple[str, dict[str, Any]]:
    """The targets and options of an export by the network's deployment; flags go before it."""
    if net.deploy is None:
        return targets, options
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
    precision = deploy.precision
    options: dict[str, Any] = {
        "precision": precision.layers,
        "keep": precision.keep,
        "kept": precision.kept,
        "inputs": precision.inputs,
    }
    if precision.calibrate is not None:
        options["calibrate"] = precision.calibrate
    if deploy.batch is not None:
        low, high = deploy.batch
        options["batch"] = low if low == high else (low, high, high)
    if deploy.opset is not None:
        options["opset"] = deploy.opset
    if deploy.target in ("tensorrt", "tensorrt_rtx"):
        options["library"] = deploy.target
    return options
