"""The ONNX backend's side of `resnetc export`."""

from __future__ import annotations

from resnetc.backends.base import Artefact, ExportRequest
from resnetc.backends.onnx import OnnxOptions, write_onnx


def export(request: ExportRequest) -> Artefact:
    """Write `<name>.onnx`. A range of batches is a dynamic batch."""
    options = OnnxOptions(
        fold=request.fold,
        batch=request.batch if isinstance(request.batch, int) else None,
        opset=request.opset,
        external=request.external,
        precision=request.precision,
    )
    path = request.file(".onnx")
    replaced = path.exists()
    files = write_onnx(
        request.graph, path, request.weights, options=options, provenance=request.provenance
    )
    facts = {"precision": options.precision, "opset": options.version}
    return Artefact(files, replaced, facts, f"{options.precision}  opset {options.version}")
