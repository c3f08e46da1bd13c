"""From a data set to batches: adapted, transformed, on the device.

A small set lies on the device as uint8 and every transform runs over the whole batch. Images of
differing sizes are read, adapted and transformed one by one in worker processes until they are of
one size; the rest of the transforms then run over the batch. Both give the same images, because
every draw belongs to its sample.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler, default_collate

from resnetc.diagnostics import InternalError, ResnetcError
from resnetc.recipes import DivideStd, SubtractMean, SubtractPixelMean, Transform
from resnetc.train.adapt import Adaptation, adaptation, fitted
from resnetc.train.datasets import Images, TensorImages
from resnetc.train.draws import Samples
from resnetc.train.transforms import (
    VALUE_TRANSFORMS,
    Statistics,
    apply,
    as_float,
    check,
    per_image_part,
)

RESIDENT_BYTES = 2 << 30
"""Tensor sets up to this size are kept on the device."""
STATISTICS_IMAGES = 10_000
"""Of larger sets of files, this many images, evenly spread, give the mean and deviation."""
_CHUNK = 250
_ALARM = 2.0
"""Seconds within which the system tells of a child's death."""


@dataclass(frozen=True)
class View:
    """Images as a network takes them: a set, how it is adapted, and a recipe's transforms.

    The first `alone` transforms run image by image.
    """

    images: Images
    adapt: Adaptation
    transforms: tuple[Transform, ...]
    statistics: Statistics | None
    seed: int
    alone: int = 0

    def prepare(self, epoch: int, index: int) -> Tensor:
        """One image after the adaptation and the transforms that must run alone: [C, H, W]."""
        samples = Samples(self.seed, torch.tensor([epoch]), torch.tensor([index]))
        image = self.adapt(self.images.image(index)[None])
        return apply(self.transforms[: self.alone], image, samples, self.statistics)[0]

    def finish(self, images: Tensor, samples: Samples) -> Tensor:
        """The network's input from prepared images: float32 [B, C, H, W]."""
        rest = self.transforms[self.alone :]
        return as_float(apply(rest, images, samples, self.statistics, first_slot=self.alone))

    def on(self, device: torch.device) -> View:
        """The same view with its statistics, and a small set's pixels, on a device."""
        statistics = None if self.statistics is None else self.statistics.to(device)
        images = self.images
        if isinstance(images, TensorImages) and not self.alone and _fits(images):
            images = TensorImages(images.pixels.to(device), images.labels.to(device))
        return replace(self, images=images, statistics=statistics)


def lies_on(seen: View, device: torch.device) -> bool:
    """Whether batches are made on a device, of images that lie there, by numbers of samples."""
    images = seen.images
    return isinstance(images, TensorImages) and not seen.alone and images.pixels.device == device


def gathered(seen: View, samples: Samples) -> tuple[Tensor, Tensor]:
    """The network's input and labels, as `batches` gives them, of samples on the device where the
    images lie. Nothing but the device is needed."""
    images = seen.images
    if not isinstance(images, TensorImages):
        raise InternalError("these images are read one by one")
    pixels, labels = images.pixels[samples.indices], images.labels[samples.indices]
    return seen.finish(seen.adapt(pixels), samples), labels


def _fits(images: TensorImages) -> bool:
    return images.pixels.numel() <= RESIDENT_BYTES


def view(
    images: Images,
    wanted: tuple[int, ...],
    transforms: Sequence[Transform],
    statistics: Statistics | None,
    seed: int = 0,
) -> View:
    """A view for a network's input (C, H, W). Raises UsageError where the transforms do not end
    there."""
    if images.shape is None:
        adapt = adaptation((3, *wanted[1:]), wanted)
        transforms, size = fitted(transforms, wanted), None
    else:
        adapt = adaptation(images.shape, wanted)
        size = (wanted[1], wanted[2])
    check(transforms, size, wanted)
    alone = per_image_part(transforms, size)
    return View(images, adapt, tuple(transforms), statistics, seed, alone)


def needs_statistics(transforms: Sequence[Transform]) -> bool:
    """Whether any of the transforms subtracts or divides by what the training set gives."""
    return any(isinstance(t, SubtractMean | SubtractPixelMean | DivideStd) for t in transforms)


# ---------------------------------------------------------------------------------------- batches


@dataclass(frozen=True)
class Workers:
    """How images that are prepared alone are prepared: worker processes, pinned memory."""

    count: int = 0
    pinned: bool = False


def batches(
    seen: View, plan: Sequence[Samples], device: torch.device, workers: Workers
) -> Iterator[tuple[Tensor, Tensor]]:
    """For each batch of the plan, the network's input float32 [B, C, H, W] and labels int64 [B].

    Raises RunError that names an image that cannot be read.
    """
    seen = seen.on(device)
    for samples, pixels, labels in _prepared(seen, plan, workers):
        there = samples.to(device)
        images = seen.finish(pixels.to(device, non_blocking=True), there)
        yield images, labels.to(device, non_blocking=True)


def _prepared(
    seen: View, plan: Sequence[Samples], workers: Workers
) -> Iterator[tuple[Samples, Tensor, Tensor]]:
    """Batches after what must happen image by image."""
    if seen.alone or not isinstance(seen.images, TensorImages):
        for samples, got in zip(plan, _read(_loader(seen, plan, workers)), strict=True):
            if isinstance(got, ResnetcError):
                raise got
            yield samples, *got
        return
    for samples in plan:
        here = samples.to(seen.images.pixels.device)
        yield here, seen.adapt(seen.images.pixels[here.indices]), seen.images.labels[here.indices]


def _loader(seen: View, plan: Sequence[Samples], workers: Workers) -> DataLoader[Any]:
    cpu = torch.device("cpu")
    statistics = None if seen.statistics is None else seen.statistics.to(cpu)
    return DataLoader(
        _Prepared(replace(seen, statistics=statistics)),
        batch_sampler=_Keys(plan),
        num_workers=workers.count,
        pin_memory=workers.pinned,
        collate_fn=_stack,
        worker_init_fn=leave_signals_to_the_parent,
        prefetch_factor=4 if workers.count else None,
        # From torch's own it would take a draw at every start, and dropout draw others after.
        generator=torch.Generator(),
    )


def _read(loader: DataLoader[Any]) -> Iterator[Any]:
    """What the loader gives. Raises torch's RuntimeError when a process that reads was killed.

    A process that is killed closes its pipes before the system tells of its death, of which torch
    speaks from a signal handler, wherever we are by then: so wait for that here.
    """
    try:
        yield from loader
    except (ConnectionError, EOFError) as error:
        time.sleep(_ALARM)
        raise RuntimeError("a DataLoader worker closed its pipe") from error


class _Keys(Sampler[list[tuple[int, int]]]):
    """The plan as a batch sampler: lists of (epoch, index)."""

    def __init__(self, plan: Sequence[Samples]) -> None:
        self._plan = plan

    def __len__(self) -> int:
        return len(self._plan)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        for samples in self._plan:
            yield list(zip(samples.epochs.tolist(), samples.indices.tolist(), strict=True))


class _Prepared(Dataset[Any]):
    """Prepared images by (epoch, index). An error is handed over as a value: torch would wrap
    what a worker raises in a traceback."""

    def __init__(self, seen: View) -> None:
        self._seen = seen

    def __getitem__(self, key: tuple[int, int]) -> tuple[Tensor, int] | ResnetcError:
        epoch, index = key
        try:
            return self._seen.prepare(epoch, index), int(self._seen.images.labels[index])
        except ResnetcError as error:
            return error


def _stack(items: list[Any]) -> tuple[Tensor, Tensor] | ResnetcError:
    for item in items:
        if isinstance(item, ResnetcError):
            return item
    images, labels = zip(*items, strict=True)
    # torch's own collating stacks a worker's images right where the other process reads them.
    return default_collate(list(images)), torch.tensor(labels)


def leave_signals_to_the_parent(worker: int) -> None:
    """Ctrl-C reaches every process of the terminal; only the parent acts on it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    torch.set_num_threads(1)


# ------------------------------------------------------------------------------------- statistics


def measure(
    images: Images, wanted: tuple[int, ...], evaluate: Sequence[Transform], workers: Workers
) -> Statistics:
    """Mean and deviation of a training set as the network would see it, before values change.

    Exact over a tensor set; over `STATISTICS_IMAGES` evenly spread images of a set of files.
    """
    moves = tuple(t for t in evaluate if not isinstance(t, VALUE_TRANSFORMS))
    seen = view(images, wanted, moves, None)
    indices = torch.arange(len(images))
    if images.shape is None and len(images) > STATISTICS_IMAGES:
        indices = torch.arange(STATISTICS_IMAGES) * len(images) // STATISTICS_IMAGES
    plan = [Samples(0, torch.zeros_like(chunk), chunk) for chunk in torch.split(indices, _CHUNK)]
    total = torch.zeros(wanted, dtype=torch.float64)
    squares = torch.zeros(wanted, dtype=torch.float64)
    for samples, prepared, _ in _prepared(seen, plan, workers):
        moved = apply(moves[seen.alone :], prepared, samples, None, first_slot=seen.alone).double()
        total += moved.sum(0)
        squares += moved.square().sum(0)
    mean = total / len(indices) / 255.0
    pixel_mean = mean.mean((1, 2))
    variance = (squares / len(indices) / 255.0**2).mean((1, 2)) - pixel_mean.square()
    return Statistics(mean.float(), pixel_mean.float(), variance.clamp(min=1e-12).sqrt().float())
