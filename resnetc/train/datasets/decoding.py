"""Image files to pixels."""

from __future__ import annotations

import io
import warnings

import numpy as np
import torch
from PIL import Image
from torch import Tensor

_JPEG = b"\xff\xd8\xff"


def decode(data: np.ndarray) -> Tensor:
    """An image file's bytes, as uint8 [3, H, W]: grey is repeated, transparency dropped.

    Raises what Pillow raises for no image, which may be anything.
    """
    pixels = _jpeg(data) if data[:3].tobytes() == _JPEG else None
    if pixels is not None:
        return pixels
    with Image.open(io.BytesIO(data.tobytes())) as file:
        colour = file if file.mode == "RGB" else file.convert("RGB")
        return torch.from_numpy(np.array(colour)).permute(2, 0, 1)


def _jpeg(data: np.ndarray) -> Tensor | None:
    """A JPEG by torchvision: the same pixels as Pillow's, since both bring libjpeg-turbo, in three
    quarters of the time, since it decodes into the tensor itself.

    None where Pillow is to say what it makes of the file. torchvision announces that it will give
    its decoders up; without them, Pillow reads everything.
    """
    try:
        from torchvision.io import ImageReadMode, decode_jpeg

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            pixels: Tensor = decode_jpeg(torch.from_numpy(data), mode=ImageReadMode.RGB)
    except (ImportError, RuntimeError):
        return None
    return pixels
