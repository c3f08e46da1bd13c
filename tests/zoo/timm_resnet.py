"""timm's resnet.py, the networks that it builds of other units, and senet.py before it."""

from __future__ import annotations

from zoo.reference import Reference
from zoo.timm import reference

# Names that are torchvision's too are left to it.
_NAMES = """
    test_resnet resnet26 resnet50_gn resnet50c resnet50s
    resnet18d resnet34d resnet26d resnet50d
    resnet10t resnet14t resnet26t resnet50t
    resnext50d_32x4d
    seresnet18 seresnet34 seresnet50 seresnet50t
    seresnext26d_32x4d seresnext26t_32x4d seresnext50_32x4d
    ecaresnet26t ecaresnet50t ecaresnet50d ecaresnetlight ecaresnext26t_32x4d ecaresnext50t_32x4d
    ecaresnet50d_pruned ecaresnet101d_pruned
    resnetblur18 resnetblur50 resnetblur50d
    resnetaa34d resnetaa50 resnetaa50d seresnetaa50d
    resnetrs50
    res2net50_26w_4s res2net50_26w_6s res2net50_26w_8s res2net50_48w_2s res2net50_14w_8s
    res2net50d res2next50
    resnest14d resnest26d resnest50d resnest50d_4s2x40d resnest50d_1s4x24d
    skresnet18 skresnet34 skresnet50 skresnet50d skresnext50_32x4d
    legacy_seresnet18 legacy_seresnet34 legacy_seresnet50
    legacy_seresnext26_32x4d legacy_seresnext50_32x4d
"""
_SLOW = """
    resnet101c resnet152c resnet101s resnet152s resnet101d resnet152d resnet200 resnet200d
    resnext101_32x4d resnext101_32x16d resnext101_32x32d
    seresnet101 seresnet152 seresnet152d seresnet200d seresnet269d senet154
    seresnext101_32x4d seresnext101_32x8d seresnext101_64x4d seresnext101d_32x8d
    ecaresnet101d ecaresnet200d ecaresnet269d
    resnetblur101d resnetaa101d seresnextaa101d_32x8d seresnextaa201d_32x8d
    resnetrs101 resnetrs152 resnetrs200 resnetrs270 resnetrs350 resnetrs420
    res2net101_26w_4s res2net101d
    resnest101e resnest200e resnest269e
    legacy_seresnet101 legacy_seresnet152 legacy_seresnext101_32x4d legacy_senet154
"""


def _reference(name: str, slow: bool) -> Reference:
    # A unit of Res2Net registers all of its convolutions before all of its norms.
    return reference(name, slow=slow, same_order=not name.startswith("res2ne"))


REFERENCES: dict[str, Reference] = {
    **{name: _reference(name, slow=False) for name in _NAMES.split()},
    **{name: _reference(name, slow=True) for name in _SLOW.split()},
}
