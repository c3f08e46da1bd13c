"""What the tables of timm's networks share."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from zoo.reference import Reference

if TYPE_CHECKING:
    from torch import nn


def classifier(name: str, **arguments: Any) -> nn.Module:
    """timm's module of this name, untrained."""
    import timm

    made: nn.Module = timm.create_model(name, **arguments)
    return made


def reference(name: str, **fields: Any) -> Reference:
    """What the network of this name is held against; `fields` are Reference's."""
    return Reference(f"timm {name}", functools.partial(classifier, name), **fields)


def names(module: str) -> set[str]:
    """What one file of timm's offers."""
    import timm

    return set(timm.list_models(module=module))
