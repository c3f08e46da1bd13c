"""The recipes' transforms, applied to whole batches.

An image is [batch, channels, height, width]: uint8 while it is only moved about, float32 in [0, 1]
from the first transform that changes values, and at the end. A single image of a folder is a batch
of one, so there is one implementation of every transform, and one meaning.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as images_of

from resnetc.diagnostics import UsageError
from resnetc.recipes import (
    CenterCrop,
    DivideStd,
    HorizontalFlip,
    Pad,
    PcaColor,
    RandAugment,
    RandomCrop,
    RandomErase,
    RandomResizedCrop,
    ResizeShorter,
    SubtractMean,
    SubtractPixelMean,
    Transform,
    TrivialAugment,
)
from resnetc.train.draws import Samples
from resnetc.train.timm_augment import augmented as timm_augmented

Size = tuple[int, int]

VALUE_TRANSFORMS = (SubtractMean, SubtractPixelMean, DivideStd, PcaColor)
"""Transforms that subtract, divide or add; the others work on pixels as they are."""
BY_TORCHVISION = (RandomResizedCrop, RandAugment, TrivialAugment, RandomErase)
"""Transforms that torchvision does, image by image."""

# Of RGB in [0, 1]: fb.resnet.torch, datasets/imagenet.lua and transforms.lua. Neither the ResNet
# paper nor AlexNet's prints them.
PCA_EIGENVALUES = (0.2175, 0.0188, 0.0045)
PCA_EIGENVECTORS = (  # rows are R, G, B; columns are components
    (-0.5675, 0.7192, 0.4009),
    (-0.5808, -0.0045, -0.8140),
    (-0.5836, -0.6948, 0.4203),
)


@dataclass(frozen=True)
class Statistics:
    """Of the training set's images in [0, 1], at the network's input size, float32.

    `mean` is an image [C, H, W]; `pixel_mean` and `std` are [C].
    """

    mean: Tensor
    pixel_mean: Tensor
    std: Tensor

    def to(self, device: torch.device) -> Statistics:
        return Statistics(self.mean.to(device), self.pixel_mean.to(device), self.std.to(device))

    def tensors(self) -> dict[str, Tensor]:
        return {"mean": self.mean, "pixel_mean": self.pixel_mean, "std": self.std}


def as_float(images: Tensor) -> Tensor:
    """Float32 in [0, 1] from uint8; floats pass through."""
    return images if images.is_floating_point() else images.float().div_(255.0)


def apply(
    transforms: Sequence[Transform],
    images: Tensor,
    samples: Samples,
    statistics: Statistics | None,
    first_slot: int = 0,
) -> Tensor:
    """The images after all transforms; the n-th draws from slot `first_slot + n`.

    `statistics` may be None where no transform needs them. Shapes are what `final_size` says.
    """
    for slot, transform in enumerate(transforms, first_slot):
        images = _APPLY[type(transform)](transform, images, samples, slot, statistics)
    return images


# ------------------------------------------------------------------------------- moving pixels


def _resize_shorter(
    t: ResizeShorter, images: Tensor, samples: Samples, slot: int, _: Any
) -> Tensor:
    low, high = t.size
    shorter = low if low == high else low + int(samples.integers(high - low + 1, slot)[0])
    bilinear = v2.InterpolationMode.BILINEAR
    resized: Tensor = images_of.resize(images, [shorter], interpolation=bilinear, antialias=True)
    return resized


def _random_crop(t: RandomCrop, images: Tensor, samples: Samples, slot: int, _: Any) -> Tensor:
    height, width = _roomy(images, t.size)
    tops = samples.integers(height - t.size + 1, slot, 0)
    lefts = samples.integers(width - t.size + 1, slot, 1)
    cut = _windows if images.is_cpu else _gathered
    return cut(images, tops, lefts, t.size)


def _windows(images: Tensor, tops: Tensor, lefts: Tensor, size: int) -> Tensor:
    """A square of each image, copied row by row: on the host several times as fast as a gather."""
    places = zip(images, tops.tolist(), lefts.tolist(), strict=True)
    cuts = [image[:, top : top + size, left : left + size] for image, top, left in places]
    return torch.stack(cuts)


def _gathered(images: Tensor, tops: Tensor, lefts: Tensor, size: int) -> Tensor:
    """The same as a gather over the batch: the host waits for no number of the device."""
    window = torch.arange(size, device=images.device)
    rows = (tops[:, None] + window)[:, None, :, None]
    columns = (lefts[:, None] + window)[:, None, None, :]
    batch = torch.arange(images.shape[0], device=images.device)[:, None, None, None]
    channels = torch.arange(images.shape[1], device=images.device)[None, :, None, None]
    return images[batch, channels, rows, columns]


def _center_crop(t: CenterCrop, images: Tensor, samples: Samples, slot: int, _: Any) -> Tensor:
    height, width = _roomy(images, t.size)
    top, left = (height - t.size) // 2, (width - t.size) // 2
    return images[..., top : top + t.size, left : left + t.size]


def _pad(t: Pad, images: Tensor, samples: Samples, slot: int, _: Any) -> Tensor:
    return F.pad(images, (t.pixels,) * 4)


def _flip(t: HorizontalFlip, images: Tensor, samples: Samples, slot: int, _: Any) -> Tensor:
    mirrored = samples.uniform(slot) < t.p
    return (_turned if images.is_cpu else _turned_at_once)(images, mirrored)


def _turned(images: Tensor, mirrored: Tensor) -> Tensor:
    """Only those that are mirrored are read backwards, which is what is dear on the host."""
    each = zip(images, mirrored.tolist(), strict=True)
    return torch.stack([image.flip(-1) if turn else image for image, turn in each])


def _turned_at_once(images: Tensor, mirrored: Tensor) -> Tensor:
    """The same without the host's waiting for the device."""
    return torch.where(mirrored[:, None, None, None], images.flip(-1), images)


def _roomy(images: Tensor, crop: int) -> Size:
    height, width = images.shape[-2:]
    if min(height, width) < crop:
        raise UsageError(
            f"cannot crop {crop}x{crop} from an image of {height}x{width}; resize it first"
        )
    return height, width


# ------------------------------------------------------------------------------ changing values


def _subtract_mean(
    t: SubtractMean, images: Tensor, samples: Samples, slot: int, s: Statistics
) -> Tensor:
    return as_float(images) - s.mean


def _subtract_pixel_mean(
    t: SubtractPixelMean, images: Tensor, samples: Samples, slot: int, s: Statistics
) -> Tensor:
    return as_float(images) - s.pixel_mean[:, None, None]


def _divide_std(t: DivideStd, images: Tensor, samples: Samples, slot: int, s: Statistics) -> Tensor:
    return as_float(images) / s.std[:, None, None]


@cache
def _pca(device: torch.device) -> tuple[Tensor, Tensor]:
    """Eigenvalues and eigenvectors, float64; brought to a device once, as that is waited for."""
    values = torch.tensor(PCA_EIGENVALUES, dtype=torch.float64, device=device)
    return values, torch.tensor(PCA_EIGENVECTORS, dtype=torch.float64, device=device)


def _pca_color(t: PcaColor, images: Tensor, samples: Samples, slot: int, _: Any) -> Tensor:
    """Adds `vectors @ (weights * values)` to every pixel of an image."""
    values, vectors = _pca(images.device)
    weights = samples.normal(slot, 3) * t.std
    shift = (weights * values) @ vectors.T
    return as_float(images) + shift.float()[:, :, None, None]


# ---------------------------------------------------------------------------------- by torchvision


def _one_by_one(
    transform: Callable[[Tensor], Tensor], images: Tensor, samples: Samples, slot: int
) -> Tensor:
    """A transform of torchvision's for each image, its generator seeded by the sample's draw.

    They draw from torch's global generator, which is put back as it stood.
    """
    before = torch.get_rng_state()
    done = []
    try:
        for image, bits in zip(images, samples.bits(slot).tolist(), strict=True):
            torch.default_generator.manual_seed(bits)
            done.append(transform(image))
    finally:
        torch.set_rng_state(before)
    return torch.stack(done)


def _random_resized_crop(
    t: RandomResizedCrop, images: Tensor, samples: Samples, slot: int, _: Any
) -> Tensor:
    ratio = (t.aspect, 1 / t.aspect)
    cut = v2.RandomResizedCrop((t.size, t.size), (t.area, 1.0), ratio, antialias=True)
    return _one_by_one(cut, images, samples, slot)


def _rand_augment(t: RandAugment, images: Tensor, samples: Samples, slot: int, _: Any) -> Tensor:
    if t.form == "timm":
        draws = [random.Random(bits) for bits in samples.bits(slot).tolist()]
        pairs = zip(images, draws, strict=True)
        done = [timm_augmented(image, t.ops, t.magnitude, t.std, draw) for image, draw in pairs]
        return torch.stack(done)
    return _one_by_one(v2.RandAugment(t.ops, t.magnitude), images, samples, slot)


def _trivial_augment(
    t: TrivialAugment, images: Tensor, samples: Samples, slot: int, _: Any
) -> Tensor:
    return _one_by_one(v2.TrivialAugmentWide(), images, samples, slot)


def _random_erase(t: RandomErase, images: Tensor, samples: Samples, slot: int, _: Any) -> Tensor:
    return _one_by_one(v2.RandomErasing(t.p), images, samples, slot)


_APPLY: dict[type, Callable[[Any, Tensor, Samples, int, Any], Tensor]] = {
    ResizeShorter: _resize_shorter,
    RandomCrop: _random_crop,
    CenterCrop: _center_crop,
    Pad: _pad,
    HorizontalFlip: _flip,
    SubtractMean: _subtract_mean,
    SubtractPixelMean: _subtract_pixel_mean,
    DivideStd: _divide_std,
    PcaColor: _pca_color,
    RandomResizedCrop: _random_resized_crop,
    RandAugment: _rand_augment,
    TrivialAugment: _trivial_augment,
    RandomErase: _random_erase,
}

# ------------------------------------------------------------------------------------- geometry


def size_after(transform: Transform, size: Size | None) -> Size | None:
    """The images' size after a transform; None where images differ in size."""
    if isinstance(transform, RandomCrop | CenterCrop | RandomResizedCrop):
        return transform.size, transform.size
    if isinstance(transform, ResizeShorter):
        square = size is not None and size[0] == size[1] and transform.size[0] == transform.size[1]
        return (transform.size[0], transform.size[0]) if square else None
    if isinstance(transform, Pad) and size is not None:
        return size[0] + 2 * transform.pixels, size[1] + 2 * transform.pixels
    return size


def size_made(transforms: Sequence[Transform], wanted: tuple[int, ...]) -> Size:
    """The size that images must have after the transforms.

    It is the network's input's, `wanted` = (C, H, W), but for a `random_resized_crop`, which may
    make images to train on of another.
    """
    cuts = [t.size for t in transforms if isinstance(t, RandomResizedCrop)]
    return (cuts[-1], cuts[-1]) if cuts else (wanted[1], wanted[2])


def check(transforms: Sequence[Transform], size: Size | None, wanted: tuple[int, ...]) -> None:
    """Raise UsageError unless images of `size` end as `size_made` says, for the network's input
    `wanted` = (C, H, W)."""
    channels, *rest = wanted
    made = size_made(transforms, wanted)
    values_changed = None
    for transform in transforms:
        if isinstance(transform, RandAugment | TrivialAugment) and values_changed:
            raise UsageError(
                f"`{transform.word}` works on whole colours; place it before `{values_changed}`"
            )
        if isinstance(transform, VALUE_TRANSFORMS):
            values_changed = transform.word
        if isinstance(transform, SubtractMean) and size != tuple(rest):
            raise UsageError(
                f"`subtract_mean` subtracts an image of {_by(rest)}, but images are "
                f"{_by(size)} there; place it before `pad` or after the crop"
            )
        if isinstance(transform, PcaColor) and channels != 3:
            raise UsageError("`pca_color` needs a network with three input channels")
        if isinstance(transform, RandomCrop | CenterCrop) and size and min(size) < transform.size:
            raise UsageError(
                f"`{transform.word}({transform.size})` does not fit into images of {_by(size)}"
            )
        size = size_after(transform, size)
    if size != made:
        raise UsageError(
            f"the recipe's transforms make images of {_by(size)}, the network takes {_by(made)}; "
            f"give it another size in the recipe, or override `augment` and `evaluate`"
        )


def _by(size: Sequence[int] | None) -> str:
    return "differing sizes" if size is None else "x".join(map(str, size))


def per_image_part(transforms: Sequence[Transform], size: Size | None) -> int:
    """How many leading transforms must run image by image, because sizes differ until then, or
    because torchvision has them for one image; worker processes share that work.

    `size` is that of all images, None where they differ.
    """
    alone = 0
    for i, transform in enumerate(transforms, 1):
        before, size = size, size_after(transform, size)
        if before is None or size is None or isinstance(transform, BY_TORCHVISION):
            alone = i
    return alone
