"""What changes while a network trains, and how it becomes a checkpoint and back."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from resnetc.backends.torch import build_module
from resnetc.backends.torch.recompute import recompute
from resnetc.train.averaging import Average
from resnetc.train.checkpoint import Checkpoint
from resnetc.train.endings import DivergedError
from resnetc.train.evaluation import Evaluation
from resnetc.train.job import Job
from resnetc.train.optimizer import load_state, make_optimizer, state_by_path
from resnetc.train.processes import World
from resnetc.train.schedule import Schedule
from resnetc.train.synced_norms import settle_norms


@dataclass
class Sums:
    """Of the training images since the last reading; all three stay on the device."""

    loss: Tensor
    right: Tensor
    images: Tensor

    @classmethod
    def on(cls, device: torch.device) -> Sums:
        loss = torch.zeros((), dtype=torch.float64, device=device)
        return cls(loss, *(torch.zeros_like(loss, dtype=torch.int64) for _ in range(2)))

    def add(self, loss: Tensor, logits: Tensor, labels: Tensor) -> None:
        """Count a batch: its mean loss, its outputs, the labels that are right."""
        self.loss += loss.detach().double() * len(labels)
        self.right += (logits.detach().argmax(1) == labels).sum()
        self.images += len(labels)

    def numbers(self) -> Tensor:
        """Loss, right answers and images as float64 [3] on the device."""
        return torch.stack([self.loss, self.right.double(), self.images.double()])

    def set(self, loss: float, right: float, images: float) -> None:
        self.loss.fill_(loss)
        self.right.fill_(int(right))
        self.images.fill_(int(images))


class Stopwatch:
    """Seconds trained, without evaluations and checkpoints: in total and since the last lap."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.total = seconds
        self._lap = 0.0
        self._since: float | None = None

    def run(self) -> None:
        self._since = time.perf_counter()

    def pause(self) -> None:
        if self._since is not None:
            passed = time.perf_counter() - self._since
            self.total, self._lap, self._since = self.total + passed, self._lap + passed, None

    def lap(self) -> float:
        """Seconds since the last lap; the watch is left paused."""
        self.pause()
        seconds, self._lap = self._lap, 0.0
        return seconds


@dataclass
class State:
    """A run at a step boundary: `step` steps are done.

    `judged` is the evaluation made at this very boundary, None at others; `train_error` the last
    reading's. `untested` are right answers and images that readings have taken off the device since
    a warm-up's condition was last tested; with `sums` they are all since then. `average` is of the
    weights, where the recipe keeps one.
    """

    module: nn.Module
    optimizer: torch.optim.Optimizer
    schedule: Schedule
    sums: Sums
    average: Average | None = None
    step: int = 0
    train_error: float | None = None
    untested: tuple[int, int] = (0, 0)
    judged: Evaluation | None = None
    watch: Stopwatch = field(default_factory=Stopwatch)

    def tensors(self) -> dict[str, Tensor]:
        """All that a step changes on the device: the tensors themselves, each by a name."""
        parts: dict[str, Mapping[str, Tensor]] = {
            "parameters": dict(self.module.named_parameters()),
            "buffers": dict(self.module.named_buffers()),
            "optimizer": state_by_path(self.module, self.optimizer),
            "average": self.average.tensors if self.average else {},
            "sums": vars(self.sums),
        }
        return {f"{part}/{name}": t for part, held in parts.items() for name, t in held.items()}


def initial_state(job: Job, seed: int, world: World, parts: int = 1) -> State:
    """A network with fresh weights, before its first step, for a process that sends its share of a
    batch through it in so many parts. Seeds torch's generators, too, from which dropout draws."""
    device = job.mode.device
    module = job.mode.placed(build_module(job.net.graph, job.recipe.init, seed))
    settle_norms(module, job.recipe, world.share(job.recipe.batch) // parts, world)
    if job.memory is not None:
        recompute(module, job.memory.stretches)
    optimizer = make_optimizer(module, job.net.graph, job.recipe.optimizer)
    average = Average(module, job.recipe.ema) if job.recipe.ema else None
    torch.manual_seed(seed + world.rank)
    return State(module, optimizer, Schedule(job.recipe), Sums.on(device), average)


def snapshot(state: State, world: World, device: torch.device, extra: dict[str, Any]) -> Checkpoint:
    """The state as a checkpoint; every process takes part. `extra` goes into state.json.

    Raises DivergedError rather than keep numbers that are not finite.
    """
    _require_finite(state, world)
    rng = {f"cpu.{i}": s for i, s in enumerate(world.gather(torch.get_rng_state()))}
    if device.type == "cuda":
        states = world.gather(torch.cuda.get_rng_state(device))
        rng |= {f"cuda.{i}": s for i, s in enumerate(states)}
    sums = [numbers.tolist() for numbers in world.gather(state.sums.numbers().cpu())]
    facts = {
        "step": state.step,
        "schedule": state.schedule.to_json(),
        "sums": sums,
        "untested": state.untested,
        "train_error": state.train_error,
        "error": state.judged.error if state.judged else None,
        "seconds": state.watch.total,
        **extra,
    }
    moments = state_by_path(state.module, state.optimizer)
    average = state.average.tensors if state.average else {}
    return Checkpoint(dict(state.module.state_dict()), moments, rng, facts, average)


def restore(state: State, checkpoint: Checkpoint, world: World, device: torch.device) -> None:
    """Put a checkpoint into a fresh state.

    Of another number of processes it goes on, too: what all had counted is process 0's then, and
    generators that were not kept begin anew.
    """
    facts, rank = checkpoint.state, world.rank
    state.module.load_state_dict(checkpoint.weights)
    load_state(state.module, state.optimizer, checkpoint.optimizer)
    if state.average is not None:
        state.average.load(checkpoint.ema)
    state.schedule.restore(facts["schedule"])
    state.step = checkpoint.step
    state.train_error = facts["train_error"]
    right, images = facts.get("untested", (0, 0))
    state.untested = (right, images)
    state.watch = Stopwatch(facts["seconds"])
    sums = facts["sums"]
    if len(sums) != world.size:
        total = [sum(column) for column in zip(*sums, strict=True)]
        sums = [total, *([[0.0, 0.0, 0.0]] * (world.size - 1))]
    state.sums.set(*sums[rank])
    if f"cpu.{rank}" in checkpoint.rng:
        torch.set_rng_state(checkpoint.rng[f"cpu.{rank}"])
    if device.type == "cuda" and f"cuda.{rank}" in checkpoint.rng:
        torch.cuda.set_rng_state(checkpoint.rng[f"cuda.{rank}"], device)


def _require_finite(state: State, world: World) -> None:
    """All processes raise where one of them has diverged, and none is left waiting."""
    moments = state_by_path(state.module, state.optimizer)
    tensors = [*state.module.state_dict().values(), *moments.values(), state.sums.loss]
    finite = torch.stack([torch.isfinite(t).all() for t in tensors]).all()
    if world.any(int(not finite)):
        raise DivergedError(state.step)


def require_finite(loss: float, step: int) -> None:
    """Raise DivergedError when a loss says that the training diverged."""
    if not math.isfinite(loss):
        raise DivergedError(step)
