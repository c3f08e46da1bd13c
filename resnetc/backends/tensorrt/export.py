"""The TensorRT backend's side of `resnetc export`."""

from __future__ import annotations

import json
from pathlib import Path

from resnetc.atomic import write_text
from resnetc.backends.base import Artefact, ExportRequest
from resnetc.backends.tensorrt import EngineReport, EngineSettings, TensorRtOptions, build_engine


def export(request: ExportRequest) -> Artefact:
    """Write `<name>.engine` and its sidecar, and on request what became of every layer."""
    options = TensorRtOptions(
        plan=request.plan("tensorrt"),
        batch=TensorRtOptions.batch if request.batch is None else request.batch,
        library=request.library,
        capabilities=request.capabilities,
        tf32=request.tf32,
        settings=request.engine or EngineSettings(),
    )
    path = request.file(".engine")
    replaced = path.exists()
    report = build_engine(
        request.graph, path, request.weights, options=options, provenance=request.provenance
    )
    files: tuple[Path, ...] = (path, report.sidecar)
    if request.layers:
        rows = [row.to_json() for row in report.rows]
        listed = path.with_name(f"{path.name}.layers.json")
        write_text(listed, json.dumps({"read_from": report.read_from, "layers": rows}, indent=1))
        files = (*files, listed)
    return Artefact(files, replaced, report.to_json(), _summary(report))


def _summary(report: EngineReport) -> str:
    found = ", ".join(f"{n} layers {precision}" for precision, n in report.found.items())
    return (
        f"{report.library} {report.version}  {found} (read from the {report.read_from})"
        f"  built in {report.seconds:.1f} s"
    )
