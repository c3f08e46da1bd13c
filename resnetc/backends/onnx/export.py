"""The ONNX backend's side of `resnetc export`."""

from __future__ import annotations

from resnetc.backends.base import Artefact, ExportRequest
from resnetc.backends.onnx import OnnxOptions, write_onnx
from resnetc.backends.onnx.model import lowered_kinds


def export(request: ExportRequest) -> Artefact:
    """Write `<name>.onnx`. A range of batches is a dynamic batch."""
    options = OnnxOptions(
        fold=request.fold,
        batch=request.batch if isinstance(request.batch, int) else None,
        opset=request.opset,
        external=request.external,
        plan=request.plan(request.encoding),
    )
    path = request.file(".onnx")
    replaced = path.exists()
    files = write_onnx(
        request.graph, path, request.weights, options=options, provenance=request.provenance
    )
    plan = options.lowering
    lowered = lowered_kinds(request.graph, options).graph
    report = plan.report(lowered)
    opset = options.version_of(lowered)
    facts = {"precision": options.precision, "opset": opset, "plan": report}
    return Artefact(files, replaced, facts, f"{plan.summary(lowered)}  opset {opset}")
