"""Arguments that several verbs share."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

from resnetc.diagnostics import RunError, UsageError
from resnetc.driver import Network, load

LOCK = "lock.json"
"""A run's record of all that was decided, in its folder."""
RANDOM = "random"
"""What `--weights` calls made-up weights."""

F = TypeVar("F", bound=Callable[..., Any])


def specs_below(folder: Path) -> list[Path]:
    """The .rnet files in a folder and in those inside it, in order."""
    return sorted(folder.rglob("*.rnet"))


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


def _listed(ctx: click.Context, param: click.Parameter, text: str | None) -> tuple[str, ...] | None:
    if text is None:
        return None
    names = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    if not names:
        raise click.BadParameter(f"`{text}` names nothing")
    return names


def outputs_option(command: F) -> F:
    """`--outputs layer2,layer3`, as a tuple of labels or None."""
    return click.option(
        "--outputs",
        callback=_listed,
        metavar="LABEL[,...]",
        help="Give the values after these blocks or layers, and no others (`logits` is one too); "
        "what they do not need is left out.",
    )(command)


def json_option(command: F) -> F:
    """`--json`, as `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")(command)


def layout_option(command: F) -> F:
    """`--channels-last` or `--contiguous`, as `channels_last`, or None."""
    return click.option(
        "--channels-last/--contiguous",
        default=None,
        help="How images and weights lie in memory.  [channels last]",
    )(command)


def told(asked: Mapping[str, Any]) -> dict[str, Any]:
    """What was said; the rest is as the library has it."""
    return {name: value for name, value in asked.items() if value is not None}


def network_options(command: F) -> F:
    """What says which network: NETWORK, `--set` and `--outputs`."""
    return network_argument(set_option(outputs_option(command)))


def weights_option(command: F) -> F:
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


def running_options(known: str, usual: str) -> Callable[[F], F]:
    """What verbs share that run a network in several runtimes: which network, which weights, and
    `--backends` as a tuple of names or None. `known` and `usual` are names, in words."""

    def add(command: F) -> F:
        backends = click.option(
            "--backends",
            callback=_listed,
            metavar="NAME[,...]",
            help=f"Any of {known}.  [{usual}]",
        )
        return network_options(weights_option(backends(json_option(command))))

    return add


def parse_settings(settings: tuple[str, ...]) -> dict[str, str]:
    """`key=value` texts by key. Raises UsageError for anything else."""
    parsed: dict[str, str] = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals or not key.strip() or not value.strip():
            raise UsageError(f"--set takes KEY=VALUE, not `{setting}`")
        parsed[key.strip()] = value.strip()
    return parsed


def load_network(
    network: str, settings: tuple[str, ...] = (), outputs: tuple[str, ...] | None = None
) -> Network:
    """The network a verb was asked for, with its settings bound, up to the labels asked for."""
    return load(network, parse_settings(settings), outputs=outputs)


def load_trained(
    network: str,
    settings: tuple[str, ...],
    weights: str | None,
    outputs: tuple[str, ...] | None = None,
) -> Network:
    """The network a verb was asked for, and where the weights are a run's, as that run bound it.

    Training binds the number of classes to the data set's; without this, the weights of a run
    would not fit the network that was trained. What is asked for goes first. A deployment's
    outputs are the network's, where no others are asked for.
    """
    net = load_network(network, settings, outputs)
    if outputs is None and net.deploy is not None and net.deploy.outputs:
        outputs = net.deploy.outputs
        net = net.with_outputs(outputs)
    trained = _trained_network(weights)
    if trained is None or trained.get("name") != net.name:
        return net
    bound = {k: str(v) for k, v in trained.get("settings", {}).items() if k not in net.settings}
    if not bound:
        return net
    said = ", ".join(f"{key}={value}" for key, value in bound.items())
    click.echo(f"{said}, as in the run of the weights", err=True)
    return load(net.reference, {**bound, **net.settings}, outputs=outputs)


def run_alone(network: str, settings: tuple[str, ...]) -> Network:
    """The network of a run whose folder stands in the place of NETWORK, where no weights are given.

    Raises UsageError where it is no folder of a run.
    """
    folder = Path(network)
    if not (folder / LOCK).is_file():
        raise UsageError(
            "say which weights with --weights, or give the folder of a run in the place of NETWORK"
        )
    if settings:
        raise UsageError(f"the run in {folder} has its settings; leave out --set")
    from resnetc.train.replay import network_of

    return network_of(folder)


def _trained_network(weights: str | None) -> dict[str, Any] | None:
    """What a run's lock file says of its network; the weights are the run's, or a part of it."""
    if weights is None:
        return None
    path = Path(weights)
    folders = (path, *path.parents[:3])
    lock = next((folder / LOCK for folder in folders if (folder / LOCK).is_file()), None)
    if lock is None:
        return None
    try:
        network = json.loads(lock.read_text(encoding="utf-8")).get("network")
    except (ValueError, AttributeError) as error:
        raise RunError(f"{lock}: not a run's lock file: {error}") from error
    return network if isinstance(network, dict) else None
