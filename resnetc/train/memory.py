"""A limit to a run's memory: what is recomputed so that every step stays below it."""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch

from resnetc.analysis.footprint import Setting
from resnetc.backends.torch.memory import Choice, Copies, StepMemory, in_units
from resnetc.backends.torch.recompute import Stretch
from resnetc.diagnostics import UsageError
from resnetc.recipes import AdamW, Lamb, Optimizer, Recipe, Sgd
from resnetc.train.evaluation import BATCH
from resnetc.train.options import TrainOptions
from resnetc.train.processes import World

if TYPE_CHECKING:
    from resnetc.driver import Network

_COPIES: Mapping[type[Optimizer], tuple[int, int]] = {
    Sgd: (1, 0),  # velocities; all is done in place
    AdamW: (2, 1),  # both moments; the root of the second
    Lamb: (2, 3),  # both moments; clipped gradients, the root, the steps
}
"""Tensors for each parameter that an optimizer keeps, and that it takes while it updates."""


@dataclass(frozen=True)
class MemoryPlan:
    """What is recomputed, how many images are judged at a time, and both in sentences."""

    stretches: tuple[Stretch, ...]
    judged_at_once: int
    notes: tuple[str, ...]


def plan_memory(
    net: Network, recipe: Recipe, device: torch.device, options: TrainOptions, world: World
) -> MemoryPlan | None:
    """How a process keeps below the limit that is asked for; None without one.

    The limit is one process's. Raises UsageError, with the least that a step can take and the
    batch that would fit, where nothing keeps below it.
    """
    limit = options.memory_limit
    if limit is None:
        return None
    images = world.share(recipe.batch) // options.parts
    kind: Literal["cpu", "cuda"] = "cuda" if device.type == "cuda" else "cpu"
    memory = StepMemory(
        net.graph,
        Setting(images, recipe.precision, kind),
        copies_of(recipe),
        # A CUDA graph, another part of the batch or another process wants them where they were.
        gradients_stay=kind == "cuda" or options.parts > 1 or world.size > 1,
    )
    choice = memory.choose(limit)
    if choice is None:
        raise UsageError(_refusal(memory, limit, world.size * options.parts))
    judged = _judged_at_once(net, memory, limit)
    stretches = tuple(memory.stretches(choice))
    return MemoryPlan(stretches, judged, tuple(_notes(memory, choice, limit, judged)))


_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Their numbers in malloc.h."""

_SMALL, _LARGE = 2**18, 2**25
"""What is freed and smaller than this is kept: under a limit, and at most without one."""


@contextlib.contextmanager
def freed_at_once(limit: int | None) -> Iterator[None]:
    """Under a limit, let memory go back to the system as soon as it is freed, where the C library
    is GNU's.

    Else that keeps pieces of up to 32 MiB for later, and a process grows by more than its tensors
    ever take. Fresh pages take a little time.
    """
    mallopt = _mallopt() if limit is not None else None
    if mallopt is None:
        yield
        return
    for threshold in (_TRIM_THRESHOLD, _MMAP_THRESHOLD):
        mallopt(threshold, _SMALL)
    try:
        yield
    finally:
        for threshold in (_TRIM_THRESHOLD, _MMAP_THRESHOLD):
            mallopt(threshold, _LARGE)


def _mallopt() -> Callable[[int, int], int] | None:
    try:
        return ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return None  # another C library


def copies_of(recipe: Recipe) -> Copies:
    """What a recipe's optimizer and average keep beside the weights."""
    kept, passing = _COPIES[type(recipe.optimizer)]
    return Copies(kept, passing, average=recipe.ema is not None)


def _judged_at_once(net: Network, memory: StepMemory, limit: int) -> int:
    """Images of a batch of an evaluation: activations die young there, but 250 are many."""
    room = limit - memory.schedule.floor
    return max(1, min(BATCH, room // net.cost.peak_inference_bytes))


def _notes(memory: StepMemory, choice: Choice, limit: int, judged: int) -> list[str]:
    at = f"of {memory.setting.batch} images at a time"
    if not choice.stretches:
        said = f"a step {at} takes {in_units(choice.peak)}, below the limit of {in_units(limit)}"
        notes = [said]
    else:
        notes = [
            f"a step {at} would take {in_units(memory.peak)}; to stay below {in_units(limit)}, "
            f"{choice.share:.0%} of the forward pass runs twice, and it takes "
            f"{in_units(choice.peak)}",
            f"recomputed: {', '.join(choice.named())}",
        ]
    if judged < BATCH:
        notes.append(f"evaluations take {judged} images at a time instead of {BATCH}")
    return notes


def _refusal(memory: StepMemory, limit: int, shares: int) -> str:
    images = memory.setting.batch
    said = (
        f"a step of {images:,} images takes at least {in_units(memory.schedule.least())}, with all "
        f"recomputed that can be; the limit is {in_units(limit)}"
    )
    fits = memory.largest_batch(limit)
    if not fits:
        return (
            f"{said}, too little for a single image: the weights and what the optimizer keeps "
            f"take {in_units(memory.schedule.floor)}"
        )
    each = f" ({fits:,} at a time)" if shares > 1 else ""
    return f"{said}. --batch {fits * shares} would fit{each}, or more parts with --accumulate"
