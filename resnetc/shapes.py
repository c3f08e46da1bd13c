"""Element types, tensor types and the arithmetic of windows.

A tensor type leaves out the batch: `TensorType((64, 56, 56))` is a batch of 64-channel maps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum
from fractions import Fraction

Size = tuple[int, int]
"""Height and width of a window, stride or padding, in elements."""


class DType(Enum):
    """Element types a graph can hold; the value is numpy's name (`bfloat16` and `float8_e4m3fn`
    are ml_dtypes')."""

    F32 = "float32"
    F16 = "float16"
    BF16 = "bfloat16"
    F64 = "float64"
    I64 = "int64"
    I32 = "int32"
    I8 = "int8"
    U8 = "uint8"
    F8 = "float8_e4m3fn"

    @property
    def bytes(self) -> int:
        return _BYTES[self]


_BYTES = {
    **dict.fromkeys((DType.F64, DType.I64), 8),
    **dict.fromkeys((DType.F32, DType.I32), 4),
    **dict.fromkeys((DType.F16, DType.BF16), 2),
    **dict.fromkeys((DType.I8, DType.U8, DType.F8), 1),
}


@dataclass(frozen=True, slots=True)
class TensorType:
    """Shape without the batch dimension, and element type."""

    shape: tuple[int, ...]
    dtype: DType = DType.F32

    @property
    def elements(self) -> int:
        """Elements of one sample."""
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        """Bytes of one sample."""
        return self.elements * self.dtype.bytes

    def __str__(self) -> str:
        return "x".join(map(str, self.shape)) if self.shape else "scalar"


@dataclass(frozen=True, slots=True)
class Window:
    """What an op sees of its operand along one axis.

    Output element `i` depends on the `extent` operand elements from `i * stride + start` on. Where
    maps grow the stride is a fraction, and a window begins at a whole element beside that place.
    """

    extent: int | Fraction = 1
    stride: int | Fraction = 1
    start: int | Fraction = 0


def same_padding(kernel: Size, dilation: Size = (1, 1)) -> Size:
    """Padding that keeps the size at stride 1 under an odd kernel: `d * (k - 1) // 2` a side."""
    return dilation[0] * (kernel[0] - 1) // 2, dilation[1] * (kernel[1] - 1) // 2


def window_extent(
    size: int, kernel: int, stride: int, pad: int, dilation: int = 1, *, ceil: bool = False
) -> int:
    """Positions of a window along one axis, by torch's rule; zero or less where it does not fit.

    In ceil mode the last window must start inside the input or its left padding
    (torch.nn.MaxPool2d, "Note").
    """
    free = size + 2 * pad - dilation * (kernel - 1) - 1
    if not ceil:
        return free // stride + 1
    extent = -(-free // stride) + 1
    return extent - 1 if (extent - 1) * stride >= size + pad else extent
