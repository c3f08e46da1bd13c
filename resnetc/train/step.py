"""One step of training: forward, loss, backward, update, sums, average. None is waited for."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from resnetc.recipes import Recipe
from resnetc.train.evaluation import Mode
from resnetc.train.mixing import Targets, mixed
from resnetc.train.optimizer import set_lr
from resnetc.train.processes import World
from resnetc.train.resizing import resized, size_at
from resnetc.train.state import State


@dataclass
class Step:
    """Takes a state from one step boundary to the next, a batch at a time.

    `parallel` is the state's module, or what averages its gradients over all processes. `seed` and
    the recipe decide what is drawn once a batch; `iterations` is the length of the run.
    """

    state: State
    parallel: nn.Module
    mode: Mode
    recipe: Recipe
    seed: int
    iterations: int

    def __call__(self, images: Tensor, labels: Tensor) -> None:
        """One step by images float32 [B, C, H, W] and labels int64 [B] on the device.

        Nothing here waits for the device.
        """
        state = self.state
        set_lr(state.optimizer, state.schedule.lr(state.step))
        warming = state.schedule.warming
        images, targets = self._given(images, labels)
        state.optimizer.zero_grad(set_to_none=True)
        self._learn(images, targets)
        state.optimizer.step()
        state.step += 1
        if state.average is not None:
            state.average.after_step(state.step, warming=warming)

    def _given(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Targets]:
        """The batch as the recipe wants it at this step: in its size, blended, laid out."""
        step, rule = self.state.step, self.recipe.resizing
        if rule is not None:
            declared = (images.shape[-2], images.shape[-1])
            images = resized(images, size_at(rule, declared, step, self.iterations))
        images, targets = mixed(images, labels, self.recipe.mix, self.seed, step)
        return self.mode.laid_out(images), targets

    def _learn(self, images: Tensor, targets: Targets) -> None:
        """Forward and backward; gradients are left in the parameters, sums are added to."""
        recipe = self.recipe
        with self.mode.autocast():
            given = self.parallel(images)
        logits, *aux = given.values() if isinstance(given, dict) else (given,)
        loss = whole = targets.loss(logits.float(), recipe.label_smoothing, recipe.loss)
        for each in aux:
            other = targets.loss(each.float(), recipe.label_smoothing, recipe.loss)
            whole = whole + recipe.aux_weight * other
        whole.backward()  # type: ignore[no-untyped-call]
        self.state.sums.add(loss, logits, targets.main)


def parallel_module(module: nn.Module, world: World, device: torch.device) -> nn.Module:
    """The module itself, or one whose backward pass averages gradients over all processes."""
    if world.size == 1:
        return module
    return nn.parallel.DistributedDataParallel(
        module,
        device_ids=[device] if device.type == "cuda" else None,
        broadcast_buffers=False,
        gradient_as_bucket_view=True,
    )
