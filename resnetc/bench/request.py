"""What is to be measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from resnetc.bench.machine import cores
from resnetc.diagnostics import UsageError

PRECISIONS = ("fp32", "fp16", "bf16")
DEVICES = ("auto", "cpu", "cuda")
LAYOUTS = ("channels_last", "contiguous")


@dataclass(frozen=True)
class Scene:
    """One set-up that all backends are measured in: the same batch, the same precision."""

    batch: int
    precision: str

    def __str__(self) -> str:
        return f"batch {self.batch}, {self.precision}"


@dataclass(frozen=True)
class Request:
    """A whole benchmark. Raises UsageError for what makes no sense.

    `outputs` are labels for the values to give instead of the network's own.
    `backends` are names of the table in `resnetc.bench.backends`; none for those that can be
    expected to run here. `seconds` is measured per backend and scene, in `rounds` equal parts,
    after `warm_up` seconds that are not. `layout` is the memory format torch is given; other
    backends choose their own. `tf32` lets fp32 products round their operands to 10 bits on a
    GPU. `patience` is how long a backend may take for one step, in seconds.
    """

    network: str
    settings: Mapping[str, str] = field(default_factory=dict)
    outputs: tuple[str, ...] | None = None
    weights: str | None = None
    seed: int = 0
    backends: tuple[str, ...] = ()
    batches: tuple[int, ...] = (1, 8)
    precisions: tuple[str, ...] = ("fp32",)
    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: int = field(default_factory=cores)
    warm_up: float = 0.5
    seconds: float = 5.0
    rounds: int = 10
    layout: str = "channels_last"
    tf32: bool = False
    patience: float = 900.0

    def __post_init__(self) -> None:
        _require(bool(self.batches) and min(self.batches) >= 1, "a batch has at least one image")
        _require(self.threads >= 1, "at least one thread is needed")
        _require(self.seconds > 0, "seconds must be above 0")
        _require(self.rounds >= 1, "at least one round is needed")
        _known("precision", self.precisions, PRECISIONS)
        _known("device", (self.device,), DEVICES)
        _known("layout", (self.layout,), LAYOUTS)

    @property
    def scenes(self) -> Iterator[Scene]:
        return (Scene(batch, precision) for precision in self.precisions for batch in self.batches)


@dataclass(frozen=True)
class Job:
    """What a worker needs to know to prepare one scene; travels as JSON.

    `graph_hash` is the network's as the caller compiled it: the file may change meanwhile.
    `scratch` is a folder for what a backend builds, removed afterwards.
    """

    network: str
    settings: Mapping[str, str]
    outputs: tuple[str, ...] | None
    graph_hash: str
    weights: str | None
    seed: int
    batch: int
    precision: str
    device: str
    threads: int
    layout: str
    tf32: bool
    scratch: str

    @classmethod
    def of(cls, request: Request, scene: Scene, graph_hash: str, device: str, scratch: str) -> Job:
        """The job for one scene of a request."""
        return cls(
            request.network,
            dict(request.settings),
            request.outputs,
            graph_hash,
            request.weights,
            request.seed,
            scene.batch,
            scene.precision,
            device,
            request.threads,
            request.layout,
            request.tf32,
            scratch,
        )

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise UsageError(message)


def _known(what: str, given: tuple[str, ...], known: tuple[str, ...]) -> None:
    for value in given:
        _require(value in known, f"there is no {what} {value!r}; choose one of {', '.join(known)}")
