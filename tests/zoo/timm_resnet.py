"""timm's resnet.py, the networks that it builds of other units, and senet.py before it."""

from __future__ import annotations

import functools
from typing import Any

from zoo.reference import Reference
from zoo.timm import classifier, reference

# By what is new in them; names of torchvision's networks are torchvision's.
_RESNET = """
    resnet26 resnet50_gn resnet50c resnet50s
    resnet18d resnet34d resnet26d resnet50d
    resnet10t resnet14t resnet26t resnet50t
    resnext50d_32x4d
    seresnet18 seresnet34 seresnet50 seresnet50t
    seresnext26d_32x4d seresnext26t_32x4d seresnext50_32x4d
    ecaresnet26t ecaresnet50t ecaresnet50d ecaresnetlight
    ecaresnext26t_32x4d ecaresnext50t_32x4d
    resnetblur18 resnetblur50 resnetblur50d
    resnetaa34d resnetaa50 resnetaa50d seresnetaa50d
    resnetrs50
    ecaresnet50d_pruned ecaresnet101d_pruned
"""
_RES2NET = """
    res2net50_26w_4s res2net50_26w_6s res2net50_26w_8s res2net50_48w_2s res2net50_14w_8s
    res2next50 res2net50d
"""
_RESNEST = "resnest14d resnest26d resnest50d resnest50d_4s2x40d resnest50d_1s4x24d"
_SKNET = "skresnet18 skresnet34 skresnet50 skresnet50d skresnext50_32x4d"

_LEGACY = """
    legacy_seresnet18 legacy_seresnet34 legacy_seresnet50
    legacy_seresnext26_32x4d legacy_seresnext50_32x4d
"""

_SLOW = """
    resnet200 resnet101c resnet152c resnet101s resnet152s resnet101d resnet152d resnet200d
    resnext101_32x4d resnext101_32x16d resnext101_32x32d
    seresnet101 seresnet152 seresnet152d seresnet200d seresnet269d
    seresnext101_32x4d seresnext101_32x8d seresnext101_64x4d seresnext101d_32x8d senet154
    ecaresnet101d ecaresnet200d ecaresnet269d
    resnetblur101d resnetaa101d seresnextaa101d_32x8d seresnextaa201d_32x8d
    resnetrs101 resnetrs152 resnetrs200 resnetrs270 resnetrs350 resnetrs420
    res2net101_26w_4s res2net101d
    resnest101e resnest200e resnest269e
"""

_SLOW_LEGACY = """
    legacy_seresnet101 legacy_seresnet152 legacy_seresnext101_32x4d legacy_senet154
"""


def _legacy(name: str, **fields: Any) -> Reference:
    """A network that drops features before its classifier, by a function that cannot be watched."""
    build = functools.partial(classifier, name, drop_rate=0.0)
    return Reference(f"timm {name}", build, settings={"drop": "0%"}, **fields)


REFERENCES: dict[str, Reference] = {
    **{name: reference(name) for name in _RESNET.split()},
    # All convolutions of a unit are registered before all of its norms.
    **{name: reference(name, same_order=False) for name in _RES2NET.split()},
    **{name: reference(name) for name in _RESNEST.split()},
    **{name: reference(name) for name in _SKNET.split()},
    **{name: _legacy(name) for name in _LEGACY.split()},
    **{name: _legacy(name, slow=True) for name in _SLOW_LEGACY.split()},
    **{
        name: reference(name, slow=True, same_order="res2net" not in name) for name in _SLOW.split()
    },
}
