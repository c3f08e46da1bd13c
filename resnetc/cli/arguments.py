"""Arguments that several verbs share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from resnetc.diagnostics import UsageError
from resnetc.driver import Network, load

F = TypeVar("F", bound=Callable[..., Any])


def network_argument(command: F) -> F:
    """The positional NETWORK."""
    return click.argument("network", metavar="NETWORK")(command)


def set_option(command: F) -> F:
    """`--set key=value`, any number of times, as `settings`."""
    return click.option(
        "--set",
        "settings",
        multiple=True,
        metavar="KEY=VALUE",
        help="Bind a parameter or ambient of the network, written as in a spec: "
        "--set depths=[3,4,6,3] --set shortcut=A.",
    )(command)


def json_option(command: F) -> F:
    """`--json`, as `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")(command)


def parse_settings(settings: tuple[str, ...]) -> dict[str, str]:
    """`key=value` texts by key. Raises UsageError for anything else."""
    parsed: dict[str, str] = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals or not key.strip() or not value.strip():
            raise UsageError(f"--set takes KEY=VALUE, not `{setting}`")
        parsed[key.strip()] = value.strip()
    return parsed


def load_network(network: str, settings: tuple[str, ...] = ()) -> Network:
    """The network a verb was asked for, with its settings bound."""
    return load(network, parse_settings(settings))
