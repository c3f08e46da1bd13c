"""Values of quantized parameters: numbers of eight bits with a scale for each output channel.

A layer reads a weight's :class:`Dequantized` value, which is what the numbers stand for; a backend
that stores the numbers themselves takes them and their scales apart.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from resnetc.ir.parameters import Value, numpy_dtype
from resnetc.shapes import DType

if TYPE_CHECKING:
    import numpy as np

    from resnetc.ir.parameters import Weights

_BIAS_LEVELS = float(2**30)
"""A bias keeps below this many of its steps, half of what an int32 holds."""


@dataclass(frozen=True, slots=True)
class Scales(Value):
    """A scale for each output channel (the first axis) of a weight: its largest magnitude is level
    `levels`.

    Where the layer's bias is to be stored in steps of `step` (the operand's scale) times these, a
    channel's scale is large enough for its bias to fit into an int32. A channel of zeros has
    scale 1. The scales are numbers of the element type `dtype`.
    """

    weight: Value
    levels: float
    dtype: DType
    bias: Value | None = None
    step: float = 1.0

    def sources(self) -> Iterator[str]:
        yield from self.weight.sources()
        if self.bias is not None:
            yield from self.bias.sources()

    def evaluate(self, weights: Weights) -> np.ndarray:
        import numpy as np

        weight = self.weight.evaluate(weights)
        rows = weight.reshape(weight.shape[0], -1)
        largest = np.maximum(rows.max(1), -rows.min(1)).astype(np.float64)
        scales = largest / self.levels
        if self.bias is not None:
            least = np.abs(self.bias.evaluate(weights)).astype(np.float64) / self.step
            scales = np.maximum(scales, least / _BIAS_LEVELS)
        scales[scales == 0] = 1.0
        kind = numpy_dtype(self.dtype)
        smallest = float(np.finfo(np.float16 if self.dtype is DType.F16 else np.float32).tiny)
        rounded: np.ndarray = np.maximum(scales, smallest).astype(kind)
        return rounded


@dataclass(frozen=True, slots=True)
class BiasScales(Value):
    """The scales in which int32 biases count: those of the weight, times the operand's scale."""

    scales: Scales

    def sources(self) -> Iterator[str]:
        yield from self.scales.sources()

    def evaluate(self, weights: Weights) -> np.ndarray:
        import numpy as np

        product: np.ndarray = self.scales.evaluate(weights) * np.float32(self.scales.step)
        return product


@dataclass(frozen=True, slots=True)
class Levels(Value):
    """A parameter's numbers in the element type they are stored in: rounded half to even."""

    value: Value
    scales: Scales | BiasScales
    dtype: DType

    def sources(self) -> Iterator[str]:
        yield from self.value.sources()
        yield from self.scales.sources()

    def evaluate(self, weights: Weights) -> np.ndarray:
        import numpy as np

        value = self.value.evaluate(weights)
        scales = _by_row(self.scales.evaluate(weights), value.ndim)
        # In float32, as a runtime divides; biases are counted in float64, as an int32 holds more.
        exact = np.float64 if self.dtype is DType.I32 else np.float32
        levels = value.astype(exact) / scales.astype(exact)
        if self.dtype is DType.I8:
            np.clip(np.rint(levels, out=levels), -127, 127, out=levels)
        elif self.dtype is DType.F8:
            np.clip(levels, -448, 448, out=levels)
        else:
            np.rint(levels, out=levels)
        stored: np.ndarray = levels.astype(numpy_dtype(self.dtype))
        return stored


@dataclass(frozen=True, slots=True)
class Dequantized(Value):
    """What a layer computes with: the stored numbers times their scales."""

    levels: Levels

    def sources(self) -> Iterator[str]:
        yield from self.levels.sources()

    def evaluate(self, weights: Weights) -> np.ndarray:
        import numpy as np

        levels = self.levels.evaluate(weights).astype(np.float32)
        scales = self.levels.scales.evaluate(weights).astype(np.float32)
        product: np.ndarray = levels * _by_row(scales, levels.ndim)
        return product


def _by_row(scales: np.ndarray, axes: int) -> np.ndarray:
    """Scales in a shape that multiplies the rows of an array of so many axes."""
    return scales.reshape(-1, *(1,) * (axes - 1))
