"""Images for those who run a network elsewhere: arrays, as its input takes them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from resnetc.quantization import Images, Labelled
from resnetc.train.draws import Samples, permutation
from resnetc.train.feed import View, Workers, batches
from resnetc.train.judging import EvaluateOptions, Sight, open_sight
from resnetc.train.plainly import said_plainly

if TYPE_CHECKING:
    import numpy as np

    from resnetc.driver import Network

_CALIBRATION = -3
"""The slot that draws calibration images, beside those of `draws`."""


def calibration_images(net: Network, weights: Path | None, data: str | None, count: int) -> Images:
    """Training images to calibrate on, seen as in an evaluation: at most `count`, always the same.

    The network need be no classifier: nobody asks it for classes. `data` is NAME or NAME:PATH;
    without it the set is the run's that the weights are from, else the recipe's. Raises
    MissingError without the data, UsageError where network and set do not fit.
    """
    with said_plainly():
        sight = open_sight(net, weights, EvaluateOptions(data=data), judges=False)
    train = sight.data.train
    chosen = permutation(len(train), seed=0, epoch=0, slot=_CALIBRATION)[:count]
    seen = sight.view(train)

    def arrays(batch: int) -> Iterator[np.ndarray]:
        return (images for images, _ in _arrays(seen, chosen, batch))

    return Images(arrays, len(chosen), _identity(sight, "train"))


def judging_images(
    net: Network,
    weights: Path | None,
    data: str | None,
    count: int | None = None,
    *,
    judges: bool = True,
) -> Labelled:
    """Test images with their labels, the first `count` of them in a fixed shuffled order.

    Raises UsageError for a network that is no classifier of the set's classes, unless nothing
    `judges` it by the labels.
    """
    with said_plainly():
        sight = open_sight(net, weights, EvaluateOptions(data=data), judges=judges)
    test = sight.data.test
    chosen = permutation(len(test), seed=0, epoch=0, slot=_CALIBRATION)[:count]
    seen = sight.view(test)
    return Labelled(
        lambda batch: _arrays(seen, chosen, batch),
        len(chosen),
        f"{len(chosen)} test images of {sight.data.name}",
        real=sight.data.real,
    )


def _arrays(
    seen: View, indices: torch.Tensor, batch: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    parts = torch.split(indices, batch)
    plan = [Samples(0, torch.zeros_like(part), part) for part in parts]
    with said_plainly():
        for images, labels in batches(seen, plan, torch.device("cpu"), Workers()):
            yield images.contiguous().numpy(), labels.numpy()


def _identity(sight: Sight, part: str) -> str:
    """What tells two sets of images, as a network sees them, apart."""
    told = repr((sight.data.fingerprint, part, sight.transforms))
    digest = hashlib.sha256(told.encode())
    for tensor in sight.statistics.tensors().values():
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()
