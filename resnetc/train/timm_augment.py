"""RandAugment as timm does it: operations that all grow stronger with the level.

After timm's `rand-mM-mstdS-inc1` (Wightman et al., arXiv 2110.00476, appendix). An image is
uint8 [C, H, W], C 1 or 3; what a move uncovers is grey, as there. timm works on PIL images and
chooses bilinear or bicubic by chance; here the operations are torchvision's, and moves bilinear.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable

from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as images_of

LEVELS = 10
"""The strongest level; 0 is the weakest."""
_CHANCE = 0.5
"""Of each operation that was chosen to be done."""
_GREY = 128
_BILINEAR = InterpolationMode.BILINEAR

Operation = Callable[[Tensor, float, float], Tensor]


def augmented(image: Tensor, ops: int, level: float, std: float, draw: random.Random) -> Tensor:
    """The image after `ops` operations, each chosen from all and done or not by chance.

    The level of each is drawn from N(`level`, `std`), within [0, `LEVELS`].
    """
    for operation in draw.choices(tuple(OPERATIONS.values()), k=ops):
        if draw.random() < _CHANCE:
            drawn = draw.gauss(level, std) if std else level
            strength = min(max(drawn, 0.0), LEVELS) / LEVELS
            image = operation(image, strength, draw.choice((-1.0, 1.0)))
    return image


def _auto_contrast(image: Tensor, strength: float, sign: float) -> Tensor:
    done: Tensor = images_of.autocontrast(image)
    return done


def _equalize(image: Tensor, strength: float, sign: float) -> Tensor:
    done: Tensor = images_of.equalize(image)
    return done


def _invert(image: Tensor, strength: float, sign: float) -> Tensor:
    return 255 - image


def _posterize(image: Tensor, strength: float, sign: float) -> Tensor:
    """From 4 bits kept to none."""
    bits = 4 - int(strength * 4)
    return image & (256 - (1 << (8 - bits)))


def _solarize(image: Tensor, strength: float, sign: float) -> Tensor:
    """Invert what is as bright as a threshold that falls from 256 to 0."""
    threshold = 256 - int(strength * 256)
    return (255 - image).where(image.int() >= threshold, image)


def _solarize_add(image: Tensor, strength: float, sign: float) -> Tensor:
    """Brighten the darker half by up to 110."""
    brighter = (image.int() + int(strength * 110)).clamp(max=255).to(image.dtype)
    return brighter.where(image < 128, image)


def _enhanced(by: Callable[[Tensor, float], Tensor]) -> Operation:
    """An operation whose factor leaves 1, which changes nothing, by up to 0.9 either way."""

    def enhance(image: Tensor, strength: float, sign: float) -> Tensor:
        return by(image, 1.0 + sign * 0.9 * strength)

    return enhance


def _rotate(image: Tensor, strength: float, sign: float) -> Tensor:
    """By up to 30 degrees."""
    angle = sign * 30.0 * strength
    done: Tensor = images_of.rotate(image, angle, _BILINEAR, fill=[_GREY])
    return done


def _sheared(across: bool) -> Operation:
    """An operation that slants an image, seen from its upper left corner, by up to 0.3."""

    def shear(image: Tensor, strength: float, sign: float) -> Tensor:
        slant = math.degrees(math.atan(sign * 0.3 * strength))
        slants = [slant, 0.0] if across else [0.0, slant]
        done: Tensor = images_of.affine(
            image, 0.0, [0.0, 0.0], 1.0, slants, _BILINEAR, fill=[_GREY], center=[0.0, 0.0]
        )
        return done

    return shear


def _shifted(across: bool) -> Operation:
    """An operation that moves an image by up to 0.45 of its width or height."""

    def shift(image: Tensor, strength: float, sign: float) -> Tensor:
        pixels = sign * 0.45 * strength * image.shape[-1 if across else -2]
        way = [pixels, 0.0] if across else [0.0, pixels]
        done: Tensor = images_of.affine(image, 0.0, way, 1.0, [0.0, 0.0], _BILINEAR, fill=[_GREY])
        return done

    return shift


OPERATIONS: dict[str, Operation] = {
    "AutoContrast": _auto_contrast,
    "Equalize": _equalize,
    "Invert": _invert,
    "Rotate": _rotate,
    "PosterizeIncreasing": _posterize,
    "SolarizeIncreasing": _solarize,
    "SolarizeAdd": _solarize_add,
    "ColorIncreasing": _enhanced(images_of.adjust_saturation),
    "ContrastIncreasing": _enhanced(images_of.adjust_contrast),
    "BrightnessIncreasing": _enhanced(images_of.adjust_brightness),
    "SharpnessIncreasing": _enhanced(images_of.adjust_sharpness),
    "ShearX": _sheared(across=True),
    "ShearY": _sheared(across=False),
    "TranslateXRel": _shifted(across=True),
    "TranslateYRel": _shifted(across=False),
}
"""By timm's names. Each takes the image, a strength in [0, 1], and a sign where it has two ways."""
