"""The model without its weights: structure, types and metadata, checked before anything is written.

Checking and inferring shapes cost as much as the weights are large, so both are done on a model
that has none: its parameters stand there as inputs with a type.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

import onnx
from onnx import GraphProto, ModelProto, StringStringEntryProto, TypeProto, helper

from resnetc.backends.onnx.emission import ELEMENT_TYPES, Emission, Initializer
from resnetc.backends.onnx.emit import emit
from resnetc.backends.onnx.options import OnnxOptions
from resnetc.diagnostics import InternalError
from resnetc.ir import Graph
from resnetc.passes import lower_for_inference
from resnetc.version import __version__

PRODUCER = "resnetc"


@dataclass(frozen=True)
class Skeleton:
    """A model that lacks only its parameters' arrays. `model` holds the small constants."""

    model: ModelProto
    initializers: tuple[Initializer, ...]


def build_skeleton(
    graph: Graph, options: OnnxOptions, provenance: Mapping[str, str] | None = None
) -> Skeleton:
    """Lower the graph (of stage SOURCE), emit it and check what was emitted.

    `provenance` is added to the file's metadata, each key behind "resnetc.".
    """
    plan = options.lowering
    lowered = lower_for_inference(graph, fold=options.fold, plan=plan).graph
    facts = {
        "network": graph.name,
        "graph_hash": graph.hash,
        "precision": options.precision,
        "precision_plan": json.dumps(plan.report(lowered)),
        "version": __version__,
        **(provenance or {}),
    }
    return lowered_skeleton(lowered, options, facts)


def lowered_skeleton(lowered: Graph, options: OnnxOptions, facts: Mapping[str, str]) -> Skeleton:
    """Emit a graph as it is, of a stage after SOURCE, and check what was emitted."""
    emission = emit(lowered, options.batch, options.version)
    model = helper.make_model(
        _graph_proto(emission),
        producer_name=PRODUCER,
        producer_version=__version__,
        opset_imports=[helper.make_opsetid("", options.version)],
        ir_version=helper.find_min_ir_version_for([helper.make_opsetid("", options.version)]),
    )
    model.metadata_props.extend(
        StringStringEntryProto(key=f"resnetc.{key}", value=value) for key, value in facts.items()
    )
    skeleton = Skeleton(model, tuple(emission.initializers))
    _check(skeleton)
    return skeleton


def _graph_proto(emission: Emission) -> GraphProto:
    """Every tensor carries the type our graph gives it, so the check compares both shape rules."""
    graph = emission.graph
    inputs = [emission.value_info(emission.tensors[n.id], n.type) for n in graph.inputs]
    outputs = [emission.value_info(name, graph[i].type) for name, i in graph.outputs.items()]
    outside = {*graph.outputs, *(info.name for info in inputs)}
    between = [
        emission.value_info(emission.tensors[node.id], node.type)
        for node in graph
        if emission.tensors[node.id] not in outside
    ]
    return helper.make_graph(
        emission.nodes, graph.name, inputs, outputs, emission.constants, value_info=between
    )


def _check(skeleton: Skeleton) -> None:
    """onnx's full check, shape inference included. Raises InternalError: the mistake is ours."""
    stand_in = ModelProto()
    stand_in.CopyFrom(skeleton.model)
    kinds: dict[tuple[int, tuple[int, ...]], TypeProto] = {}
    for each in skeleton.initializers:
        kind = ELEMENT_TYPES[each.parameter.type.dtype], each.dims
        if kind not in kinds:
            kinds[kind] = helper.make_tensor_type_proto(*kind)
        stand_in.graph.input.add(name=each.parameter.path, type=kinds[kind])
    try:
        onnx.checker.check_model(stand_in, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise InternalError(f"the ONNX model of {skeleton.model.graph.name}: {error}") from error
