"""Made-up images for benchmarks: noise with random labels. Accuracy on them means nothing."""

from __future__ import annotations

from pathlib import Path

import torch

from resnetc.diagnostics import UsageError
from resnetc.train.datasets.records import ImageData, TensorImages, Wanted

_TRAIN, _TEST = 1024, 256


def load(path: Path | None, wanted: Wanted) -> ImageData:
    """1,024 images to train on and 256 to test, of the network's input and classes."""
    if path is not None:
        raise UsageError("synthetic images are made up and take no path: --data synthetic")
    generator = torch.Generator().manual_seed(0)
    parts = [
        TensorImages(
            torch.randint(
                256, (count, *wanted.input_shape), dtype=torch.uint8, generator=generator
            ),
            torch.randint(wanted.classes, (count,), generator=generator),
        )
        for count in (_TRAIN, _TEST)
    ]
    classes = tuple(f"class {i}" for i in range(wanted.classes))
    return ImageData("synthetic", parts[0], parts[1], classes, where="made up", real=False)
