"""What all backends share: the request they serve, how they are found, emitter tables.

A backend is a folder here and a row in `BACKENDS`; it is imported when it is asked for.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from resnetc.diagnostics import InternalError, UsageError, suggest
from resnetc.ir import Graph
from resnetc.ops import OPS, Op
from resnetc.passes import Plan

if TYPE_CHECKING:
    from resnetc.backends.tensorrt.settings import EngineSettings
    from resnetc.backends.weights import Arrays

T = TypeVar("T")

BACKENDS: Mapping[str, str] = {
    "torch": "resnetc.backends.torch.export:export",
    "onnx": "resnetc.backends.onnx.export:export",
    "tensorrt": "resnetc.backends.tensorrt.export:export",
}
"""Where each backend's exporter is found."""


@dataclass(frozen=True)
class ExportRequest:
    """A network to be exported, and what was chosen; a backend reads what concerns it.

    `weights_given` says that somebody brought the weights; others are made up from a seed.
    `batch`: None for dynamic, a fixed one, or (min, opt, max). `plans` say more of the precision
    than its name does, by the encoding that a target wants;
    `encoding` is that of whoever runs the ONNX file. `engine` is for TensorRT's builder, and
    `layers` asks for its report of every layer. `provenance` goes beside the artefact.
    """

    name: str
    graph: Graph
    weights: Arrays
    out: Path
    weights_given: bool = False
    precision: str = "fp32"
    plans: Mapping[str, Plan] = field(default_factory=dict)
    encoding: str = "ort"
    batch: int | tuple[int, int, int] | None = None
    opset: int | None = None
    external: bool | None = None
    fold: bool = True
    library: str | None = None
    capabilities: tuple[str, ...] = ()
    tf32: bool = False
    engine: EngineSettings | None = None
    layers: bool = False
    provenance: Mapping[str, str] = field(default_factory=dict)

    def plan(self, encoding: str) -> Plan:
        """The precision for a target that wants this encoding."""
        return self.plans.get(encoding) or Plan(self.precision)

    def file(self, suffix: str) -> Path:
        """`resnet50.onnx`, `resnet50.fp16.onnx`."""
        middle = "" if self.precision == "fp32" else f".{self.precision}"
        return self.out / f"{self.name}{middle}{suffix}"


@dataclass(frozen=True)
class Artefact:
    """What a backend wrote: the main file first, then those beside it.

    `facts` are for machines, `summary` is a line of them for people; `replaced` says that the
    main file stood there before.
    """

    files: tuple[Path, ...]
    replaced: bool
    facts: Mapping[str, Any]
    summary: str

    def to_json(self) -> dict[str, Any]:
        return {
            "files": [str(file) for file in self.files],
            "replaced": self.replaced,
            "bytes": self.bytes,
            **self.facts,
        }

    @property
    def bytes(self) -> int:
        """Of all files together."""
        return sum(file.stat().st_size for file in self.files)

    def __str__(self) -> str:
        size = f"{self.bytes / 1e6:.1f} MB"
        told = (str(self.files[0]), size, self.summary, "replaced" if self.replaced else "")
        return "  ".join(part for part in told if part)


Exporter = Callable[[ExportRequest], Artefact]


def require_known(names: Iterable[str]) -> None:
    """Raise UsageError for a name that is no backend's."""
    for name in names:
        if name not in BACKENDS:
            meant = suggest(name, BACKENDS)
            hint = f"did you mean {meant}?" if meant else f"choose from {', '.join(BACKENDS)}"
            raise UsageError(f"there is no backend `{name}` to export to; {hint}")


def find_exporter(name: str) -> Exporter:
    """Import a backend's exporter. Raises UsageError for a name that is no backend's."""
    require_known([name])
    module, _, attribute = BACKENDS[name].partition(":")
    return cast("Exporter", getattr(importlib.import_module(module), attribute))


def complete_table(
    backend: str, table: Mapping[type[Op], T], refused: Mapping[type[Op], str]
) -> Mapping[type[Op], T]:
    """The table itself, once every op has either an emitter or a stated reason for having none.

    Raises InternalError that names every op without either.
    """
    missing = [op.name for op in OPS.values() if op not in table and op not in refused]
    if missing:
        raise InternalError(f"the {backend} backend has no emitter for {', '.join(missing)}")
    return table
