"""Numbers of bfloat16, which numpy does not have: their bits, as uint16."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


def to_bits(array: np.ndarray) -> np.ndarray:
    """The bits of the nearest bfloat16 numbers, ties to even; `array` is finite float32."""
    import numpy as np

    wide = np.ascontiguousarray(array, np.float32).view(np.uint32)
    nearest = (wide + np.uint32(0x7FFF) + ((wide >> 16) & 1)) >> 16
    return nearest.astype(np.uint16)


def from_bits(bits: np.ndarray) -> np.ndarray:
    """The numbers, as float32."""
    import numpy as np

    wide: np.ndarray = (bits.astype(np.uint32) << 16).view(np.float32)
    return wide
