"""From what a tensor held to the range that eight bits are spent on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from resnetc.passes import Range
from resnetc.quantization.histogram import BINS, Histogram
from resnetc.sections import Entropy, MinMax, Percentile

if TYPE_CHECKING:
    import numpy as np

Calibration = Entropy | Percentile | MinMax

_LEVELS = 128
"""Magnitudes that a signed number of eight bits has."""
_TRIED = 128
"""Thresholds that entropy is computed for, evenly spread."""

_NOTHING = 1e-9
"""The probability of a number that has no level."""


def find_range(seen: Histogram, method: Calibration) -> Range:
    """The range by a method; it never goes beyond what was seen."""
    if isinstance(method, Percentile):
        found = _percentile(seen, method.share)
    elif isinstance(method, Entropy):
        threshold = _least_divergence(seen)
        found = Range(-threshold, threshold)
    else:
        found = Range(seen.low, seen.high)
    return Range(max(found.low, seen.low), min(found.high, seen.high))


def _percentile(seen: Histogram, share: float) -> Range:
    """The range that holds a share of the numbers, and on either side the same part of the rest."""
    import numpy as np

    part = np.cumsum(seen.counts) / seen.counts.sum()
    rest = (1 - share) / 2 if seen.low < 0 else 1 - share
    first = int(np.searchsorted(part, rest, side="right"))
    last = int(np.searchsorted(part, 1 - rest, side="left"))
    low = (first - BINS) * seen.width if seen.low < 0 else 0.0
    return Range(low, (last + 1 - BINS) * seen.width)


def _least_divergence(seen: Histogram) -> float:
    """The threshold at which the numbers cut off there and brought to 128 levels tell least apart
    from the numbers themselves, by the Kullback-Leibler divergence.

    Migacz, "8-bit inference with TensorRT" (GTC 2017). Zeros are left out, as exact in any range.
    """
    import numpy as np

    counts = seen.magnitudes.astype(np.float64)
    counts[0] = counts[1]
    filled = int(np.flatnonzero(counts)[-1]) + 1 if counts.any() else 0
    if filled <= _LEVELS:
        return max(-seen.low, seen.high)
    ends = np.unique(np.linspace(_LEVELS, filled, _TRIED).round().astype(int))
    found = [_divergence(counts, int(end)) for end in ends]
    return float(ends[int(np.argmin(found))]) * seen.width


def _divergence(counts: np.ndarray, end: int) -> float:
    """Between the counts cut off at a bin, what lies beyond in the last one, and their levels."""
    import numpy as np

    kept = counts[:end]
    reference = kept.copy()
    reference[-1] += counts[end:].sum()
    starts = np.arange(_LEVELS) * end // _LEVELS
    sizes = np.diff(np.append(starts, end))
    there = kept > 0
    total = np.add.reduceat(kept, starts)
    filled = np.add.reduceat(there, starts)
    mean = np.repeat(total / np.maximum(filled, 1), sizes)
    p = reference / reference.sum()
    q = np.where(there, mean, 0.0)
    q /= q.sum() or 1.0
    # A number that is cut off into an empty bin has no level of its own: a small one stands in.
    q = np.where((p > 0) & (q == 0), _NOTHING, q)
    some = p > 0
    return float((p[some] * np.log(p[some] / q[some])).sum())
