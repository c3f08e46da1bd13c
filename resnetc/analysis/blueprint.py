"""The paper's networks, built from its tables: what a network that claims to be one must match."""

from __future__ import annotations

from dataclasses import dataclass, replace

from resnetc.analysis.outline import OPTIONS, Block, Layer, Outline, Pool, Shortcut
from resnetc.shapes import Size, window_extent


@dataclass(frozen=True)
class Stage:
    """A row of Table 1: kernels and channels of a block's layers, and how often it is stacked."""

    name: str
    layers: tuple[tuple[int, int], ...]
    repeat: int


@dataclass(frozen=True)
class Blueprint:
    """What the tables say of a network, with the choices that networks are known to vary.

    `strided_layer` is the layer of a block (from 0) that halves the map; `option` the shortcuts'
    letter or "none"; `biased` says which convolutions have a bias: "none", "conv1" or "all".
    """

    image: tuple[int, int, int]
    conv1: tuple[int, int, int]
    maxpool: tuple[int, int] | None
    stages: tuple[Stage, ...]
    classes: int
    option: str
    strided_layer: int = 0
    biased: str = "none"

    @property
    def block_length(self) -> int:
        """Layers in a block."""
        return len(self.stages[0].layers)

    def outline(self) -> Outline:
        """The network in full."""
        kernel, outputs, stride = self.conv1
        channels, *image = self.image
        stem = _layer(kernel, channels, outputs, stride, (image[0], image[1]))
        size, pool = stem.map, None
        if self.maxpool is not None:
            window, step = self.maxpool
            size = _shrunk(size, window, step)
            pool = Pool((window, window), (step, step), size)
        blocks: list[Block] = []
        channels = outputs
        for number, stage in enumerate(self.stages):
            for index in range(stage.repeat):
                step = 2 if number and not index else 1
                block = self._block(stage, channels, step, size)
                blocks.append(block)
                size, channels = block.map, block.layers[-1].outputs
        return Outline(
            self.image,
            (self._with_bias(stem, first=True),),
            pool,
            tuple(blocks),
            channels,
            self.classes,
        )

    def _block(self, stage: Stage, channels: int, stride: int, size: Size) -> Block:
        layers: list[Layer] = []
        inputs, arriving = channels, size
        for place, (kernel, outputs) in enumerate(stage.layers):
            step = stride if place == self.strided_layer else 1
            layers.append(self._with_bias(_layer(kernel, inputs, outputs, step, arriving)))
            inputs, arriving = outputs, layers[-1].map
        changes = stride != 1 or channels != inputs
        shortcut = OPTIONS[self.option][changes]
        projection = None
        if shortcut is Shortcut.PROJECTION:
            projection = self._with_bias(_layer(1, channels, inputs, stride, size))
        return Block(tuple(layers), shortcut, projection)

    def _with_bias(self, layer: Layer, *, first: bool = False) -> Layer:
        bias = self.biased == "all" or (first and self.biased == "conv1")
        return replace(layer, bias=bias)


def _layer(kernel: int, inputs: int, outputs: int, stride: int, size: Size) -> Layer:
    shrunk = _shrunk(size, kernel, stride)
    return Layer((kernel, kernel), inputs, outputs, (stride, stride), shrunk)


def _shrunk(size: Size, kernel: int, stride: int) -> Size:
    height, width = (window_extent(side, kernel, stride, (kernel - 1) // 2) for side in size)
    return height, width
