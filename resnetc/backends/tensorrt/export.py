"""The TensorRT backend's side of `resnetc export`."""

from __future__ import annotations

from resnetc.backends.base import Artefact, ExportRequest
from resnetc.backends.tensorrt import EngineReport, TensorRtOptions, build_engine


def export(request: ExportRequest) -> Artefact:
    """Write `<name>.engine` and its sidecar."""
    options = TensorRtOptions(
        plan=request.plan("tensorrt"),
        batch=TensorRtOptions.batch if request.batch is None else request.batch,
        library=request.library,
        capabilities=request.capabilities,
        tf32=request.tf32,
    )
    path = request.file(".engine")
    replaced = path.exists()
    report = build_engine(
        request.graph, path, request.weights, options=options, provenance=request.provenance
    )
    return Artefact((path, report.sidecar), replaced, report.to_json(), _summary(report))


def _summary(report: EngineReport) -> str:
    found = ", ".join(f"{n} layers {precision}" for precision, n in report.found.items())
    return (
        f"{report.library} {report.version}  {found} (read from the {report.read_from})"
        f"  built in {report.seconds:.1f} s"
    )
