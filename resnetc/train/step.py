"""One step of training: forward, loss, backward, update, sums, average. None is waited for.

The host decides first (`Step.begin`), then the device works (`Step.work`). What the device does is
told by tensors and by the few decisions of a `Moment`, so that it can be recorded and replayed.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from resnetc.recipes import Recipe
from resnetc.train.averaging import Due
from resnetc.train.evaluation import Mode
from resnetc.train.mixing import Targets, mixed
from resnetc.train.optimizer import set_lr
from resnetc.train.processes import World
from resnetc.train.resizing import resized, size_at
from resnetc.train.state import State


@dataclass(frozen=True)
class Moment:
    """What the host decides of a step, beside the rate: the images' height and width, and what
    becomes of the average."""

    size: tuple[int, int]
    average: Due


@dataclass
class Step:
    """Takes a state from one step boundary to the next, a batch at a time.

    `parallel` is the state's module, or what averages its gradients over all processes. Images come
    in `size`; a recipe may resize them. `seed` and the recipe decide what is drawn once a batch;
    `iterations` is the length of the run. A batch goes through the network in `accumulate` equal
    parts, one after the other, and is one step nevertheless.
    """

    state: State
    parallel: nn.Module
    mode: Mode
    recipe: Recipe
    size: tuple[int, int]
    seed: int
    iterations: int
    accumulate: int = 1

    def __call__(self, images: Tensor, labels: Tensor) -> None:
        """One step by images float32 [B, C, H, W] and labels int64 [B] on the device.

        Nothing here waits for the device.
        """
        self.work(self.begin(), images, labels)
        self.end()

    def begin(self) -> Moment:
        """Decide what this step is like, and tell the optimizer its rate."""
        state, rule, size = self.state, self.recipe.resizing, self.size
        set_lr(state.optimizer, state.schedule.lr(state.step))
        if rule is not None:
            size = size_at(rule, size, state.step, self.iterations)
        if state.average is None:
            return Moment(size, "nothing")
        return Moment(size, state.average.due(state.step + 1, warming=state.schedule.warming))

    def work(self, moment: Moment, images: Tensor, labels: Tensor) -> None:
        """Everything the device has to do."""
        state = self.state
        state.optimizer.zero_grad(set_to_none=True)
        for part, targets in self._parts(resized(images, moment.size), labels):
            self._learn(part, targets)
        state.optimizer.step()
        if state.average is not None:
            state.average.take(moment.average)

    def end(self) -> None:
        """The step is done, as far as the host is concerned."""
        self.state.step += 1

    def _parts(self, images: Tensor, labels: Tensor) -> Iterator[tuple[Tensor, Targets]]:
        """The batch, blended and laid out, in as many parts as are accumulated.

        Gradients are averaged over processes while the last part is worked on, and not before.
        """
        recipe, seed, step = self.recipe, self.seed, self.state.step
        images, targets = mixed(images, labels, recipe.mix, seed, step, recipe.repeats)
        tensors = self.mode.laid_out(images), targets.labels, targets.others
        parts = list(zip(*(tensor.chunk(self.accumulate) for tensor in tensors), strict=True))
        for number, (part, main, others) in enumerate(parts, 1):
            with self._gathering() if number < len(parts) else contextlib.nullcontext():
                yield part, replace(targets, labels=main, others=others)

    def _gathering(self) -> contextlib.AbstractContextManager[None]:
        """Gradients stay with this process."""
        if isinstance(self.parallel, DistributedDataParallel):
            return self.parallel.no_sync()
        return contextlib.nullcontext()

    def _learn(self, images: Tensor, targets: Targets) -> None:
        """Forward and backward: gradients are left in the parameters, sums are added to."""
        recipe = self.recipe
        with self.mode.autocast():
            given = self.parallel(images)
        logits, *aux = given.values() if isinstance(given, dict) else (given,)
        loss = whole = targets.loss(logits.float(), recipe.label_smoothing, recipe.loss)
        for each in aux:
            other = targets.loss(each.float(), recipe.label_smoothing, recipe.loss)
            whole = whole + recipe.aux_weight * other
        if self.accumulate > 1:
            whole = whole / self.accumulate
        whole.backward()  # type: ignore[no-untyped-call]
        self.state.sums.add(loss, logits, targets.main)


_BUFFERS = (
    "forward_sync_buffers"
    if "forward_sync_buffers" in inspect.signature(DistributedDataParallel.__init__).parameters
    else "broadcast_buffers"
)
"""torch's word, since 2.15 or before, for buffers that go from process 0 to all in each forward."""


def parallel_module(module: nn.Module, world: World, device: torch.device) -> nn.Module:
    """The module itself, or one whose backward pass averages gradients over all processes."""
    if world.size == 1:
        return module
    own_buffers: dict[str, Any] = {_BUFFERS: False}
    return DistributedDataParallel(
        module,
        device_ids=[device] if device.type == "cuda" else None,
        gradient_as_bucket_view=True,
        **own_buffers,
    )
