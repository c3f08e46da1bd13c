"""The PyTorch backend's side of `resnetc export`: stand-alone source."""

from __future__ import annotations

from resnetc.atomic import write_text
from resnetc.backends.base import Artefact, ExportRequest
from resnetc.backends.torch.lowered import lowered_weights
from resnetc.backends.torch.source import emit_source
from resnetc.backends.weights import write_weights
from resnetc.passes import lower_for_inference
from resnetc.shapes import DType


def export(request: ExportRequest) -> Artefact:
    """Write `<name>.py`, which has no weights; in another precision than fp32 it computes what the
    ONNX file computes, and `<name>.safetensors` beside it holds its folded weights."""
    plan = request.plan(request.encoding)
    path = request.file(".py")
    replaced = path.exists()
    if plan.dtypes == {DType.F32} and not plan.eight_bits:
        write_text(path, emit_source(request.graph))
        return Artefact((path,), replaced, {}, "stand-alone source")
    lowered = lower_for_inference(request.graph, plan=plan).graph
    write_text(path, emit_source(lowered))
    weights = path.with_suffix(".safetensors")
    write_weights(weights, lowered_weights(lowered, request.weights))
    facts = {"precision": plan.layers, "plan": plan.report(lowered)}
    return Artefact((path, weights), replaced, facts, f"source in {plan.summary(lowered)}")
