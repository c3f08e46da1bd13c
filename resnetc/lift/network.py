"""What a model is once its operators are ours: layers in order, each an op with its arrays."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from resnetc.ops import Op
from resnetc.shapes import TensorType

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Layer:
    """An op in its place; `id` is its position among the network's layers.

    `arguments` are those of the call in the language that places the op. `path` is the module path
    that its parameters have, None while there is none to be read; `place` the module it was traced
    in, "" where the model does not say. `arrays` are its parameters by the last part of their
    paths. `origin` speaks of the node in messages.
    """

    id: int
    op: Op
    inputs: tuple[int, ...]
    type: TensorType
    arguments: Mapping[str, Any] = field(default_factory=dict, compare=False)
    path: str | None = None
    place: str = ""
    origin: str = ""
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict, compare=False, repr=False)


@dataclass(frozen=True)
class Network:
    """Layers in topological order, the input first; the last one is the output."""

    name: str
    layers: tuple[Layer, ...]

    @property
    def output(self) -> Layer:
        return self.layers[-1]

    def users(self) -> Mapping[int, list[Layer]]:
        """Who reads each layer, each reader once."""
        found: dict[int, list[Layer]] = defaultdict(list)
        for layer in self.layers:
            for operand in dict.fromkeys(layer.inputs):
                found[operand].append(layer)
        return found

    def arrays(self) -> dict[str, np.ndarray]:
        """All parameters by path. Every layer that owns some has a path."""
        return {
            f"{layer.path}.{name}": array
            for layer in self.layers
            for name, array in layer.arrays.items()
        }
