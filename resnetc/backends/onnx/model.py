"""The model without its weights: structure, types and metadata, checked before it is written."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import onnx
from onnx import ModelProto, helper

from resnetc.backends.onnx import wire
from resnetc.backends.onnx.body import Stretch, body
from resnetc.backends.onnx.check import check_emission
from resnetc.backends.onnx.emission import Emission
from resnetc.backends.onnx.emit import emit
from resnetc.backends.onnx.options import OnnxOptions
from resnetc.ir import Graph
from resnetc.ir.runs import Run, Shortened, shortened
from resnetc.passes import lower_for_inference
from resnetc.version import __version__

PRODUCER = "resnetc"


@dataclass(frozen=True)
class Skeleton:
    """A model that lacks only its parameters' arrays, as bytes that follow one another: what
    stands before the graph, its nodes, the arrays of `initializers`, small constants and the
    types of its tensors, and what stands behind it."""

    front: bytes
    nodes: bytes
    initializers: tuple[Stretch, ...]
    constants: bytes
    types: bytes
    rest: bytes

    @property
    def model(self) -> ModelProto:
        """The same as an object, its parameters missing."""
        return onnx.load_from_string(self.around(self.nodes + self.constants + self.types))

    def around(self, graph: bytes) -> bytes:
        """A model of these bytes of a graph."""
        return self.front + wire.head(wire.MODEL_GRAPH, len(graph)) + graph + self.rest


def build_skeleton(
    graph: Graph, options: OnnxOptions, provenance: Mapping[str, str] | None = None
) -> Skeleton:
    """Lower the graph (of stage SOURCE), emit it and check what was emitted.

    `provenance` is added to the file's metadata, each key behind "resnetc.".
    """
    plan = options.lowering
    kinds = lowered_kinds(graph, options)
    facts = {
        "network": graph.name,
        "precision": options.precision,
        "precision_plan": json.dumps(plan.report(kinds.graph)),
        "version": __version__,
        **(provenance or {}),
    }
    skeleton = _skeleton(kinds.graph, options, facts, kinds.runs)
    if skeleton is None:  # a run that has no form of its own in the file
        lowered = lower_for_inference(graph, fold=options.fold, plan=plan).graph
        return lowered_skeleton(lowered, options, facts)
    return skeleton


def lowered_kinds(graph: Graph, options: OnnxOptions) -> Shortened:
    """The lowered graph; where the plan treats all copies of a block alike, of a run of them as
    few as stand for all, and then it is reported as the whole one would be."""
    plan = options.lowering
    short = shortened(graph) if plan.treats_alike else Shortened(graph, ())
    lowered = lower_for_inference(short.graph, fold=options.fold, plan=plan).graph
    return Shortened(lowered, short.runs)


def lowered_skeleton(lowered: Graph, options: OnnxOptions, facts: Mapping[str, str]) -> Skeleton:
    """Emit a graph as it is, of a stage after SOURCE, and check what was emitted."""
    skeleton = _skeleton(lowered, options, facts)
    assert skeleton is not None
    return skeleton


def _skeleton(
    lowered: Graph, options: OnnxOptions, facts: Mapping[str, str], runs: Sequence[Run] = ()
) -> Skeleton | None:
    """Of a graph in which `runs` are shortened; None where they cannot be written from that."""
    version = options.version_of(lowered)
    emission = emit(lowered, options.batch, version)
    parts = body(emission, runs)
    if parts is None:
        return None
    opset = helper.make_opsetid("", version)
    front = ModelProto(
        ir_version=helper.find_min_ir_version_for([opset]),
        producer_name=PRODUCER,
        producer_version=__version__,
    )
    rest = ModelProto(opset_import=[opset]).SerializeToString()
    rest += wire.metadata_bytes({f"{PRODUCER}.{key}": value for key, value in facts.items()})
    skeleton = Skeleton(
        front.SerializeToString(),
        parts.nodes + wire.fields(wire.GRAPH_NAME, [lowered.name.encode()]),
        parts.initializers,
        wire.fields(
            wire.GRAPH_INITIALIZER, [each.SerializeToString() for each in emission.constants]
        ),
        _ports(emission) + parts.types,
        rest,
    )
    check_emission(emission, skeleton.around)
    return skeleton


def _ports(emission: Emission) -> bytes:
    """Inputs and outputs with their types."""
    graph = emission.graph
    inputs = [(emission.tensors[node.id], node.type) for node in graph.inputs]
    outputs = [(name, graph[i].type) for name, i in graph.outputs.items()]
    return b"".join(
        wire.fields(number, [emission.value_info(*told) for told in values])
        for number, values in ((wire.GRAPH_INPUT, inputs), (wire.GRAPH_OUTPUT, outputs))
    )
