"""timm's resnetv2.py. It registers a unit's projection before all else in the unit."""

from __future__ import annotations

from zoo.reference import Reference
from zoo.timm import reference

_NAMES = """
    resnetv2_18 resnetv2_34 resnetv2_50
    resnetv2_18d resnetv2_34d resnetv2_50d resnetv2_50t resnetv2_50d_gn
    resnetv2_50x1_bit
"""
_SLOW = """
    resnetv2_101 resnetv2_152 resnetv2_101d resnetv2_152d
    resnetv2_50x3_bit resnetv2_101x1_bit resnetv2_101x3_bit resnetv2_152x2_bit resnetv2_152x4_bit
"""

REFERENCES: dict[str, Reference] = {
    **{name: reference(name, same_order=False) for name in _NAMES.split()},
    **{name: reference(name, same_order=False, slow=True) for name in _SLOW.split()},
}
