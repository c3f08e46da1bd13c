"""timm's networks that are no plain ResNets: Inception-ResNet, dual paths, CSP, RepVGG, HRNet."""

from __future__ import annotations

from zoo.reference import Reference
from zoo.timm import reference

_DUAL_PATH = "dpn48b dpn68 dpn68b dpn92"
_DUAL_PATH_SLOW = "dpn98 dpn131 dpn107"

REFERENCES: dict[str, Reference] = {
    "inception_resnet_v2": reference("inception_resnet_v2", side=96, same_order=False),
    **{name: reference(name) for name in _DUAL_PATH.split()},
    **{name: reference(name, slow=True) for name in _DUAL_PATH_SLOW.split()},
}
