"""Optical recognition of handwritten digits: 1,797 real grey images of 8x8 pixels.

Shipped inside scikit-learn (the UCI set's test part; Alpaydin and Kaynak 1998), so it needs no
download. Every fifth image, from the first on, is a test image: 360 to test, 1,437 to train. The
images stand in the order they were collected, so both parts hold all writers.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from resnetc.diagnostics import UsageError
from resnetc.train.datasets.records import ImageData, TensorImages, Wanted, label_tensor

_LEVELS = 16
"""Values are 0 to 16: counts of dark pixels in a 4x4 window."""


def load(path: Path | None, wanted: Wanted) -> ImageData:
    """The digits; they take no path."""
    if path is not None:
        raise UsageError("the digits come with scikit-learn and take no path: --data digits")
    from sklearn.datasets import load_digits

    bunch = load_digits()
    bytes_ = np.rint(bunch.images * (255.0 / _LEVELS)).astype(np.uint8)
    images = TensorImages(torch.from_numpy(bytes_)[:, None], label_tensor(bunch.target))
    is_test = torch.arange(len(images)) % 5 == 0
    return ImageData(
        "digits",
        train=images.part((~is_test).nonzero()[:, 0]),
        test=images.part(is_test.nonzero()[:, 0]),
        classes=tuple(str(digit) for digit in range(10)),
        where="scikit-learn",
    )
