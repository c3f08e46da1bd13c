"""A run from its lock file: the same network, recipe, data, seed and settings once more."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resnetc.diagnostics import CompileError, RunError, UsageError
from resnetc.driver import load
from resnetc.train.options import TrainOptions
from resnetc.train.run_folder import LOCK

if TYPE_CHECKING:
    from resnetc.driver import Network


def replay(lock_file: Path, options: TrainOptions) -> tuple[Network, TrainOptions]:
    """The network and the request of the run that a lock.json is of.

    Of `options` counts what does not decide the weights: where the run goes and what is shown, the
    device, the processes that read images, and `data` where the same set lies elsewhere. Raises
    RunError for a file that is no lock of a run, UsageError when its network is no more what it
    was. That data and recipe are still the same is checked when the run starts.
    """
    lock = _read(lock_file)
    try:
        net = recorded_network(lock_file, lock)
        asked = dataclasses.replace(
            options,
            data=options.data or lock["data_set"]["reference"],
            seed=lock["seed"],
            channels_last=lock["channels_last"],
            deterministic=lock["deterministic"],
            accumulate=lock.get("accumulate", 1),
            compile=lock.get("compile", False),
            threads=options.threads or lock.get("threads"),
            log_every=options.log_every or lock["log_every"],
            replays=lock,
        )
    except (KeyError, TypeError) as error:
        raise RunError(f"{lock_file}: not the lock file of a run: {error} is missing") from error
    return net, asked


def network_of(run: Path) -> Network:
    """The network that the run in a folder trained. Raises as `replay` does."""
    lock_file = run / LOCK
    try:
        return recorded_network(lock_file, _read(lock_file))
    except (KeyError, TypeError, AttributeError) as error:
        raise RunError(f"{lock_file}: not the lock file of a run: {error} is missing") from error


def _read(path: Path) -> dict[str, Any]:
    try:
        lock = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UsageError(f"{path}: there is no such file") from error
    except (OSError, ValueError) as error:
        raise RunError(f"{path}: not the lock file of a run: {error}") from error
    if not isinstance(lock, dict):
        raise RunError(f"{path}: not the lock file of a run")
    return lock


def recorded_network(lock_file: Path, lock: Mapping[str, Any]) -> Network:
    """The network by its reference, else by the spec that was kept beside the lock file."""
    said = lock["network"]
    reference, settings = said["reference"], {k: str(v) for k, v in said["settings"].items()}
    kept = f"{lock_file.parent / 'spec.rnet'}:{reference.rpartition(':')[2]}"
    for place in (reference, kept):
        try:
            net = load(place, settings)
        except (UsageError, CompileError):
            continue
        if net.graph.hash == lock["graph"]:
            return net
    raise UsageError(
        f"{lock_file}: {reference} is not the network it was, and the spec kept beside the lock "
        f"does not make it again; see what changed by: resnetc diff {kept} {reference}"
    )
