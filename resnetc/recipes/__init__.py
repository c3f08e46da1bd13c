"""Training recipes as data: what a `recipe` section of a spec may say.

These records are the schema. A key of a `recipe` section is a field of `Recipe`; a call in it,
such as `sgd(lr=0.1)`, is one of the records in `WORDS`, its parameters the record's fields. The
compiler checks sections against them and the trainer reads them; neither knows more than this.

Defaults are the paper's (He et al. 2015, sections 3.4 and 4.2) where the paper says one. Where it
leaves something open, the field's comment says what the default rests on.
"""

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
    Condition,
    Cosine,
    Ema,
    Plateau,
    Progressive,
    Schedule,
    Sgd,
    Step,
    Warmup,
)
from resnetc.recipes.presets import (
    PRESETS,
    SMALL_INPUT,
    default_recipe,
    digits,
    he2015_cifar,
    he2015_cifar_warmup,
    he2015_imagenet,
    torchvision_v2,
)
from resnetc.recipes.recipe import DATA_SETS, WORDS, DataSet, HeNormal, Recipe

__all__ = [
    "DATA_SETS",
    "PRESETS",
    "SMALL_INPUT",
    "WORDS",
    "CenterCrop",
    "Condition",
    "Cosine",
    "Cutmix",
    "DataSet",
    "DivideStd",
    "Ema",
    "HeNormal",
    "HorizontalFlip",
    "Mix",
    "Mixup",
    "Pad",
    "PcaColor",
    "Plateau",
    "Progressive",
    "RandAugment",
    "RandomCrop",
    "RandomErase",
    "RandomResizedCrop",
    "Recipe",
    "ResizeShorter",
    "Schedule",
    "Sgd",
    "Step",
    "SubtractMean",
    "SubtractPixelMean",
    "Transform",
    "TrivialAugment",
    "Warmup",
    "default_recipe",
    "digits",
    "he2015_cifar",
    "he2015_cifar_warmup",
    "he2015_imagenet",
    "torchvision_v2",
]
