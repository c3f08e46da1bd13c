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


_NAMES = """
    densenet121 densenet161 densenet169 densenet201
    resnet18 resnet34 resnet50 resnet101 resnet152
    resnext50_32x4d resnext101_32x8d resnext101_64x4d wide_resnet50_2 wide_resnet101_2
    squeezenet1_0 squeezenet1_1
"""

REFERENCES: dict[str, Reference] = {name: _reference(name) for name in _NAMES.split()}
