"""Order statistics of timings: what is robust to the odd slow round of a shared machine."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any


def percentile(sample: Sequence[float], percent: float) -> float:
    """The value below which `percent` of the sample lies, linear between the two nearest ranks.

    This is numpy's default ("linear"). Raises ValueError for an empty sample.
    """
    if not sample:
        raise ValueError("a percentile of nothing")
    ordered = sorted(sample)
    place = (len(ordered) - 1) * percent / 100
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def median(sample: Sequence[float]) -> float:
    """The 50th percentile."""
    return percentile(sample, 50)


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval and the confidence it really has."""

    low: float
    high: float
    confidence: float


def median_interval(sample: Sequence[float], wanted: float = 0.95) -> Interval:
    """A distribution-free interval for the median, between two order statistics.

    Of n independent draws, the number below the true median is Binomial(n, 1/2): the k-th
    smallest and k-th largest enclose it with probability 1 - 2 P(X < k). The largest k that keeps
    the `wanted` confidence is taken; with five draws or fewer none does for 95 %, and the whole
    range is given with the confidence that it has.
    """
    ordered = sorted(sample)
    n = len(ordered)
    below = list(accumulate(math.comb(n, k) for k in range(n // 2 + 1)))
    outside = [2 * count / 2**n for count in below]
    rank = max((k for k, missed in enumerate(outside) if missed <= 1 - wanted), default=0)
    rank = min(rank, (n - 1) // 2)
    return Interval(ordered[rank], ordered[n - 1 - rank], max(0.0, 1 - outside[rank]))


@dataclass(frozen=True, slots=True)
class Summary:
    """A sample of timings, in seconds unless said otherwise."""

    n: int
    median: float
    low: float
    high: float
    confidence: float
    minimum: float
    maximum: float

    def to_json(self) -> dict[str, Any]:
        """The fields by name, rounded to nine significant digits' worth of sense: nanoseconds."""
        return {
            "n": self.n,
            "median": round(self.median, 9),
            "interval": [round(self.low, 9), round(self.high, 9)],
            "confidence": round(self.confidence, 4),
            "min": round(self.minimum, 9),
            "max": round(self.maximum, 9),
        }


def summarize(sample: Sequence[float]) -> Summary:
    """Median, its interval of at least 95 % where the sample is large enough, and the range."""
    interval = median_interval(sample)
    return Summary(
        len(sample),
        median(sample),
        interval.low,
        interval.high,
        interval.confidence,
        min(sample),
        max(sample),
    )
