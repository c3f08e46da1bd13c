"""What came out: figures with their spread, failures, and a ranking of what can be compared."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from resnetc.bench.request import Request, Scene
from resnetc.bench.statistics import Summary, percentile, summarize
from resnetc.diagnostics import CheckError, MissingError, ResnetcError, RunError

TOLERANCES = {"fp32": 1e-4, "tf32": 5e-3, "fp16": 1e-2, "bf16": 5e-2}
"""Largest difference from the fp32 reference, over the reference's largest magnitude, that
rounding explains; a fused or folded network rounds in another order."""

SETUP = ("device", "precision", "tf32", "batch", "threads")
"""What must be equal for two figures to be ranked. Layout is the backend's own choice."""


@dataclass(frozen=True)
class Parity:
    """Distance from the reference on the same input; `top1` is the share of equal classes."""

    error: float
    tolerance: float
    top1: float

    @property
    def holds(self) -> bool:
        return self.error <= self.tolerance  # not a number is not

    def to_json(self) -> dict[str, Any]:
        return {
            "relative_error": self.error,
            "tolerance": self.tolerance,
            "top1_agreement": self.top1,
            "holds": self.holds,
        }


@dataclass(frozen=True)
class Measurement:
    """One backend in one scene. `rounds` holds each round's latencies in seconds."""

    backend: str
    scene: Scene
    facts: Mapping[str, Any]
    prepare_seconds: float
    parity: Parity
    rounds: Sequence[Sequence[float]]

    @property
    def setup(self) -> tuple[Any, ...]:
        """Figures with equal ones may be ranked."""
        known = {**self.facts, "batch": self.scene.batch, "precision": self.scene.precision}
        return tuple(known.get(key) for key in SETUP)

    @property
    def round_medians(self) -> list[float]:
        return [percentile(times, 50) for times in self.rounds]

    @property
    def images_per_second(self) -> Summary:
        """Of the rounds' median latencies: rounds are independent, inferences in one are not."""
        return summarize([self.scene.batch / seconds for seconds in self.round_medians])

    def latency(self, percent: float) -> float:
        """A percentile of all latencies, in seconds."""
        return percentile([time for times in self.rounds for time in times], percent)

    @property
    def mean(self) -> float:
        times = [time for times in self.rounds for time in times]
        return sum(times) / len(times)

    def over(self, other: Measurement) -> Summary:
        """How many times faster than the other, round by round: drift of the machine cancels."""
        pairs = zip(other.round_medians, self.round_medians, strict=True)
        return summarize([theirs / ours for theirs, ours in pairs])

    def to_json(self) -> dict[str, Any]:
        times = [time for times in self.rounds for time in times]
        return {
            "backend": self.backend,
            "batch": self.scene.batch,
            "precision": self.scene.precision,
            **self.facts,
            "prepare_seconds": round(self.prepare_seconds, 3),
            "images_per_second": _rounded(self.images_per_second, 3),
            "latency_ms": {
                **{f"p{percent}": _ms(self.latency(percent)) for percent in (50, 90, 99)},
                "mean": _ms(self.mean),
                "min": _ms(min(times)),
                "max": _ms(max(times)),
                "n": len(times),
            },
            "round_medians_ms": [_ms(seconds) for seconds in self.round_medians],
            "parity": self.parity.to_json(),
        }


@dataclass(frozen=True)
class Failure:
    """A backend that was asked for and gave no figure. `kind` is as in `WorkerError`."""

    backend: str
    scene: Scene
    step: str
    kind: str
    message: str

    def __str__(self) -> str:
        return f"{self.backend} ({self.scene}) failed to {self.step}: {self.message}"

    def to_json(self) -> dict[str, Any]:
        return {
            "backend": self.backend,
            "batch": self.scene.batch,
            "precision": self.scene.precision,
            "step": self.step,
            "kind": self.kind,
            "message": self.message,
        }


@dataclass
class Report:
    """A whole benchmark. `about` says of network, machine and versions what a reader needs."""

    request: Request
    about: dict[str, Any]
    measurements: list[Measurement] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)

    def groups(self) -> list[list[Measurement]]:
        """Measurements of equal set-up, fastest first; only within a group there is a ranking."""
        setups = dict.fromkeys(measurement.setup for measurement in self.measurements)
        return [
            sorted(
                (m for m in self.measurements if m.setup == setup),
                key=lambda m: -m.images_per_second.median,
            )
            for setup in setups
        ]

    def problem(self) -> ResnetcError | None:
        """The error the command ends with, None when every backend ran and agrees."""
        unlike = [m for m in self.measurements if not m.parity.holds]
        told = [str(failure) for failure in self.failures]
        told += [
            f"{m.backend} ({m.scene}) differs from the reference by {m.parity.error:.2g}, "
            f"more than {m.parity.tolerance:g}"
            for m in unlike
        ]
        if not told:
            return None
        kinds = {failure.kind for failure in self.failures}
        if kinds == {"missing"} and not unlike:
            message, _, remedy = "\n".join(told).rpartition("\n")
            return MissingError(message, remedy)
        if kinds <= {"check"}:
            return CheckError("\n".join(told))
        return RunError("\n".join(told))

    def to_json(self) -> dict[str, Any]:
        """The report for machines and for keeping."""
        return {
            "benchmark": "inference",
            **self.about,
            "method": {
                "process_per_backend": True,
                "warm_up_seconds": self.request.warm_up,
                "rounds": self.request.rounds,
                "seconds": self.request.seconds,
                "figure": "images/s: median over rounds of batch / median latency of the round, "
                "with a distribution-free interval over rounds; latency: percentiles of all "
                "inferences, each synchronised, input and output in device memory",
                "ranked_where_equal": SETUP,
            },
            "results": [measurement.to_json() for measurement in self.measurements],
            "ranking": [_ranking(group) for group in self.groups()],
            "failures": [failure.to_json() for failure in self.failures],
        }


def ranks(group: Sequence[Measurement]) -> list[int]:
    """Places in a group that is sorted fastest first; overlapping intervals share a place."""
    places: list[int] = []
    for place, measurement in enumerate(group, 1):
        tied = (
            place > 1
            and measurement.images_per_second.high >= group[places[-1] - 1].images_per_second.low
        )
        places.append(places[-1] if tied else place)
    return places


def _ranking(group: Sequence[Measurement]) -> dict[str, Any]:
    setup = dict(zip(SETUP, group[0].setup, strict=True))
    order: list[dict[str, Any]] = [
        {"place": place, "backend": measurement.backend}
        for place, measurement in zip(ranks(group), group, strict=True)
    ]
    reference = find(group, "eager")
    if reference is not None:
        for entry, measurement in zip(order, group, strict=True):
            entry["speed_over_eager"] = _rounded(measurement.over(reference), 4)
    return {**setup, "order": order}


def find(group: Iterable[Measurement], backend: str) -> Measurement | None:
    """A backend's measurement among several."""
    return next((m for m in group if m.backend == backend), None)


def _rounded(summary: Summary, digits: int) -> dict[str, Any]:
    return {
        "median": round(summary.median, digits),
        "interval": [round(summary.low, digits), round(summary.high, digits)],
        "confidence": round(summary.confidence, 4),
    }


def _ms(seconds: float) -> float:
    return round(seconds * 1e3, 4)
