"""The PyTorch backend's side of `resnetc export`: stand-alone source."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from resnetc.atomic import write_text, write_together
from resnetc.backends.base import Artefact, ExportRequest
from resnetc.backends.torch.lowered import lowered_weights
from resnetc.backends.torch.source import emit_source
from resnetc.backends.weights import weights_bytes
from resnetc.ir import Graph
from resnetc.passes import lower_for_inference
from resnetc.shapes import DType

if TYPE_CHECKING:
    import numpy as np


def export(request: ExportRequest) -> Artefact:
    """Write `<name>.py`, and `<name>.safetensors` beside it with weights that were given.

    In another precision than fp32 the source computes what the ONNX file computes, and its folded
    weights are written whether they were given or not.
    """
    plan = request.plan(request.encoding)
    path = request.file(".py")
    replaced = path.exists()
    plain = plan.dtypes == {DType.F32} and not plan.eight_bits
    if plain and not request.weights_given:
        write_text(path, emit_source(request.graph))
        return Artefact((path,), replaced, {}, "stand-alone source")
    graph = request.graph if plain else lower_for_inference(request.graph, plan=plan).graph
    held = _own(graph, request.weights) if plain else lowered_weights(graph, request.weights)
    weights = path.with_suffix(".safetensors")
    source = emit_source(graph, weights_file=weights.name)
    write_together({weights: weights_bytes(held), path: source.encode()})
    if plain:
        return Artefact((path, weights), replaced, {}, "stand-alone source and its weights")
    facts = {"precision": plan.layers, "plan": plan.report(graph)}
    return Artefact((path, weights), replaced, facts, f"source in {plan.summary(graph)}")


def _own(graph: Graph, weights: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The parameters of a network, as torch's strict loading wants them: counters of batch norms
    that the weights do not have are 0."""
    import numpy as np

    return {
        path: weights[path] if path in weights else np.zeros(parameter.type.shape, np.int64)
        for path, parameter in graph.parameters.items()
    }
