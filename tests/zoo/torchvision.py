"""torchvision's convolutional classifiers."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any
from unittest import mock

from zoo.reference import Reference

if TYPE_CHECKING:
    from torch import nn

NOT_CONVOLUTIONAL = ("maxvit_", "swin_", "vit_")
"""How the names of torchvision's other classifiers begin: they attend, and do not only convolve."""


def classifier(name: str, **arguments: Any) -> nn.Module:
    """torchvision's module of this name, untrained."""
    import torchvision

    made: nn.Module = torchvision.models.get_model(name, **arguments)
    return made


def regnet(name: str) -> nn.Module:
    """A RegNet, whose widths torchvision computes with tensors, which must have numbers."""
    import torch
    from torchvision.models.regnet import BlockParams

    computed = BlockParams.from_init_params

    def on_cpu(*args: Any, **kwargs: Any) -> BlockParams:
        with torch.device("cpu"):
            return computed(*args, **kwargs)

    with mock.patch.object(BlockParams, "from_init_params", on_cpu):
        return classifier(name)


def _reference(name: str, **fields: Any) -> Reference:
    build = functools.partial(regnet if name.startswith("regnet") else classifier, name)
    return Reference(f"torchvision {name}", build, **fields)


def _with_side_heads(
    name: str, side: int, heads: dict[str, str], same_order: bool, **arguments: bool
) -> Reference:
    build = functools.partial(classifier, name, init_weights=False, **arguments)
    return Reference(
        f"torchvision {name}",
        build,
        side=side,
        network=name,
        settings={key: str(value).lower() for key, value in arguments.items()},
        returns={"logits": "logits", **heads},
        same_order=same_order,
    )


# Its heads are registered behind the trunk.
_googlenet = functools.partial(
    _with_side_heads,
    "googlenet",
    65,
    {"aux1": "aux_logits1", "aux2": "aux_logits2"},
    same_order=False,
)
# Its head convolves with 5x5 without padding, for which smaller images do not suffice.
_inception_v3 = functools.partial(
    _with_side_heads, "inception_v3", 299, {"AuxLogits": "aux_logits"}, same_order=True
)

_NAMES = """
    alexnet
    densenet121 densenet161 densenet169 densenet201
    efficientnet_b0 efficientnet_b1 efficientnet_b2 efficientnet_b3
    efficientnet_b4
    mnasnet0_5 mnasnet0_75 mnasnet1_0 mnasnet1_3
    mobilenet_v2 mobilenet_v3_large mobilenet_v3_small
    regnet_x_400mf regnet_x_800mf regnet_x_1_6gf regnet_x_3_2gf regnet_x_8gf
    regnet_y_400mf regnet_y_800mf regnet_y_1_6gf regnet_y_3_2gf regnet_y_8gf
    resnet18 resnet34 resnet50 resnet101
    resnext50_32x4d wide_resnet50_2
    shufflenet_v2_x0_5 shufflenet_v2_x1_0 shufflenet_v2_x1_5 shufflenet_v2_x2_0
    squeezenet1_0 squeezenet1_1
    vgg11 vgg11_bn
"""
_SLOW = """
    efficientnet_b5 efficientnet_b6 efficientnet_b7
    efficientnet_v2_s efficientnet_v2_m efficientnet_v2_l
    regnet_x_16gf regnet_x_32gf regnet_y_16gf regnet_y_32gf regnet_y_128gf
    resnet152 resnext101_32x8d resnext101_64x4d wide_resnet101_2
    vgg13 vgg16 vgg19 vgg13_bn vgg16_bn vgg19_bn
"""
# A unit's scale is a parameter of its own, which torch lists before those of its layers.
_CONVNEXT = "convnext_tiny"
_CONVNEXT_SLOW = "convnext_small convnext_base convnext_large"

REFERENCES: dict[str, Reference] = {
    **{name: _reference(name) for name in _NAMES.split()},
    **{name: _reference(name, slow=True) for name in _SLOW.split()},
    **{name: _reference(name, same_order=False) for name in _CONVNEXT.split()},
    **{name: _reference(name, same_order=False, slow=True) for name in _CONVNEXT_SLOW.split()},
    "googlenet": _googlenet(),
    "googlenet-transform_input": _googlenet(transform_input=True),
    "inception_v3": _inception_v3(),
    "inception_v3-transform_input": _inception_v3(transform_input=True),
}
