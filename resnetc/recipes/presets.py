"""Recipes by name: the paper's, others that were published, and one for the digits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from resnetc.recipes.augmentation import (
    CenterCrop,
    Cutmix,
    DivideStd,
    HorizontalFlip,
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
    BinaryCrossEntropy,
    Condition,
    Cosine,
    Ema,
    Lamb,
    Plateau,
    Progressive,
    Sgd,
    Step,
    Warmup,
)
from resnetc.recipes.recipe import DataSet, HeNormal, Recipe

_NORMALISED = (SubtractPixelMean(), DivideStd())


def he2015_cifar(size: int = 32) -> Recipe:
    """Section 4.2's recipe for CIFAR-10, for square inputs of `size` pixels.

    Four pixels of padding at 32, in proportion elsewhere. ResNet-110's warm-up is not in it: the
    other depths have none. Batch norms see 64 images: 128 were shared by two GPUs.
    """
    crop = (SubtractMean(), Pad(max(1, size // 8)), RandomCrop(size), HorizontalFlip())
    return Recipe(
        data=DataSet("cifar10"),
        augment=crop,
        batch=128,
        iterations=64_000,
        schedule=(Step(at=(32_000, 48_000)),),
        norm_images=64,
    )


def he2015_cifar_warmup(size: int = 32) -> Recipe:
    """Section 4.2's recipe for ResNet-110: at 0.01 until the training error is below 80 %."""
    recipe = he2015_cifar(size)
    warmup = Warmup(lr=0.01, until=Condition("train_error", "<", 0.8))
    return replace(recipe, schedule=(warmup, *recipe.schedule))


def he2015_imagenet(size: int = 224) -> Recipe:
    """Section 3.4's recipe for ImageNet, for square inputs of `size` pixels.

    The shorter side is drawn from [256, 480] at 224, in proportion elsewhere; evaluation is the
    centre crop of shorter side 256 (figure 4). Of the authors' released models: 8 GPUs of 32
    images, and statistics for evaluation that are an average "on a sufficiently large training
    batch"; how large they do not say.
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
        norm_images=32,
        precise_norm=10_000,
    )


def torchvision_v2(size: int = 224) -> Recipe:
    """The recipe of torchvision's IMAGENET1K_V2 weights, for square inputs of `size` pixels.

    From "How to Train State-Of-The-Art Models Using TorchVision's Latest Primitives" (PyTorch
    blog, 2021): 8 GPUs of 128 images, 600 epochs, trained at 176 pixels for tests at 224. EMA's
    0.99998 is scaled by batch * every / epochs in the authors' script: 1 - 2e-5 * 1024 * 32 / 600.
    """
    crop = (RandomResizedCrop(round(size * 176 / 224)), HorizontalFlip(), TrivialAugment())
    shorter = round(size * 232 / 224)
    return Recipe(
        data=DataSet("imagenet"),
        augment=(*crop, *_NORMALISED, RandomErase(0.1)),
        evaluate=(ResizeShorter((shorter, shorter)), CenterCrop(size), *_NORMALISED),
        mix=(Mixup(0.2), Cutmix(1.0)),
        repeats=4,
        batch=1024,
        epochs=600,
        optimizer=Sgd(lr=0.5, weight_decay=2e-5, form="torch", decay_norm=False),
        schedule=(Warmup(lr=0.005, epochs=5.0, ramp=True), Cosine()),
        label_smoothing=0.1,
        ema=Ema(decay=0.9989, every=32),
        init=HeNormal("out"),
    )


def rsb_a1(size: int = 224) -> Recipe:
    """Procedure A1 of "ResNet strikes back" (Wightman et al., arXiv 2110.00476, table 2).

    600 epochs; 80.4 % for ResNet-50 there. What the table leaves open is said at `rsb_a2`.
    """
    recipe = rsb_a2(size)
    return replace(
        recipe,
        epochs=600,
        mix=(Mixup(0.2), Cutmix(1.0)),
        optimizer=replace(recipe.optimizer, weight_decay=0.01),
        label_smoothing=0.1,
    )


def rsb_a2(size: int = 224) -> Recipe:
    """Procedure A2 of "ResNet strikes back", for square inputs of `size` pixels: 300 epochs.

    From its table 2: LAMB at 0.005 for 2,048 images, 5 epochs of warm-up and a cosine, weight
    decay 0.02, RandAugment 7/0.5, mixup 0.1 and cutmix 1.0, repeated augmentation, BCE, tests at a
    crop of 0.95. The table has no numbers for these: three repeats, the threshold 0.2 and the
    warm-up from 1e-4 are from the commands that users of timm published for it (ML-Decoder's, for
    one), and scales, shifts and biases do not decay, as in timm. Its stochastic depth of 0.05
    belongs to the network.
    """
    shorter = int(size / 0.95)
    return Recipe(
        data=DataSet("imagenet"),
        augment=_rsb_augment(size, magnitude=7),
        evaluate=(ResizeShorter((shorter, shorter)), CenterCrop(size), *_NORMALISED),
        mix=(Mixup(0.1), Cutmix(1.0)),
        repeats=3,
        batch=2048,
        epochs=300,
        optimizer=Lamb(lr=0.005, weight_decay=0.02, decay_norm=False, decay_bias=False),
        schedule=(Warmup(lr=1e-4, epochs=5.0, ramp=True), Cosine(end=1e-6)),
        loss=BinaryCrossEntropy(threshold=0.2),
        init=HeNormal("out"),
        precision="bf16",
    )


def rsb_a3(size: int = 224) -> Recipe:
    """Procedure A3 of "ResNet strikes back": 100 epochs at 160 pixels, for tests at 224.

    As `rsb_a2` but for the rate of 0.008, RandAugment 6/0.5, and images that are not repeated.
    """
    recipe = rsb_a2(size)
    return replace(
        recipe,
        augment=_rsb_augment(round(size * 160 / 224), magnitude=6),
        repeats=1,
        epochs=100,
        optimizer=replace(recipe.optimizer, lr=0.008),
    )


def _rsb_augment(size: int, magnitude: int) -> tuple[Transform, ...]:
    strong = RandAugment(2, magnitude, std=0.5, form="timm")
    return RandomResizedCrop(size), HorizontalFlip(), strong, *_NORMALISED


def mosaic_mild(size: int = 224) -> Recipe:
    """MosaicML's "mild" recipe for ResNet-50 (2022), for square inputs of `size` pixels: 36 epochs,
    progressive resizing and an average of the weights.

    From `resnet/main.py` and `resnet/yamls/resnet50.yaml` of github.com/mosaicml/examples. Two
    things are not as there: the loss is cross entropy, there a binary one summed over classes; and
    weight decay goes through the velocity, there it does not: 5e-4 a step is
    5e-4 * (1 - 0.875) / 2.048 here. Its blurring before strides belongs to the network.
    """
    crop = (RandomResizedCrop(round(size * 176 / 224)), HorizontalFlip())
    shorter = round(size * 232 / 224)
    return Recipe(
        data=DataSet("imagenet"),
        augment=(*crop, *_NORMALISED),
        evaluate=(ResizeShorter((shorter, shorter)), CenterCrop(size), *_NORMALISED),
        resizing=Progressive(start=0.5, delay=0.4, settle=0.2, increment=4),
        batch=2048,
        epochs=36,
        optimizer=Sgd(lr=2.048, momentum=0.875, weight_decay=3.05e-5, form="torch"),
        schedule=(Warmup(lr=1e-4, epochs=8.0, ramp=True), Cosine()),
        label_smoothing=0.08,
        ema=Ema(decay=0.8706, every=20),  # a half-life of 100 steps
        precision="bf16",
    )


def mixup_cifar(size: int = 32) -> Recipe:
    """The recipe of "mixup" for CIFAR (Zhang et al., arXiv 1710.09412), inputs of `size` pixels.

    From its section 3.2 and `train.py` of github.com/facebookresearch/mixup-cifar10: 200 epochs of
    128 images, drops after 100 and 150, one image in a batch mixed with another by Beta(1, 1).
    """
    crop = (Pad(max(1, size // 8)), RandomCrop(size), HorizontalFlip())
    return Recipe(
        data=DataSet("cifar10"),
        augment=(*crop, *_NORMALISED),
        evaluate=_NORMALISED,
        mix=(Mixup(1.0),),
        batch=128,
        iterations=78_125,
        optimizer=Sgd(form="torch"),
        schedule=(Step(at=(39_063, 58_594)),),
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
    "he2015_cifar_warmup": he2015_cifar_warmup,
    "he2015_imagenet": he2015_imagenet,
    "torchvision_v2": torchvision_v2,
    "rsb_a1": rsb_a1,
    "rsb_a2": rsb_a2,
    "rsb_a3": rsb_a3,
    "mosaic_mild": mosaic_mild,
    "mixup_cifar": mixup_cifar,
    "digits": digits,
}
"""Recipes by name; each is called with the input's side in pixels."""
