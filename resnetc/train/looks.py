"""How a test image is looked at: once, as ten crops, or whole at several sizes.

A look gives batches of images, and says how many of them belong to one image of the set; their
probabilities are averaged.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from resnetc.diagnostics import UsageError
from resnetc.recipes import (
    CenterCrop,
    Pad,
    RandomCrop,
    ResizeShorter,
    SubtractMean,
    SubtractPixelMean,
    Transform,
)
from resnetc.train.draws import Samples
from resnetc.train.evaluation import BATCH
from resnetc.train.feed import View
from resnetc.train.transforms import VALUE_TRANSFORMS, apply, as_float

_CROPS = 10
_MOVES = (ResizeShorter, CenterCrop, RandomCrop, Pad)


@dataclass(frozen=True)
class Look:
    """`view` gives `crops` images for each of the set, in batches for `batch` of the set.

    A `dense` look gives images larger than the network's input, to be run over fully
    convolutionally.
    """

    view: View
    crops: int = 1
    batch: int = BATCH
    dense: bool = False


@dataclass(frozen=True)
class TenCrops(View):
    """The four corners and the centre of each image, and their mirror images (Krizhevsky et al.
    2012, section 4.1): all of one size, [B * 10, C, H, W]."""

    size: tuple[int, int] = (0, 0)

    def prepare(self, epoch: int, index: int) -> Tensor:
        return ten_crops(super().prepare(epoch, index), self.size)

    def finish(self, images: Tensor, samples: Samples) -> Tensor:
        values = self.transforms[self.alone :]
        return as_float(apply(values, images.flatten(0, 1), samples, self.statistics))


def ten_crops(image: Tensor, size: tuple[int, int]) -> Tensor:
    """[10, C, height, width] from an image [C, H, W]: top left, top right, bottom left, bottom
    right, centre, and these mirrored. Raises UsageError where the image is too small."""
    height, width = size
    down, right = image.shape[-2] - height, image.shape[-1] - width
    if min(down, right) < 0:
        raise UsageError(
            f"cannot cut {height}x{width} from an image of {image.shape[-2]}x{image.shape[-1]}"
        )
    places = (0, 0), (0, right), (down, 0), (down, right), (down // 2, right // 2)
    crops = torch.stack([image[:, y : y + height, x : x + width] for y, x in places])
    return torch.cat([crops, crops.flip(-1)])


def ten_crop_look(seen: View, size: tuple[int, int]) -> Look:
    """Ten crops of the network's input size.

    The shorter side is resized as for the recipe's centre crop, to 256 pixels for crops of 224 in
    the paper; in that proportion where the recipe does not resize.
    """
    resizes = [t for t in seen.transforms if isinstance(t, ResizeShorter)]
    side = round(min(size) * 256 / 224)
    moves = resizes or [ResizeShorter((side, side))]
    values = _values(seen.transforms)
    view = TenCrops(
        seen.images,
        seen.adapt,
        (*moves, *values),
        seen.statistics,
        seen.seed,
        alone=len(moves),
        size=size,
    )
    return Look(view, crops=_CROPS, batch=max(1, BATCH // _CROPS))


def scale_look(seen: View, side: int) -> Look:
    """Whole images whose shorter side has `side` pixels.

    The mean image, which has one size, gives way to its mean colour.
    """
    values = tuple(
        SubtractPixelMean() if isinstance(t, SubtractMean) else t for t in _values(seen.transforms)
    )
    transforms = (ResizeShorter((side, side)), *values)
    of_one_size = seen.images.shape is not None
    view = replace(seen, transforms=transforms, alone=0 if of_one_size else 1)
    return Look(view, batch=BATCH if of_one_size else 1, dense=True)


def _values(transforms: tuple[Transform, ...]) -> tuple[Transform, ...]:
    """Those that change values; the others must be ones that a look of its own replaces."""
    for transform in transforms:
        if not isinstance(transform, (*VALUE_TRANSFORMS, *_MOVES)):
            raise UsageError(
                f"`evaluate` holds {transform.word}, which crops and scales cannot go with"
            )
    return tuple(t for t in transforms if isinstance(t, VALUE_TRANSFORMS))
