"""Checkpoints: folders of safetensors and JSON, whole or absent. No pickle.

`checkpoints/step-00000400/` holds `weights.safetensors` (by parameter path),
`optimizer.safetensors` (velocities or moments by parameter path), `rng.safetensors` (torch's
generators, one per process), `ema.safetensors` where the recipe averages weights, and
`state.json`: where the run stood, and the SHA-256 of the other files and of
itself, so that damage is noticed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors
from safetensors.torch import load_file, save
from torch import Tensor

from resnetc.atomic import replacing_folder
from resnetc.diagnostics import RunError

FORMAT = 1
PARTS = ("weights", "optimizer", "rng")
AVERAGE = "ema"
"""The part that only runs with an average of the weights have."""
_STATE = "state.json"


@dataclass(frozen=True)
class Checkpoint:
    """A run at the boundary before step `step`. `state` is what state.json says of it."""

    weights: dict[str, Tensor]
    optimizer: dict[str, Tensor]
    rng: dict[str, Tensor]
    state: dict[str, Any]
    ema: dict[str, Tensor] = field(default_factory=dict)

    @property
    def step(self) -> int:
        return int(self.state["step"])


def place(folder: Path, step: int) -> Path:
    """Where the checkpoint of a step lies."""
    return folder / f"step-{step:08d}"


def write(folder: Path, checkpoint: Checkpoint) -> Path:
    """Write into `folder/step-N`, beside and renamed. Raises RunError when the disk is full.

    A folder that was there and has gone is not made anew: what else was in it would be missing.
    """
    if not folder.is_dir():
        raise RunError(f"{folder}: this folder has gone")
    target = place(folder, checkpoint.step)
    with replacing_folder(target) as beside:
        digests = {}
        for part in (*PARTS, AVERAGE) if checkpoint.ema else PARTS:
            tensors = {
                name: t.detach().cpu().contiguous() for name, t in getattr(checkpoint, part).items()
            }
            content = save(tensors)
            digests[f"{part}.safetensors"] = hashlib.sha256(content).hexdigest()
            (beside / f"{part}.safetensors").write_bytes(content)
        state = {"format": FORMAT, **checkpoint.state, "files": digests}
        sealed = {**state, "digest": _digest(state)}
        (beside / _STATE).write_text(json.dumps(sealed, indent=1) + "\n", encoding="utf-8")
    return target


def _digest(state: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(state, sort_keys=True).encode()).hexdigest()


def read_state(folder: Path) -> dict[str, Any]:
    """A checkpoint's state. Raises RunError, naming the folder, when it is damaged."""
    try:
        state = json.loads((folder / _STATE).read_text(encoding="utf-8"))
        sealed = state.pop("digest")
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise RunError(f"{folder}: not a whole checkpoint: {_STATE} cannot be read") from error
    if sealed != _digest(state):
        raise RunError(f"{folder}: not a whole checkpoint: {_STATE} was changed")
    if state.get("format") != FORMAT:
        raise RunError(f"{folder}: a checkpoint of another version of resnetc")
    found: dict[str, Any] = state
    return found


def read(folder: Path) -> Checkpoint:
    """A whole checkpoint. Raises RunError, naming what is damaged."""
    state = read_state(folder)
    averaged = f"{AVERAGE}.safetensors" in state.get("files", {})
    wanted = (*PARTS, AVERAGE) if averaged else PARTS
    parts = {part: _read_part(folder / f"{part}.safetensors", state) for part in wanted}
    return Checkpoint(state=state, **parts)


def _read_part(path: Path, state: dict[str, Any]) -> dict[str, Tensor]:
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise RunError(f"{path}: missing from its checkpoint") from error
    if digest != state.get("files", {}).get(path.name):
        raise RunError(f"{path}: truncated or damaged")
    try:
        tensors: dict[str, Tensor] = load_file(path)
    except safetensors.SafetensorError as error:
        raise RunError(f"{path}: not a safetensors file: {error}") from error
    return tensors


def found(folder: Path) -> list[Path]:
    """The checkpoints in a folder, newest first, whole or not."""
    return sorted(folder.glob("step-*"), reverse=True)


def newest(folder: Path, warn: Callable[[str], None]) -> Checkpoint | None:
    """The newest whole checkpoint, None where there is none at all.

    A damaged one is passed over with a warning; RunError when all of them are damaged.
    """
    damaged: list[RunError] = []
    for path in found(folder):
        try:
            checkpoint = read(path)
        except RunError as error:
            damaged.append(error)
            continue
        for passed in damaged:
            warn(f"{passed}; going on from the checkpoint before it")
        return checkpoint
    if damaged:
        raise RunError(f"{damaged[0]}; there is no whole checkpoint to go on from")
    return None


def best(folder: Path) -> Path | None:
    """The checkpoint with the lowest error when it was evaluated, the newest of equals."""
    errors = {path: _error(path) for path in found(folder)}
    judged = {path: error for path, error in errors.items() if error is not None}
    return min(judged, key=lambda path: judged[path]) if judged else None


def _error(path: Path) -> float | None:
    with contextlib.suppress(RunError):
        error = read_state(path).get("error")
        return None if error is None else float(error)
    return None


def prune(folder: Path, keep: int) -> None:
    """Remove all but the newest `keep` checkpoints and the best, and what a kill left behind."""
    kept = {*found(folder)[:keep], best(folder)}
    _remove(path for path in found(folder) if path not in kept)
    _remove(folder.glob(".step-*"))


def _remove(folders: Iterable[Path]) -> None:
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
