"""timm's networks that are no plain ResNets: Inception-ResNet, dual paths, CSP, RepVGG, HRNet."""

from __future__ import annotations

from zoo.reference import Reference
from zoo.timm import reference

_DUAL_PATH = "dpn48b dpn68 dpn68b dpn92"
_DUAL_PATH_SLOW = "dpn98 dpn131 dpn107"
_PARTIAL = """
    darknet17 sedarknet21 darknetaa53
    cspresnet50 cspresnet50d cspresnext50 cspdarknet53
    cs3darknet_s cs3darknet_focus_s cs3sedarknet_xdw cs3se_edgenet_x
"""
_PARTIAL_SLOW = """
    darknet21 darknet53 cspresnet50w
    cs3darknet_m cs3darknet_l cs3darknet_x
    cs3darknet_focus_m cs3darknet_focus_l cs3darknet_focus_x
    cs3sedarknet_l cs3sedarknet_x cs3edgenet_x
"""

REFERENCES: dict[str, Reference] = {
    "inception_resnet_v2": reference("inception_resnet_v2", side=96, same_order=False),
    **{name: reference(name) for name in _DUAL_PATH.split()},
    **{name: reference(name, slow=True) for name in _DUAL_PATH_SLOW.split()},
    **{name: reference(name) for name in _PARTIAL.split()},
    **{name: reference(name, slow=True) for name in _PARTIAL_SLOW.split()},
}
