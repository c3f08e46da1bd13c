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
_REP = "repvgg_a0 repvgg_b1g4"
_REP_SLOW = """
    repvgg_a1 repvgg_a2 repvgg_b0 repvgg_b1 repvgg_b2 repvgg_b2g4 repvgg_b3 repvgg_b3g4 repvgg_d2se
"""

# Maps of four sizes meet, so the image must halve five times; a stage's exchange is registered in
# another order than it runs.
_HIGH_RESOLUTION = "hrnet_w18_small hrnet_w18_small_v2"
_HIGH_RESOLUTION_SLOW = """
    hrnet_w18 hrnet_w30 hrnet_w32 hrnet_w40 hrnet_w44 hrnet_w48 hrnet_w64
    hrnet_w18_ssld hrnet_w48_ssld
"""

REFERENCES: dict[str, Reference] = {
    "inception_resnet_v2": reference("inception_resnet_v2", side=96, same_order=False),
    **{name: reference(name) for name in _DUAL_PATH.split()},
    **{name: reference(name, slow=True) for name in _DUAL_PATH_SLOW.split()},
    **{name: reference(name) for name in _PARTIAL.split()},
    **{name: reference(name, slow=True) for name in _PARTIAL_SLOW.split()},
    **{name: reference(name) for name in _REP.split()},
    **{name: reference(name, slow=True) for name in _REP_SLOW.split()},
    **{name: reference(name, side=64, same_order=False) for name in _HIGH_RESOLUTION.split()},
    **{
        name: reference(name, side=64, same_order=False, slow=True)
        for name in _HIGH_RESOLUTION_SLOW.split()
    },
}
