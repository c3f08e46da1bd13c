"""What came of a run, and of several seeds."""

from __future__ import annotations

import hashlib
import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resnetc.train.metrics import Row, read

if TYPE_CHECKING:
    from resnetc.train import TrainResult

_SETTLED = 0.1
"""The share of a run, at its end, whose readings make the final training error."""


@dataclass(frozen=True)
class Measured:
    """A finished run. Errors are in [0, 1]; `test_error` is of the last weights.

    `train_error` is the mean over augmented mini-batches of the last tenth of the run.
    """

    run: Path
    iterations: int
    params: int
    test_error: float
    best_error: float
    train_error: float
    rows: Sequence[Row]
    seconds: float
    weights_sha256: str
    lock: dict[str, Any]

    def curve(self, kind: str) -> tuple[list[float], list[float]]:
        """Iterations and errors in percent: of "train" or of "test"."""
        chosen = [row for row in self.rows if (row.kind == "train") == (kind == "train")]
        return [row.step for row in chosen], [100 * row.error for row in chosen]

    def to_json(self) -> dict[str, Any]:
        return {
            "iterations": self.iterations,
            "params": self.params,
            "test_error": self.test_error,
            "best_error": self.best_error,
            "train_error": self.train_error,
            "seconds": round(self.seconds, 1),
            "weights_sha256": self.weights_sha256,
            "graph": self.lock["graph"],
            "train_curve": self.curve("train"),
            "test_curve": self.curve("test"),
        }


def measured(result: TrainResult) -> Measured:
    """The measurements of a finished run."""
    rows = read(result.run / "metrics.jsonl")
    late = [r for r in rows if r.kind == "train" and r.step > (1 - _SETTLED) * result.iterations]
    return Measured(
        run=result.run,
        iterations=result.iterations,
        params=result.network.cost.params,
        test_error=result.test.error,
        best_error=result.best_error,
        train_error=statistics.fmean(row.error for row in late),
        rows=rows,
        seconds=result.seconds,
        weights_sha256=hashlib.sha256(result.weights.read_bytes()).hexdigest(),
        lock=json.loads((result.run / "lock.json").read_text(encoding="utf-8")),
    )


@dataclass(frozen=True)
class Spread:
    """A figure of several seeds, as the paper gives ResNet-110's: best (mean +- deviation)."""

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        return statistics.fmean(self.values)

    @property
    def deviation(self) -> float:
        """With n - 1; 0 for a single seed, of which none is known."""
        return statistics.stdev(self.values) if len(self.values) > 1 else 0.0

    def percent(self) -> str:
        """Values in [0, 1] for a table."""
        if len(self.values) == 1:
            return f"{100 * self.values[0]:.2f}"
        return f"{100 * min(self.values):.2f} ({100 * self.mean:.2f} +- {100 * self.deviation:.2f})"
