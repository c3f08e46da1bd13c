"""TensorRT: the graph as a strongly typed engine, through `tensorrt` or `tensorrt_rtx`.

    build_engine(net.graph, Path("resnet50.engine"), weights, options=TensorRtOptions("fp16"))

The engine file is the library's own bytes, so that `trtexec` reads it; where it comes from stands
beside it in `<engine>.json`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resnetc.atomic import replacing, write_text
from resnetc.backends.onnx import model_bytes
from resnetc.backends.tensorrt.build import Plan, build_plan
from resnetc.backends.tensorrt.library import Library, find_library
from resnetc.backends.tensorrt.options import TensorRtOptions
from resnetc.backends.tensorrt.precision import count, expected_precisions
from resnetc.backends.tensorrt.report import LayerRow, spec_places
from resnetc.backends.tensorrt.settings import EngineSettings
from resnetc.backends.weights import fit_weights, weights_hash
from resnetc.ir import Graph
from resnetc.passes import lower_for_inference
from resnetc.version import __version__

if TYPE_CHECKING:
    import numpy as np

__all__ = ["EngineReport", "EngineSettings", "LayerRow", "TensorRtOptions", "build_engine"]


@dataclass(frozen=True)
class EngineReport:
    """What was built.

    `precision` was asked for; `found` counts layers by the precision they have, as read from
    `read_from`: the typed "network" or, with a GPU, the "engine". `profile` is the batch's
    (min, opt, max), None for a fixed one. `settings` are those that differ from the builder's own.
    `seconds` is parse and build. `rows` say of every layer what it is and where it stands in the
    spec.
    """

    path: Path
    library: str
    version: str
    precision: str
    found: dict[str, int]
    read_from: str
    layers: int
    bytes: int
    profile: tuple[int, int, int] | None
    capabilities: tuple[str, ...]
    seconds: float
    settings: dict[str, Any] = field(default_factory=dict)
    rows: tuple[LayerRow, ...] = field(default=(), repr=False)

    @property
    def sidecar(self) -> Path:
        return sidecar_path(self.path)

    def to_json(self) -> dict[str, Any]:
        """The fields but the path and the rows."""
        fields = asdict(replace(self, rows=()))
        return {key: value for key, value in fields.items() if key not in ("path", "rows")}


def sidecar_path(engine: Path) -> Path:
    """Where an engine's provenance stands."""
    return engine.with_name(f"{engine.name}.json")


def build_engine(
    graph: Graph,
    path: Path,
    weights: Mapping[str, np.ndarray],
    *,
    options: TensorRtOptions | None = None,
    provenance: Mapping[str, str] | None = None,
) -> EngineReport:
    """Build an engine of a graph (of stage SOURCE) and write it and its sidecar.

    Raises MissingError where neither library is, or a GPU is needed and missing; CheckError when
    the layers do not have the precision asked for; RunError when the library refuses; UsageError
    for weights that do not fit.
    """
    chosen = options or TensorRtOptions()
    library = find_library(chosen.library)
    held = fit_weights(graph, weights)
    model = model_bytes(graph, held, chosen.onnx, provenance)
    numerics = chosen.onnx.lowering
    lowered = lower_for_inference(graph, plan=numerics).graph
    expected, places = expected_precisions(lowered), spec_places(lowered)
    plan = build_plan(library, model, chosen, expected, places)
    data = memoryview(plan.data)
    report = EngineReport(
        path=path,
        library=library.name,
        version=library.version,
        precision=chosen.precision,
        found=count(plan.precisions),
        read_from=plan.read_from,
        layers=plan.layers,
        bytes=data.nbytes,
        profile=chosen.profile,
        capabilities=plan.targets,
        seconds=plan.seconds,
        settings=chosen.settings.asked,
        rows=plan.rows,
    )
    with replacing(path) as file:
        file.write(data)
    facts: dict[str, Any] = {
        "engine_sha256": hashlib.sha256(data).hexdigest(),
        "graph_hash": graph.hash,
        "weights_hash": weights_hash(graph, held),
        "plan": numerics.report(lowered),
        **(provenance or {}),
    }
    write_text(report.sidecar, _sidecar(graph, library, plan, chosen, report, facts))
    return report


def _sidecar(
    graph: Graph,
    library: Library,
    plan: Plan,
    options: TensorRtOptions,
    report: EngineReport,
    facts: Mapping[str, Any],
) -> str:
    document = {
        "network": graph.name,
        **facts,
        "resnetc": __version__,
        "library": {"name": library.name, "version": library.version},
        "precision": {
            "asked": options.precision,
            "tf32": options.tf32,
            "found": report.found,
            "read_from": report.read_from,
        },
        "layers": report.layers,
        "profile": report.profile,
        "capabilities": list(report.capabilities),
        "settings": report.settings,
        "tensors": list(plan.tensors),
    }
    return json.dumps(document, indent=2) + "\n"
