"""What a tensor held, in bounded memory: its extremes, and how often each magnitude occurred."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

BINS = 4096
"""Bins on either side of zero."""
_BLOCK = 1 << 16
"""Numbers that are counted at a time, so that they stay in the cache."""
_SMALLEST = 2.0**-100
"""The narrowest histogram's reach; a tensor of zeros has it."""


class Histogram:
    """Counts of numbers in bins of one width, as many below zero as above.

    The reach of a side is a power of two, so that it can be doubled by adding neighbours up: the
    same numbers give the same counts in whatever batches they come.
    """

    def __init__(self) -> None:
        import numpy as np

        self.low, self.high = math.inf, -math.inf
        self.reach = _SMALLEST
        self.counts: np.ndarray = np.zeros(2 * BINS, np.int64)

    def add(self, values: np.ndarray) -> None:
        """Count an array's numbers, which must be finite."""
        flat = values.reshape(-1)
        low, high = float(flat.min()), float(flat.max())
        self.low, self.high = min(self.low, low), max(self.high, high)
        self._stretch(max(-low, high))
        for start in range(0, flat.size, _BLOCK):
            self._count(flat[start : start + _BLOCK], low < 0)

    def _count(self, values: np.ndarray, signed: bool) -> None:
        """Add to the counts; numbers of one sign need not be rounded towards below."""
        import numpy as np

        places = values * np.float32(1 / self.width)  # a power of two: exact
        if signed:
            np.floor(places, out=places)
        found = np.bincount(places.astype(np.int64) + BINS, minlength=2 * BINS)
        self.counts += found

    def _stretch(self, largest: float) -> None:
        """Make room for a magnitude."""
        import numpy as np

        if largest < self.reach:
            return
        reach = 2.0 ** (math.floor(math.log2(largest)) + 1)
        if not self.counts.any():
            self.reach = reach
        while self.reach < reach:
            pairs = self.counts.reshape(-1, 2).sum(1)
            self.counts = np.zeros_like(self.counts)
            self.counts[BINS // 2 : BINS // 2 + BINS] = pairs
            self.reach *= 2

    @property
    def magnitudes(self) -> np.ndarray:
        """Counts by magnitude, both sides together."""
        both: np.ndarray = self.counts[:BINS][::-1] + self.counts[BINS:]
        return both

    @property
    def width(self) -> float:
        """The width of a bin."""
        return self.reach / BINS
