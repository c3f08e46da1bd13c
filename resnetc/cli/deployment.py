"""What a `deploy` section asks of `resnetc export` where the command line says nothing else."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from resnetc.driver import Network
from resnetc.sections import Deploy, NetworkName, differing

_ENGINE = {
    "hardware_compatible": "hardware",
    "strip_weights": "strip",
    "capability": "capabilities",
}
"""Keys of an `engine` section that are not called as `export` calls their flag's value."""


@dataclass(frozen=True)
class Settled:
    """Targets and options of an export, and where they come from: `taken` from the deployment
    `name`, by flag, and `overruled`, which flags have said otherwise."""

    targets: str
    options: dict[str, Any]
    name: str | None = None
    taken: tuple[tuple[str, str], ...] = ()
    overruled: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any] | None:
        if self.name is None:
            return None
        return {"name": self.name, "taken": dict(self.taken), "overruled": list(self.overruled)}

    def __str__(self) -> str:
        taken = " ".join(f"{flag} {value}".rstrip() for flag, value in self.taken)
        said = f"from the deployment {self.name}: {taken or 'nothing'}"
        if self.overruled:
            said += f"; from the command line: {' '.join(self.overruled)}"
        return said


def apply_deployment(
    ctx: click.Context, net: Network, targets: str, options: dict[str, Any]
) -> Settled:
    """The targets and options of an export by the network's deployment; flags go before it."""
    if net.deploy is None:
        return Settled(targets, options)
    asked = _asked(net.deploy)
    flags = {str(param.name): param.opts[0] for param in ctx.command.params}
    given = {name for name in flags if _is_given(ctx, name)}
    overruled = tuple(flags[name] for name in asked if name in given)
    chosen = {name: value for name, value in asked.items() if name not in given}
    chosen.pop("outputs", None)  # the network has been cut already
    if "targets" in given:
        chosen = {k: v for k, v in chosen.items() if _serves(k, targets, net.deploy)}
    unusual = _unusual(net.deploy)
    shown = {k: v for k, v in chosen.items() if k == "targets" or k in unusual}
    if net.deploy.outputs and "outputs" not in given:
        shown["outputs"] = net.deploy.outputs
    taken = tuple((flags[name], _written(value)) for name, value in shown.items())
    targets = chosen.pop("targets", targets)
    name = net.reference.rpartition(":")[2]
    return Settled(targets, {**options, **chosen}, name, taken, overruled)


def not_measured(deploy: Deploy, measured: Mapping[str, Collection[Any]]) -> list[str]:
    """What a deployment says beside its outputs and a measurement does not have, in words.

    `measured` are the values that it has, by the names of `export`'s options.
    """
    return [
        f"{name} {_written(value)}".rstrip()
        for name, value in _unusual(deploy).items()
        if name != "outputs" and value not in measured.get(name, ())
    ]


def _unusual(deploy: Deploy) -> dict[str, Any]:
    """What a deployment says that one for the same target does not have anyway."""
    usual = _asked(Deploy(NetworkName(""), target=deploy.target))
    return {name: value for name, value in _asked(deploy).items() if usual.get(name) != value}


def _is_given(ctx: click.Context, name: str) -> bool:
    return ctx.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE


def _serves(name: str, targets: str, deploy: Deploy) -> bool:
    """Whether an option is for one of the targets: a builder's is not for those without one."""
    return "tensorrt" in targets.split(",") or name not in {*_engine(deploy), "library"}


def _asked(deploy: Deploy) -> dict[str, Any]:
    """What a deployment says, by the names of `export`'s options."""
    precision = deploy.precision
    options: dict[str, Any] = {
        "targets": "tensorrt" if deploy.is_engine else deploy.target,
        "precision": precision.layers,
        "keep": precision.keep,
        "kept": precision.kept,
        "inputs": precision.inputs,
    }
    for name in ("calibrate", "weight_bits"):
        if (said := getattr(precision, name)) is not None:
            options[name] = said
    if deploy.batch is not None:
        low, high = deploy.batch
        options["batch"] = low if low == high else (low, high, high)
    if deploy.opset is not None:
        options["opset"] = deploy.opset
    if deploy.outputs:
        options["outputs"] = deploy.outputs
    if deploy.is_engine:
        options |= {"library": deploy.target, **_engine(deploy)}
    return options


def _engine(deploy: Deploy) -> dict[str, Any]:
    """What a deployment says to the builder."""
    said = {_ENGINE.get(name, name): value for name, value in differing(deploy.engine).items()}
    if deploy.engine.timing_cache is not None:
        said["timing_cache"] = Path(deploy.engine.timing_cache)
    return said


def _written(value: Any) -> str:
    """A value as behind its flag; a switch has none."""
    if value is True:
        return ""
    if isinstance(value, tuple):
        numbers = isinstance(value[0], int) if value else False
        return ("..".join if numbers else ",".join)(map(str, value))
    word = getattr(value, "word", None)
    return str(value) if word is None else str(word)
