"""Training recipes as data: what a `recipe` section of a spec may say.

These records are the schema. A key of a `recipe` section is a field of `Recipe`; a call in it,
such as `sgd(lr=0.1)`, is one of the records in `WORDS`, its parameters the record's fields. The
compiler checks sections against them and the trainer reads them; neither knows more than this.

Defaults are the paper's (He et al. 2015, sections 3.4 and 4.2) where the paper says one. Where it
leaves something open, the field's comment says what the default rests on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal

# -------------------------------------------------------------------------------- augmentation


@dataclass(frozen=True)
class ResizeShorter:
    """Resize the shorter side to a length drawn uniformly from [low, high] pixels."""

    word: ClassVar[str] = "resize_shorter"
    size: tuple[int, int]


@dataclass(frozen=True)
class RandomCrop:
    """Cut a random square of `size` pixels."""

    word: ClassVar[str] = "random_crop"
    size: int


@dataclass(frozen=True)
class CenterCrop:
    """Cut the central square of `size` pixels."""

    word: ClassVar[str] = "center_crop"
    size: int


@dataclass(frozen=True)
class Pad:
    """Add `pixels` zeros on each side. After `subtract_mean`, the pad is the mean."""

    word: ClassVar[str] = "pad"
    pixels: int


@dataclass(frozen=True)
class HorizontalFlip:
    """Mirror left to right with probability `p`."""

    word: ClassVar[str] = "hflip"
    p: float = 0.5


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
    std: float = 0.1


Transform = (
    ResizeShorter
    | RandomCrop
    | CenterCrop
    | Pad
    | HorizontalFlip
    | SubtractMean
    | SubtractPixelMean
    | DivideStd
    | PcaColor
)

# ------------------------------------------------------------------------ optimizer and schedule


@dataclass(frozen=True)
class Sgd:
    """Stochastic gradient descent with momentum and L2 weight decay.

    `form="caffe"` puts the learning rate inside the velocity (`v = m v + lr g`), as the authors'
    code does; `form="torch"` outside. They part only after the learning rate changes.
    `decay_norm` and `decay_bias` say whether scales and shifts of norms, and biases, decay; the
    paper is silent, and the authors' Caffe decays all.
    """

    word: ClassVar[str] = "sgd"
    lr: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 1e-4
    form: Literal["caffe", "torch"] = "caffe"
    decay_norm: bool = True
    decay_bias: bool = True


@dataclass(frozen=True)
class Condition:
    """`train_error < 80%`: holds once the running mean of the metric crosses the number."""

    metric: Literal["train_error"]
    relation: Literal["<", "<=", ">", ">="]
    number: float


@dataclass(frozen=True)
class Step:
    """Multiply the learning rate by `factor` at each of these iterations."""

    word: ClassVar[str] = "step"
    factor: float = 0.1
    at: tuple[int, ...] = ()


@dataclass(frozen=True)
class Plateau:
    """Multiply the learning rate by `factor` when the validation error stops improving.

    `patience` is counted in evaluations, `threshold` in absolute error. The paper says only "when
    the error plateaus".
    """

    word: ClassVar[str] = "plateau"
    factor: float = 0.1
    patience: int = 5
    threshold: float = 0.001
    min_lr: float = 1e-5


@dataclass(frozen=True)
class Warmup:
    """Train at `lr` until a condition holds or for a number of iterations, then go on."""

    word: ClassVar[str] = "warmup"
    lr: float = 0.01
    until: Condition | None = None
    iterations: int | None = None


Schedule = Step | Plateau | Warmup


# --------------------------------------------------------------------------------------- the rest


@dataclass(frozen=True)
class HeNormal:
    """Weights from N(0, 2 / fan) (He et al., arXiv 1502.01852); biases 0.

    `fan="in"` is Caffe's default, `"out"` that of torchvision and fb.resnet.torch.
    """

    word: ClassVar[str] = "he_normal"
    fan: Literal["in", "out"] = "in"


@dataclass(frozen=True)
class DataSet:
    """A data set by name; `train` and `val` split the training set when given, in images."""

    name: str
    train: int | None = None
    val: int | None = None


DATA_SETS = ("digits", "fashion_mnist", "cifar10", "cifar100", "imagenet", "folder", "synthetic")


@dataclass(frozen=True)
class Recipe:
    """Everything training needs beside the network.

    `augment` is applied to training images in order, `evaluate` to test images; both end with
    the network's input. `iterations` or `epochs` says how long, `batch` is the global batch.
    `eval_every` is in iterations, 0 for once an epoch. The loss of each auxiliary output counts
    `aux_weight` times beside the network's own; 0.3 is GoogLeNet's (Szegedy et al. 2015, section 5).
    """

    data: DataSet | None = None
    augment: tuple[Transform, ...] = (SubtractMean(),)
    evaluate: tuple[Transform, ...] = (SubtractMean(),)
    batch: int = 128
    iterations: int | None = None
    epochs: int | None = None
    optimizer: Sgd = Sgd()
    schedule: tuple[Schedule, ...] = ()
    init: HeNormal = HeNormal()
    precision: Literal["fp32", "bf16"] = "fp32"
    eval_every: int = 0
    aux_weight: float = 0.3


WORDS: dict[str, type] = {
    record.word: record
    for record in (
        ResizeShorter,
        RandomCrop,
        CenterCrop,
        Pad,
        HorizontalFlip,
        SubtractMean,
        SubtractPixelMean,
        DivideStd,
        PcaColor,
        Sgd,
        Step,
        Plateau,
        Warmup,
        HeNormal,
    )
}


# ---------------------------------------------------------------------------------------- presets


def he2015_cifar(size: int = 32) -> Recipe:
    """Section 4.2's recipe for CIFAR-10, for square inputs of `size` pixels.

    Four pixels of padding at 32, in proportion elsewhere. ResNet-110's warm-up is not in it: the
    other depths have none.
    """
    crop = (SubtractMean(), Pad(max(1, size // 8)), RandomCrop(size), HorizontalFlip())
    return Recipe(
        data=DataSet("cifar10"),
        augment=crop,
        batch=128,
        iterations=64_000,
        schedule=(Step(at=(32_000, 48_000)),),
    )


def he2015_imagenet(size: int = 224) -> Recipe:
    """Section 3.4's recipe for ImageNet, for square inputs of `size` pixels.

    The shorter side is drawn from [256, 480] at 224, in proportion elsewhere; evaluation is the
    centre crop of shorter side 256 (figure 4).
    """
    low, high = round(size * 256 / 224), round(size * 480 / 224)
    crop = (ResizeShorter((low, high)), RandomCrop(size), HorizontalFlip())
    return Recipe(
        data=DataSet("imagenet"),
        augment=(*crop, SubtractMean(), PcaColor()),
        evaluate=(ResizeShorter((low, low)), CenterCrop(size), SubtractMean()),
        batch=256,
        iterations=600_000,
        schedule=(Plateau(),),
    )


def digits(size: int = 8) -> Recipe:
    """A recipe for the 1,437 training digits: seconds to minutes on a CPU. Not the paper's.

    The CIFAR recipe in small: shifts by an eighth of the side, no mirroring (a mirrored digit is
    another sign), 800 iterations of 64 images with the drops at one half and three quarters.
    """
    return Recipe(
        data=DataSet("digits"),
        augment=(SubtractMean(), Pad(max(1, size // 8)), RandomCrop(size)),
        batch=64,
        iterations=800,
        schedule=(Step(at=(400, 600)),),
        eval_every=100,
    )


SMALL_INPUT = 64
"""Inputs up to this many pixels a side get the CIFAR recipe where a network brings none."""


def default_recipe(size: int, data: str | None = None) -> Recipe:
    """The recipe for a network that brings none, by its input's side in pixels.

    `data` is the set's name where it is known: the digits are far too few for the paper's lengths.
    """
    if data == "digits":
        return digits(size)
    return he2015_cifar(size) if size <= SMALL_INPUT else he2015_imagenet(size)


PRESETS: dict[str, Callable[[int], Recipe]] = {
    "he2015_cifar": he2015_cifar,
    "he2015_imagenet": he2015_imagenet,
    "digits": digits,
}
"""Recipes by name; each is called with the input's side in pixels."""
