"""What may stand in a recipe's `augment`, `evaluate` and `mix`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

from resnetc.bounds import (
    AboveZero,
    Clash,
    Interval,
    Natural,
    NotNegative,
    Positive,
    Share,
    SomeShare,
)


@dataclass(frozen=True)
class ResizeShorter:
    """Resize the shorter side to a length drawn uniformly from [low, high] pixels."""

    word: ClassVar[str] = "resize_shorter"
    size: Interval


@dataclass(frozen=True)
class RandomCrop:
    """Cut a random square of `size` pixels."""

    word: ClassVar[str] = "random_crop"
    size: Positive


@dataclass(frozen=True)
class CenterCrop:
    """Cut the central square of `size` pixels."""

    word: ClassVar[str] = "center_crop"
    size: Positive


@dataclass(frozen=True)
class Pad:
    """Add `pixels` zeros on each side. After `subtract_mean`, the pad is the mean."""

    word: ClassVar[str] = "pad"
    pixels: Natural


@dataclass(frozen=True)
class RandomResizedCrop:
    """Cut a random rectangle and resize it to a square of `size` pixels.

    Its share of the image's area is drawn from [`area`, 1], its logarithm of width to height from
    that of [`aspect`, 1 / `aspect`] (Szegedy et al. 2015, section 6; torchvision's
    RandomResizedCrop).
    """

    word: ClassVar[str] = "random_resized_crop"
    size: Positive
    area: SomeShare = 0.08
    aspect: SomeShare = 0.75


@dataclass(frozen=True)
class HorizontalFlip:
    """Mirror left to right with probability `p`."""

    word: ClassVar[str] = "hflip"
    p: Share = 0.5


@dataclass(frozen=True)
class SubtractMean:
    """Subtract the training set's mean image, one value per pixel and channel."""

    word: ClassVar[str] = "subtract_mean"


@dataclass(frozen=True)
class SubtractPixelMean:
    """Subtract the training set's mean colour, one value per channel."""

    word: ClassVar[str] = "subtract_pixel_mean"


@dataclass(frozen=True)
class DivideStd:
    """Divide by the training set's standard deviation, one value per channel. Not in the paper."""

    word: ClassVar[str] = "divide_std"


@dataclass(frozen=True)
class PcaColor:
    """Add colour noise along the principal components of the training set's colours.

    Each component's weight is drawn from N(0, std) per image, times its eigenvalue (AlexNet,
    section 4.1).
    """

    word: ClassVar[str] = "pca_color"
    std: NotNegative = 0.1


@dataclass(frozen=True)
class RandAugment:
    """`ops` random operations of one magnitude (Cubuk et al., arXiv 1909.13719).

    `form="torchvision"` has 31 levels and does each operation. `form="timm"` has 11, from 0 to 10,
    does each with probability one half, draws its level from N(`magnitude`, `std`), and its
    operations all grow stronger with the level (Wightman et al., arXiv 2110.00476, appendix).
    """

    word: ClassVar[str] = "rand_augment"
    ops: Positive = 2
    magnitude: Natural = 9
    std: NotNegative = 0.0
    form: Literal["torchvision", "timm"] = "torchvision"

    def clashes(self) -> Iterator[Clash]:
        most = 10 if self.form == "timm" else 30
        if self.magnitude > most:
            why = f"magnitude is {self.magnitude}; in {self.form}'s form it lies in [0, {most}]"
            yield Clash("magnitude", why)
        if self.std and self.form != "timm":
            yield Clash("std", 'std is part of timm\'s form: give form="timm"', idle=True)


@dataclass(frozen=True)
class TrivialAugment:
    """One random operation of a random magnitude (Mueller and Hutter, arXiv 2103.10158; wide)."""

    word: ClassVar[str] = "trivial_augment"


@dataclass(frozen=True)
class RandomErase:
    """Set a random rectangle to 0, with probability `p` (Zhong et al., arXiv 1708.04896).

    Its area is 2 % to 33 % of the image's, its width to height 0.3 to 3.3. Behind a subtraction
    of the mean, 0 is the mean.
    """

    word: ClassVar[str] = "random_erase"
    p: Share = 0.5


Transform = (
    ResizeShorter
    | RandomCrop
    | CenterCrop
    | Pad
    | RandomResizedCrop
    | HorizontalFlip
    | SubtractMean
    | SubtractPixelMean
    | DivideStd
    | PcaColor
    | RandAugment
    | TrivialAugment
    | RandomErase
)


@dataclass(frozen=True)
class Mixup:
    """Blend each image and its label with another's (Zhang et al., arXiv 1710.09412).

    The share of the first is drawn from Beta(`alpha`, `alpha`), once a batch.
    """

    word: ClassVar[str] = "mixup"
    alpha: AboveZero = 0.2


@dataclass(frozen=True)
class Cutmix:
    """Paste a rectangle of another image into each (Yun et al., arXiv 1905.04899).

    Its share of the area is 1 less a draw from Beta(`alpha`, `alpha`), once a batch; the label is
    mixed by the area that was pasted.
    """

    word: ClassVar[str] = "cutmix"
    alpha: AboveZero = 1.0


Mix = Mixup | Cutmix
