"""A residual network as the paper describes one: stem, blocks with their shortcuts, classifier.

The paper's tables and a compiled graph are both brought into this form, and compared in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import groupby

from resnetc.shapes import Size


class Shortcut(Enum):
    """What stands beside the layers of one block."""

    NOTHING = "nothing"
    IDENTITY = "identity"
    ZEROS = "zero channels"
    PROJECTION = "projection"


OPTIONS: dict[str, tuple[Shortcut, Shortcut]] = {
    "none": (Shortcut.NOTHING, Shortcut.NOTHING),
    "A": (Shortcut.IDENTITY, Shortcut.ZEROS),
    "B": (Shortcut.IDENTITY, Shortcut.PROJECTION),
    "C": (Shortcut.PROJECTION, Shortcut.PROJECTION),
}
"""The paper's letters: the shortcut where a block keeps the shape, and where it changes it."""


@dataclass(frozen=True, slots=True)
class Layer:
    """A convolution with the batch norm behind it; `map` is the size of its output."""

    kernel: Size
    inputs: int
    outputs: int
    stride: Size
    map: Size
    bias: bool = False
    norm: bool = True
    groups: int = 1

    @property
    def weights(self) -> int:
        return self.kernel[0] * self.kernel[1] * self.inputs // self.groups * self.outputs

    @property
    def macs(self) -> int:
        return self.weights * self.map[0] * self.map[1]

    @property
    def params(self) -> int:
        return self.weights + self.outputs * (self.bias + 2 * self.norm)

    def __str__(self) -> str:
        return f"{_size(self.kernel)}, {self.outputs}"

    def described(self) -> str:
        """The layer with everything that sets it apart."""
        also = [f"stride {_stride(self.stride)}"] if self.stride != (1, 1) else []
        also += [f"{self.groups} groups"] if self.groups != 1 else []
        also += ["a bias"] if self.bias else []
        also += [] if self.norm else ["no batch norm"]
        return f"{', '.join([str(self), *also])} on {self.inputs} channels => {_size(self.map)}"


@dataclass(frozen=True, slots=True)
class Pool:
    """The max pooling behind the stem."""

    kernel: Size
    stride: Size
    map: Size

    def __str__(self) -> str:
        return f"{_size(self.kernel)}, stride {_stride(self.stride)} => {_size(self.map)}"


@dataclass(frozen=True, slots=True)
class Block:
    """Layers and the shortcut beside them; `projection` is set where the shortcut is one."""

    layers: tuple[Layer, ...]
    shortcut: Shortcut = Shortcut.NOTHING
    projection: Layer | None = None
    relu_after_add: bool = True

    @property
    def map(self) -> Size:
        return self.layers[-1].map

    @property
    def changes_shape(self) -> bool:
        first, last = self.layers[0], self.layers[-1]
        return self.stride != (1, 1) or first.inputs != last.outputs

    @property
    def stride(self) -> Size:
        height = width = 1
        for layer in self.layers:
            height, width = height * layer.stride[0], width * layer.stride[1]
        return height, width


@dataclass(frozen=True, slots=True)
class Outline:
    """The whole network. `image` is the input's channels, height and width."""

    image: tuple[int, int, int]
    stem: tuple[Layer, ...]
    pool: Pool | None
    blocks: tuple[Block, ...]
    features: int
    classes: int
    classifier_bias: bool = True

    @property
    def layers(self) -> list[Layer]:
        """All convolutions, projections behind the layers of their block."""
        found = list(self.stem)
        for block in self.blocks:
            found += block.layers
            found += [block.projection] if block.projection else []
        return found

    @property
    def macs(self) -> int:
        return sum(layer.macs for layer in self.layers) + self.features * self.classes

    @property
    def params(self) -> int:
        classifier = self.classes * (self.features + self.classifier_bias)
        return sum(layer.params for layer in self.layers) + classifier

    @property
    def weighted_layers(self) -> int:
        """The number in the network's name: all layers with weights but projections."""
        return len(self.stem) + sum(len(block.layers) for block in self.blocks) + 1

    @property
    def option(self) -> str:
        """The paper's letter for the shortcuts, "none" without any, "mixed" for anything else."""
        kinds = [(block.shortcut, block.changes_shape) for block in self.blocks]
        for letter, shortcuts in OPTIONS.items():
            if all(kind is shortcuts[changes] for kind, changes in kinds):
                return letter
        return "mixed"

    @property
    def strided_layer(self) -> int | None:
        """Which layer of a block halves the map, from 0; None where blocks differ."""
        places = {
            tuple(i for i, layer in enumerate(block.layers) if layer.stride != (1, 1))
            for block in self.blocks
            if block.stride != (1, 1)
        }
        return next(iter(places))[0] if len(places) == 1 and len(min(places)) == 1 else None

    @property
    def biased(self) -> str:
        """Which convolutions have a bias: "none", "conv1", "all" or "some"."""
        with_bias = [layer.bias for layer in self.layers]
        if not any(with_bias):
            return "none"
        if all(with_bias):
            return "all"
        return "conv1" if with_bias[0] and sum(with_bias) == 1 else "some"

    def rows(self, stages: Sequence[str] = ()) -> dict[str, str]:
        """The outline in words, a row for each thing the paper says.

        Blocks with maps of one size make a stage; `stages` are what the paper calls them.
        """
        stem = "; ".join(f"{layer}, stride {_stride(layer.stride)}" for layer in self.stem)
        after = {_size(layer.map) for layer in self.stem[-1:]}
        said = {
            "input": "x".join(map(str, self.image)),
            "conv1": " => ".join([stem, *after]),
            "maxpool": str(self.pool) if self.pool else "none",
        }
        for number, (size, blocks) in enumerate(groupby(self.blocks, lambda b: b.map)):
            name = stages[number] if number < len(stages) else f"stage {number + 1}"
            said[name] = f"{_stacked(list(blocks))} => {_size(size)}"
        return said | {
            "classifier": f"average pool, {self.classes}-d fc",
            "weighted layers": str(self.weighted_layers),
            "shortcuts": self.option,
            "stride 2": self._strides(),
            "batch norm": "after every convolution"
            if all(layer.norm for layer in self.layers)
            else "not after every convolution",
            "ReLU": "after the addition"
            if all(block.relu_after_add for block in self.blocks)
            else "not after every addition",
            "conv bias": self.biased,
        }

    def _strides(self) -> str:
        if self.strided_layer is None:
            return "here and there"
        block = next(block for block in self.blocks if block.stride != (1, 1))
        layer = block.layers[self.strided_layer]
        order = ("first", "second", "third")[self.strided_layer]
        return f"on the {order} layer of a block, the {_size(layer.kernel)}"


def _stacked(blocks: list[Block]) -> str:
    """`[1x1, 64; 3x3, 64; 1x1, 256] x 3`, as the paper stacks blocks in brackets."""
    said = ["; ".join(map(str, block.layers)) for block in blocks]
    return " + ".join(f"[{text}] x {len(list(same))}" for text, same in groupby(said))


def _size(size: Size) -> str:
    return f"{size[0]}x{size[1]}"


def _stride(stride: Size) -> str:
    return str(stride[0]) if stride[0] == stride[1] else _size(stride)
