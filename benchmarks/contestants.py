"""Who takes part in `train.py`: our training step as a run takes it, and bare steps of modules."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

from cifar_resnet import CifarResNet
from resnetc.backends.torch import build_module
from resnetc.driver import load
from resnetc.recipes import HorizontalFlip, Pad, RandomCrop, Recipe, Sgd, SubtractMean, Transform
from resnetc.train.adapt import Adaptation
from resnetc.train.compiling import compile_blocks
from resnetc.train.datasets import TensorImages
from resnetc.train.draws import Order, Steps
from resnetc.train.evaluation import Mode
from resnetc.train.feed import View, Workers, batches
from resnetc.train.graphs import CudaGraphs, RecordedStep
from resnetc.train.mixing import Targets
from resnetc.train.optimizer import make_optimizer
from resnetc.train.schedule import Schedule
from resnetc.train.state import State, Sums
from resnetc.train.step import Step
from resnetc.train.transforms import Statistics

Work = Callable[[], object]


def _by_timm(name: str) -> nn.Module:
    import timm  # as long to import as torch itself

    return timm.create_model(name)


PEERS: dict[str, dict[str, Callable[[], nn.Module]]] = {
    "resnet50": {
        "torchvision": torchvision.models.resnet50,
        "timm": lambda: _by_timm("resnet50"),
    },
    "resnet152": {
        "torchvision": torchvision.models.resnet152,
        "timm": lambda: _by_timm("resnet152"),
    },
    "resnet20": {"by hand": lambda: CifarResNet(3)},
    "resnet56": {"by hand": lambda: CifarResNet(9)},
    "resnet110": {"by hand": lambda: CifarResNet(18)},
    "resnet1202": {"by hand": lambda: CifarResNet(200)},
}
_STEPS = 1 << 40
"""More than are ever taken."""


@dataclass(frozen=True)
class Setting:
    """What is trained, and where."""

    network: str
    batch: int
    device: str = "cpu"
    precision: str = "fp32"
    channels_last: bool = False

    @property
    def where(self) -> torch.device:
        return torch.device("cuda", 0) if self.device == "cuda" else torch.device(self.device)

    @property
    def mode(self) -> Mode:
        return Mode(self.where, self.precision, self.channels_last)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of an image."""
        return load(self.network).graph.inputs[0].type.shape

    def placed(self, module: nn.Module) -> nn.Module:
        """The module where and as it is trained."""
        return self.mode.placed(module).train()


def bare_step(module: nn.Module, setting: Setting) -> Work:
    """Forward, cross-entropy, backward, update; on tensors that stay where they are."""
    module, mode = setting.placed(module), setting.mode
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(setting.batch, *setting.shape, generator=generator)
    labels = torch.randint(10, (setting.batch,), generator=generator).to(mode.device)
    images = mode.laid_out(images.to(mode.device))
    optimizer = torch.optim.SGD(module.parameters(), lr=1e-3, momentum=0.9, weight_decay=1e-4)

    def step() -> Tensor:
        optimizer.zero_grad(set_to_none=True)
        with mode.autocast():
            logits = module(images)
        loss = F.cross_entropy(logits.float(), labels)
        loss.backward()
        optimizer.step()
        return loss

    return step


def captured(work: Work) -> Work:
    """The same work on the current CUDA device as one graph."""
    graphs = CudaGraphs(torch.device("cuda", 0))
    for _ in range(3):
        graphs.warm(work)
    return graphs.record(work)


@dataclass(frozen=True)
class Ours:
    """The step of `resnetc train`, with the images that it is fed."""

    step: Step
    seen: View

    @classmethod
    def of(cls, setting: Setting) -> Ours:
        graph, mode = load(setting.network).graph, setting.mode
        recipe = Recipe(optimizer=Sgd(lr=1e-3), batch=setting.batch, iterations=_STEPS)
        module = setting.placed(build_module(graph, seed=0))
        optimizer = make_optimizer(module, graph, recipe.optimizer)
        state = State(module, optimizer, Schedule(recipe), Sums.on(mode.device))
        height, width = setting.shape[1:]
        step = Step(state, module, mode, recipe, (height, width), seed=0, iterations=_STEPS)
        return cls(step, _images(setting))

    def plain(self) -> Work:
        feed = batches(self.seen, self._plan(), self.step.mode.device, Workers())
        return lambda: self.step(*next(feed))

    def compiled(self) -> Work:
        compile_blocks(self.step.state.module, _refuse)
        return self.plain()

    def recorded(self) -> Work:
        recorder = CudaGraphs(self.step.mode.device)
        recorded = RecordedStep(self.step, self.seen, recorder, _refuse)
        plan = iter(self._plan())
        return lambda: recorded(next(plan))

    def _plan(self) -> Steps:
        return Order(len(self.seen.images), self.step.recipe.batch, seed=0).steps(0, _STEPS)


def _refuse(said: str) -> None:
    """A figure of plain steps must not go by another name."""
    raise SystemExit(said)


def _images(setting: Setting) -> View:
    """Four batches of noise on the device, augmented as the paper does: for ImageNet crops of 224
    from 256, for CIFAR crops from images with a margin of 4."""
    channels, height, width = setting.shape
    room = 32 if height > 64 else 0
    moves: tuple[Transform, ...] = (RandomCrop(height), HorizontalFlip(), SubtractMean())
    if not room:
        moves = (Pad(4), *moves)
    generator = torch.Generator().manual_seed(0)
    kept = (4 * setting.batch, channels, height + room, width + room)
    pixels = torch.randint(0, 256, kept, generator=generator, dtype=torch.uint8)
    images = TensorImages(pixels, torch.arange(len(pixels)) % 10)
    mean = torch.full(setting.shape, 0.5)
    statistics = Statistics(mean, mean.mean((1, 2)), torch.ones(channels))
    return View(images, Adaptation(), moves, statistics, seed=0).on(setting.where)


# ---------------------------------------------------------------------------------------- overhead


def share_outside(setting: Setting, steps: int = 5) -> float:
    """Of our step on the CPU, the share of time that is not forward, loss, backward or update."""
    ours = Ours.of(setting)
    work = ours.plain()
    work()
    with _clocked(ours.step) as clock:
        began = time.perf_counter()
        for _ in range(steps):
            work()
        whole = time.perf_counter() - began
    return 1.0 - clock[0] / whole


@contextmanager
def _clocked(step: Step) -> Iterator[list[float]]:
    """Adds up the seconds that pass in the work itself."""
    clock = [0.0]

    def timed(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any, **named: Any) -> Any:
            began = time.perf_counter()
            try:
                return function(*given, **named)
            finally:
                clock[0] += time.perf_counter() - began

        return call

    optimizer = step.state.optimizer
    with (
        patch.object(step, "parallel", timed(step.parallel)),
        patch.object(Targets, "loss", timed(Targets.loss)),
        patch.object(Tensor, "backward", timed(Tensor.backward)),
        patch.object(optimizer, "step", timed(optimizer.step)),
    ):
        yield clock
