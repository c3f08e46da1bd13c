"""The folder of a run, and what makes two runs the same run.

RUN/spec.rnet, lock.json, statistics.safetensors, metrics.csv, metrics.jsonl, checkpoints/,
weights.safetensors (the trained weights), export/, report/.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import platform
import secrets
from collections.abc import Callable, Mapping
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import safetensors
import torch
from safetensors.torch import load_file, save

from resnetc import __version__
from resnetc.atomic import replacing, write_text
from resnetc.diagnostics import RunError, UsageError
from resnetc.recipes import Recipe
from resnetc.train.options import RUNS
from resnetc.train.recorded import made
from resnetc.train.transforms import Statistics

if TYPE_CHECKING:
    from resnetc.driver import Network

WEIGHTS = "weights.safetensors"
LOCK = "lock.json"
_STATISTICS = "statistics.safetensors"
_PACKAGES = ("torch", "torchvision", "numpy", "safetensors")


@dataclasses.dataclass(frozen=True)
class RunFolder:
    """Paths inside a run's folder."""

    path: Path

    @property
    def lock(self) -> Path:
        return self.path / LOCK

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def weights(self) -> Path:
        return self.path / WEIGHTS

    @property
    def board(self) -> Path:
        return self.path / "tensorboard"

    @property
    def curves(self) -> Path:
        return self.path / "report" / "curves.png"

    @property
    def summary(self) -> Path:
        return self.path / "report" / "summary.json"

    @property
    def ending(self) -> Path:
        """How the run ended last, where that was not well."""
        return self.path / "report" / "ending.json"

    def write_start(self, net: Network, lock: Mapping[str, Any], statistics: Statistics) -> None:
        """Write what is known before the first step."""
        write_text(self.lock, json.dumps(lock, indent=2) + "\n")
        for folder in (self.checkpoints, self.path / "export", self.path / "report"):
            folder.mkdir(parents=True, exist_ok=True)
        write_text(self.path / "spec.rnet", net.source_text)
        with replacing(self.path / _STATISTICS) as file:
            file.write(save(statistics.tensors()))

    def read_lock(self) -> dict[str, Any] | None:
        """What the run was started with, None where it never was."""
        if not self.lock.is_file():
            return None
        try:
            lock: dict[str, Any] = json.loads(self.lock.read_text(encoding="utf-8"))
        except ValueError as error:
            raise RunError(f"{self.lock}: not JSON: {error}") from error
        return lock

    def read_statistics(self) -> Statistics | None:
        """The statistics the run was trained with, None where none are kept."""
        path = self.path / _STATISTICS
        if not path.is_file():
            return None
        try:
            return Statistics(**load_file(path))
        except (safetensors.SafetensorError, TypeError) as error:
            raise RunError(f"{path}: truncated or damaged: {error}") from error


def choose_folder(out: Path | None, network: str, resume: bool) -> RunFolder:
    """Where a run goes or goes on.

    Without `out`, a new folder under runs/NETWORK, or with `resume` the newest one there. Raises
    UsageError rather than write into a folder that holds something else.
    """
    if out is None:
        home = RUNS / network
        earlier = sorted(p for p in home.glob("*") if (p / LOCK).is_file()) if resume else []
        stamp = datetime.now().astimezone().strftime("%Y%m%d-%H%M%S")
        return RunFolder(earlier[-1] if earlier else home / f"{stamp}-{secrets.token_hex(2)}")
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out}: a file stands where the run's folder goes")
    if out.is_dir() and any(not entry.name.startswith(".") for entry in out.iterdir()):
        if not (out / LOCK).is_file():
            raise UsageError(f"{out}: this folder holds something that is no run; choose another")
        if not resume:
            raise UsageError(
                f"{out}: a run lies here already; go on with it by --resume, or choose another "
                "folder with --out"
            )
    return RunFolder(out)


# -------------------------------------------------------------------------------------- identity


def record(value: Any) -> Any:
    """A recipe's records as JSON: each becomes its fields, with its word where it has one."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        named = {"word": value.word} if hasattr(value, "word") else {}
        fields = {f.name: record(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return {**named, **fields}
    return [record(item) for item in value] if isinstance(value, tuple) else value


def versions() -> dict[str, str]:
    """Versions of what the numbers depend on."""
    found = {name: metadata.version(name) for name in _PACKAGES}
    return {"resnetc": __version__, "python": platform.python_version(), **found}


def sha256(text: str) -> str:
    """Hexadecimal digest of a text."""
    return hashlib.sha256(text.encode()).hexdigest()


_MUST_AGREE = {
    "graph": "the network",
    "data": "the data set",
    "split": "the split of the data set",
    "seed": "the seed",
}
_SHOULD_AGREE = {
    "versions": "versions",
    "world_size": "number of processes",
    "device": "device",
    "channels_last": "memory layout",
    "deterministic": "deterministic mode",
    "accumulate": "parts that a batch is accumulated in",
    "compile": "compiled blocks",
}
_DIGESTS = ("graph", "data")
_LATER = ("split",)
"""What earlier runs did not record; it is not held against them."""
_EARLIER = {"accumulate": 1, "compile": False}
"""What runs did that could not be told otherwise."""

GONE_ON = "the checkpoint is of another run and cannot be gone on from"
_ANOTHER_OUT = "give the same request again, or start a new run with another --out"


def compare(
    before: Mapping[str, Any],
    now: Mapping[str, Any],
    warn: Callable[[str], None],
    trouble: str = GONE_ON,
    advice: str = _ANOTHER_OUT,
) -> None:
    """Hold the identity of a checkpoint, or of a run that is replayed, against this run's.

    Raises UsageError that says what changed, with both values, between `trouble` and `advice`,
    where the run would not be the same run; warns of what may change the last bits.
    """
    changes = [
        f"{what} is another: {_told(before, key)} then, {_told(now, key)} now"
        for key, what in _MUST_AGREE.items()
        if before.get(key) != now.get(key) and not (key in _LATER and key not in before)
    ]
    changes += _recipe_changes(before.get("recipe") or {}, now["recipe"])
    if changes:
        raise UsageError("\n  ".join([f"{trouble}:", *changes]) + f"\n{advice}")
    for key, what in _SHOULD_AGREE.items():
        then, today = ({**_EARLIER, **identity}.get(key) for identity in (before, now))
        if then != today:
            warn(f"{what}: {then} then, {today} now; {_consequence(key, before, now)}")


def _consequence(key: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """What may become of it that something is no longer what it was."""
    seen = [_norm_images({**_EARLIER, **identity}) for identity in (before, now)]
    if key not in ("world_size", "accumulate") or seen[0] == seen[1]:
        return "the last bits may differ"
    return (
        f"batch norms take their statistics from {seen[1]} images instead of {seen[0]}, for the "
        "recipe does not say from how many (norm_images, norm_sync)"
    )


def _norm_images(identity: Mapping[str, Any]) -> int:
    """How many images a batch norm sees at a time."""
    recipe = identity["recipe"]
    processes = 1 if recipe.get("norm_sync") else identity["world_size"]
    given: int = recipe["batch"] // identity["accumulate"] // processes
    return recipe.get("norm_images") or given


def _recipe_changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    complete = _completed(before)
    return [
        f"the recipe's {key} is another: {json.dumps(before.get(key))} then, "
        f"{json.dumps(now[key])} now"
        for key in now
        if now[key] not in (before.get(key), complete.get(key))
    ]


def _completed(recipe: Mapping[str, Any]) -> Mapping[str, Any]:
    """A recipe as an earlier version recorded it, and the fields that have come since as they are
    by default: so it was. One that cannot be read stays what it is."""
    try:
        complete: dict[str, Any] = record(made({**recipe, "data": None}, Recipe))
    except (KeyError, TypeError, ValueError, AttributeError, StopIteration):
        return recipe
    return complete


def _told(identity: Mapping[str, Any], key: str) -> str:
    """A value of an identity; a digest goes with words for what it is of, where they are kept."""
    value = identity.get(key)
    short = value[:12] if isinstance(value, str) else str(value)
    short = str(value)[:12] if key in _DIGESTS else str(value)
    about = identity.get("about", {}).get(key)
    return f"{about} [{short}]" if about else short


def describe_device(device: torch.device) -> str:
    """The device's model, for provenance."""
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    return f"cpu, {torch.get_num_threads()} threads, {platform.machine()}"
