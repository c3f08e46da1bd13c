"""A recipe: everything training needs beside the network, and the words it is written with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

from resnetc.bounds import Clash, Natural, NotNegative, Positive, ShareBelowOne
from resnetc.recipes.augmentation import (
    CenterCrop,
    Cutmix,
    DivideStd,
    HorizontalFlip,
    Mix,
    Mixup,
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
from resnetc.recipes.optimization import (
    AdamW,
    BinaryCrossEntropy,
    Cosine,
    CrossEntropy,
    Ema,
    Lamb,
    Loss,
    Optimizer,
    Plateau,
    Progressive,
    Schedule,
    Sgd,
    Step,
    Warmup,
    schedule_clashes,
)


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
    train: Positive | None = None
    val: Natural | None = None


DATA_SETS = ("digits", "fashion_mnist", "cifar10", "cifar100", "imagenet", "folder", "synthetic")


_CAFFE = Sgd()
_CROSS_ENTROPY = CrossEntropy()


@dataclass(frozen=True)
class Recipe:
    """Everything training needs beside the network.

    `augment` is applied to training images in order, `evaluate` to test images; both end with
    the network's input. Of `mix`, one is chosen for each batch. `iterations` or `epochs` says how
    long, `batch` is the global batch. With `repeats` above 1, an epoch holds that many differently
    augmented copies of each image it draws, and as many images fewer (Hoffer et al., arXiv
    1901.09335; torchvision's RASampler). `eval_every` is in iterations, 0 for once an epoch. The
    loss of each auxiliary output counts `aux_weight` times beside the network's own; 0.3 is
    GoogLeNet's (Szegedy et al. 2015, section 5).

    `norm_images` is how many images a batch norm takes its statistics from while training: 64 on
    each of the authors' GPUs for CIFAR, 32 for ImageNet. None is for all that a process works on.
    With `norm_sync` these images may lie on several processes, and None is for the whole batch.
    `precise_norm` is how many training images the statistics for evaluation are taken from when
    the training is over, as the authors did; 0 keeps the running averages.
    """

    data: DataSet | None = None
    augment: tuple[Transform, ...] = (SubtractMean(),)
    evaluate: tuple[Transform, ...] = (SubtractMean(),)
    mix: tuple[Mix, ...] = ()
    resizing: Progressive | None = None
    repeats: Positive = 1
    batch: Positive = 128
    iterations: Positive | None = None
    epochs: Positive | None = None
    optimizer: Optimizer = _CAFFE
    schedule: tuple[Schedule, ...] = ()
    loss: Loss = _CROSS_ENTROPY
    label_smoothing: ShareBelowOne = 0.0
    ema: Ema | None = None
    init: HeNormal = HeNormal()
    norm_images: Positive | None = None
    norm_sync: bool = False
    precise_norm: Natural = 0
    precision: Literal["fp32", "bf16"] = "fp32"
    eval_every: Natural = 0
    aux_weight: NotNegative = 0.3

    def clashes(self) -> Iterator[Clash]:
        if self.iterations is not None and self.epochs is not None:
            yield Clash("epochs", "`iterations` says how long", idle=True)
        yield from (Clash("schedule", why) for why in schedule_clashes(self.schedule))


WORDS: dict[str, type] = {
    record.word: record
    for record in (
        ResizeShorter,
        RandomCrop,
        CenterCrop,
        Pad,
        RandomResizedCrop,
        HorizontalFlip,
        SubtractMean,
        SubtractPixelMean,
        DivideStd,
        PcaColor,
        RandAugment,
        TrivialAugment,
        RandomErase,
        Mixup,
        Cutmix,
        Progressive,
        Sgd,
        AdamW,
        Lamb,
        CrossEntropy,
        BinaryCrossEntropy,
        Step,
        Plateau,
        Warmup,
        Cosine,
        Ema,
        HeNormal,
    )
}
