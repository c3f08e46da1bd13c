"""Training steps of small networks, put together by hand."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from resnetc.backends.torch import blank_module, build_module
from resnetc.driver import Network
from resnetc.recipes import Recipe
from resnetc.train import TrainOptions, TrainResult, transforms
from resnetc.train.averaging import Average
from resnetc.train.datasets import TensorImages
from resnetc.train.evaluation import Mode
from resnetc.train.norms import group_norms
from resnetc.train.optimizer import make_optimizer
from resnetc.train.schedule import Schedule
from resnetc.train.state import State, Sums
from resnetc.train.step import Step
from resnetc.train.transforms import Statistics

QUICK = TrainOptions(
    data="digits", threads=1, progress=False, deterministic=True, device="cpu", batch=32,
    iterations=12,
)  # fmt: skip
CPU, META = torch.device("cpu"), torch.device("meta")


def fresh_state(net: Network, recipe: Recipe, device: torch.device = CPU) -> State:
    if device == META:
        module = blank_module(net.graph)
    else:
        module = build_module(net.graph, seed=0).to(device)
    if recipe.norm_images:
        group_norms(module, recipe.norm_images)
    optimizer = make_optimizer(module, net.graph, recipe.optimizer)
    average = Average(module, recipe.ema) if recipe.ema else None
    return State(module, optimizer, Schedule(recipe), Sums.on(device), average)


class Numberless(Mode):
    """Of the meta device, which has no autocast."""

    def autocast(self) -> Any:
        return contextlib.nullcontext()


def a_step(net: Network, recipe: Recipe, device: torch.device = CPU, accumulate: int = 1) -> Step:
    state, size = fresh_state(net, recipe, device), (8, 8)
    mode = (Numberless if device == META else Mode)(device, recipe.precision)
    return Step(state, state.module.train(), mode, recipe, size, 0, 100, accumulate)


def random_images(count: int = 64, channels: int = 1) -> TensorImages:
    generator = torch.Generator().manual_seed(1)
    pixels = torch.randint(0, 256, (count, channels, 8, 8), generator=generator)
    labels = torch.randint(0, 10, (count,), generator=generator)
    return TensorImages(pixels.to(torch.uint8), labels)


def plain_statistics(channels: int = 1) -> Statistics:
    return Statistics(
        torch.full((channels, 8, 8), 0.5), torch.zeros(channels), torch.ones(channels)
    )


def as_on_a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """Crops and flips by the operations of a GPU, which look at no number."""
    monkeypatch.setattr(transforms, "_windows", transforms._gathered)
    monkeypatch.setattr(transforms, "_turned", transforms._turned_at_once)


def same_weights(one: TrainResult, other: TrainResult) -> bool:
    ours, theirs = load_file(one.weights), load_file(other.weights)
    return ours.keys() == theirs.keys() and all(torch.equal(ours[n], theirs[n]) for n in ours)
