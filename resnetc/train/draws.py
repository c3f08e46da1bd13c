"""Randomness that belongs to a sample, not to a moment.

Every draw is a hash of (seed, epoch, sample, slot), so that a sample looks the same whoever
prepares it, in whatever batch, after however many restarts. The order of an epoch is the samples
sorted by such a draw. All arithmetic is on 64-bit integers and exact on every device.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

_GOLDEN = 0x9E3779B97F4A7C15
_FIRST = 0xBF58476D1CE4E5B9
_SECOND = 0x94D049BB133111EB
_WORD = 0xFFFFFFFFFFFFFFFF

ORDER = -1
"""The slot of an epoch's order; transforms use 0 and up."""
SPLIT = -2
"""The slot that splits a training set in two."""
STEP = -4
"""The slot of draws that all samples of a step share."""


def _signed(value: int) -> int:
    """The 64-bit pattern of an integer, as torch's int64 holds it."""
    value &= _WORD
    return value - (1 << 64) if value >> 63 else value


def _shifted(bits: Tensor, by: int) -> Tensor:
    """Logical shift right; torch's own is arithmetic."""
    return (bits >> by) & ((1 << (64 - by)) - 1)


def _mix(bits: Tensor) -> Tensor:
    """The finalizer of splitmix64 (Steele, Lea, Flood 2014)."""
    bits = (bits ^ _shifted(bits, 30)) * _signed(_FIRST)
    bits = (bits ^ _shifted(bits, 27)) * _signed(_SECOND)
    return bits ^ _shifted(bits, 31)


def _mix_one(bits: int) -> int:
    """`_mix` of one number."""
    bits = ((bits ^ (bits >> 30)) * _FIRST) & _WORD
    bits = ((bits ^ (bits >> 27)) * _SECOND) & _WORD
    return bits ^ (bits >> 31)


def _sent(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor on a device; on its way to a GPU it lies in memory that needs no waiting for."""
    if device.type == "cuda" and tensor.is_cpu:
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)


@dataclass(frozen=True)
class Samples:
    """Which samples a batch holds: int64 tensors of epochs and indices, equally long.

    Where an order repeats its samples, each copy counts as an epoch of its own.
    """

    seed: int
    epochs: Tensor
    indices: Tensor

    def __len__(self) -> int:
        return len(self.indices)

    def to(self, device: torch.device) -> Samples:
        """The same on a device. The host does not wait for the copy."""
        return Samples(self.seed, _sent(self.epochs, device), _sent(self.indices, device))

    def bits(self, slot: int, part: int = 0) -> Tensor:
        """64 random bits per sample, as int64; different for every slot and part."""
        if self.indices.numel() == 1 and self.indices.is_cpu:
            return self._bits_of_one(slot * 64 + part)
        state = torch.full_like(self.indices, _signed(self.seed * _GOLDEN + 1))
        place = torch.full_like(self.indices, slot * 64 + part)
        for word in (self.epochs, self.indices, place):
            state = _mix(state + (word + 1) * _signed(_GOLDEN))
        return state

    def _bits_of_one(self, place: int) -> Tensor:
        """The same by Python's integers: a worker process prepares images one by one, and thirty
        operations of torch on one number take as long as half a photograph's decoding."""
        state = (self.seed * _GOLDEN + 1) & _WORD
        for word in (int(self.epochs), int(self.indices), place):
            state = _mix_one((state + (word + 1) * _GOLDEN) & _WORD)
        return torch.full_like(self.indices, _signed(state))

    def uniform(self, slot: int, part: int = 0) -> Tensor:
        """Float64 in [0, 1), one per sample."""
        return _shifted(self.bits(slot, part), 11).double() * 2.0**-53

    def integers(self, bound: int, slot: int, part: int = 0) -> Tensor:
        """Integers in [0, bound), one per sample."""
        return (self.uniform(slot, part) * bound).long()

    def normal(self, slot: int, count: int) -> Tensor:
        """Standard normal float64 draws, [samples, count]; by Box and Muller."""
        pairs = [(self.uniform(slot, 2 * i), self.uniform(slot, 2 * i + 1)) for i in range(count)]
        draws = [
            torch.sqrt(-2.0 * torch.log1p(-u)) * torch.cos(2.0 * math.pi * v) for u, v in pairs
        ]
        return torch.stack(draws, dim=1)


def step_random(seed: int, step: int) -> random.Random:
    """A generator of draws that all samples of a step share; the host's, so nothing waits."""
    key = Samples(seed, torch.tensor([step]), torch.tensor([0])).bits(STEP)
    return random.Random(int(key) & _WORD)


def permutation(samples: int, seed: int, epoch: int, slot: int = ORDER) -> Tensor:
    """All sample indices in the order of one epoch."""
    indices = torch.arange(samples)
    keys = Samples(seed, torch.full_like(indices, epoch), indices).bits(slot)
    return torch.argsort(keys, stable=True)


class Order:
    """Which samples each step takes: the epochs' permutations end to end, cut into batches.

    A batch may straddle two epochs, so no sample is left out and every batch is full. The state
    of the data is the number of the step.

    With `repeats`, copies of a sample follow each other, and an epoch, which is as long as ever,
    holds only the first samples of its permutation (as torchvision's RASampler).
    """

    def __init__(self, samples: int, batch: int, seed: int, repeats: int = 1) -> None:
        self.samples, self.batch, self.seed, self.repeats = samples, batch, seed, repeats
        self._permutations: dict[int, Tensor] = {}

    def epoch(self, step: int) -> float:
        """Epochs seen before a step."""
        return step * self.batch / self.samples

    def take(self, step: int, rank: int = 0, world: int = 1) -> Samples:
        """The samples of a step (from 0) that one of `world` processes works on, in order."""
        share = self.batch // world
        first = step * self.batch + rank * share
        positions = torch.arange(first, first + share)
        epochs = positions // self.samples
        places = positions % self.samples
        indices = torch.empty_like(places)
        for epoch in sorted(set(epochs.tolist())):
            here = epochs == epoch
            indices[here] = self._permutation(epoch)[places[here] // self.repeats]
        return Samples(self.seed, epochs * self.repeats + places % self.repeats, indices)

    def steps(self, first: int, last: int, rank: int = 0, world: int = 1) -> Steps:
        """The samples of the steps from `first` up to but not including `last`."""
        return Steps(self, range(first, last), rank, world)

    def _permutation(self, epoch: int) -> Tensor:
        if epoch not in self._permutations:
            self._permutations = {e: p for e, p in self._permutations.items() if e >= epoch - 1}
            self._permutations[epoch] = permutation(self.samples, self.seed, epoch)
        return self._permutations[epoch]


@dataclass(frozen=True)
class Steps(Sequence[Samples]):
    """The samples of a range of steps, made when they are asked for."""

    order: Order
    numbers: range
    rank: int
    world: int

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return Steps(self.order, self.numbers[index], self.rank, self.world)
        return self.order.take(self.numbers[index], self.rank, self.world)
