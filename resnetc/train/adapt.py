"""How the images of a set are made into a network's declared input.

- Grey images are repeated to three channels; colour becomes luma (ITU-R 601) for one channel.
- Images at most a quarter smaller than the input are centred in zeros: 28x28 in 32x32.
- Others are resized, bilinear and antialiased: 8x8 to 32x32, 32x32 to 28x28.
- Images of differing sizes (folders) are resized to the input's shorter side and cropped to its
  centre, unless the recipe's transforms resize them themselves.

It happens to uint8, before the recipe's transforms.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as images_of

from resnetc.diagnostics import UsageError
from resnetc.recipes import CenterCrop, RandomResizedCrop, ResizeShorter, Transform


@dataclass(frozen=True)
class Adaptation:
    """Makes uint8 images [B, C, H, W] the input's; a field that is None changes nothing.

    `pad` is left, right, top, bottom as in torch's pad.
    """

    channels: int | None = None
    pad: tuple[int, int, int, int] | None = None
    resize: tuple[int, int] | None = None

    def __call__(self, images: Tensor) -> Tensor:
        if self.channels == 1:
            images = images_of.rgb_to_grayscale(images)
        if self.pad is not None:
            images = F.pad(images, self.pad)
        if self.resize is not None:
            bilinear = v2.InterpolationMode.BILINEAR
            images = images_of.resize(
                images, list(self.resize), interpolation=bilinear, antialias=True
            )
        if self.channels == 3:
            images = images.expand(-1, 3, -1, -1)
        return images

    def __str__(self) -> str:
        done = []
        if self.channels is not None:
            done.append("colour to grey" if self.channels == 1 else "grey repeated to 3 channels")
        if self.pad is not None:
            left, _, top, _ = self.pad
            done.append(f"padded by {top} and {left} pixels")
        if self.resize is not None:
            done.append(f"resized to {self.resize[0]}x{self.resize[1]}")
        return ", ".join(done) or "as they are"


def adaptation(source: tuple[int, ...], wanted: tuple[int, ...]) -> Adaptation:
    """From images (C, H, W) to a network's input (C, H, W). Raises UsageError where none is."""
    if len(wanted) != 3:
        raise UsageError(f"the network's input is not an image: {'x'.join(map(str, wanted))}")
    channels, height, width = source
    if channels != wanted[0] and (channels, wanted[0]) not in ((1, 3), (3, 1)):
        raise UsageError(
            f"the images have {channels} channels and the network takes {wanted[0]}; only grey "
            "and colour are made into each other"
        )
    new_channels = wanted[0] if channels != wanted[0] else None
    if (height, width) == wanted[1:]:
        return Adaptation(new_channels)
    missing = wanted[1] - height, wanted[2] - width
    if all(0 <= gap <= size // 4 for gap, size in zip(missing, (height, width), strict=True)):
        top, left = missing[0] // 2, missing[1] // 2
        return Adaptation(new_channels, pad=(left, missing[1] - left, top, missing[0] - top))
    return Adaptation(new_channels, resize=(wanted[1], wanted[2]))


def fitted(transforms: Sequence[Transform], wanted: tuple[int, ...]) -> tuple[Transform, ...]:
    """Transforms for images of differing sizes: those that resize, and others behind a
    resize and centre crop to the input's size."""
    if any(isinstance(transform, ResizeShorter | RandomResizedCrop) for transform in transforms):
        return tuple(transforms)
    side = min(wanted[1:])
    return (ResizeShorter((side, side)), CenterCrop(side), *transforms)
