"""torchvision's convolutional classifiers."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from zoo.reference import Reference

if TYPE_CHECKING:
    from torch import nn

NOT_CONVOLUTIONAL = ("vit_", "swin_", "maxvit_")
"""How the names of torchvision's other classifiers begin: attention, not convolutions."""


def classifier(name: str, **arguments: Any) -> nn.Module:
    """torchvision's module; its weights are not worth the time they take to draw."""
    import torchvision

    made: nn.Module = torchvision.models.get_model(name, **arguments)
    return made


def _reference(name: str, side: int = 65, slow: bool = False) -> Reference:
    build = functools.partial(classifier, name)
    return Reference(f"torchvision {name}", build, side=side, slow=slow)


_PLAIN = """
    resnet18 resnet34 resnet50 resnet101 resnet152
"""
_SLOW = ""

REFERENCES: dict[str, Reference] = {
    **{name: _reference(name) for name in _PLAIN.split()},
    **{name: _reference(name, slow=True) for name in _SLOW.split()},
}
