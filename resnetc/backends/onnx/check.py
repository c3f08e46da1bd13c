"""What was emitted, held against ONNX's own rules before anything is written.

onnx's checker takes longer over a deep network than a disk takes to write it, and deep networks
repeat themselves. So it is given each kind of node once: nodes are alike when they have the same
op, attributes and types, and then it says the same of them. What differs between them is names, and
those are looked at here. Its time grows with the weights as well; so parameters stand there as
inputs with a type.
"""

from __future__ import annotations

from collections.abc import Callable

import onnx

from resnetc.backends.onnx import wire
from resnetc.backends.onnx.emission import ELEMENT_TYPES, Emission, EmittedNode, Initializer
from resnetc.diagnostics import InternalError
from resnetc.ir.verify import likeness


def check_emission(emission: Emission, around: Callable[[bytes], bytes]) -> None:
    """onnx's full check, shape inference included, of one node of each kind, and of all names.

    `around` makes a model of a graph's bytes. Raises InternalError: the mistake is ours.
    """
    name = emission.graph.name
    _check_names(emission)
    stand_in = around(_stand_in(emission))
    try:
        onnx.checker.check_model(stand_in, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise InternalError(f"the ONNX model of {name}: {error}") from error


def _check_names(emission: Emission) -> None:
    """Every name is given once, and before it is read."""
    graph = emission.graph
    given = [emission.tensors[node.id] for node in graph.inputs]
    given += [each.parameter.path for each in emission.initializers]
    given += [each.name for each in emission.constants]
    known = set(given)
    for node in emission.nodes:
        if not known.issuperset(node.inputs) and (missing := {*node.inputs} - known - {""}):
            raise InternalError(
                f"the ONNX model of {graph.name}: {min(missing)} is read before it is given"
            )
        given += node.outputs
        known.update(node.outputs)
    if len(known) < len(given):
        twice = min(each for each in known if given.count(each) > 1)
        raise InternalError(f"the ONNX model of {graph.name}: {twice} is given twice")
    if missing := graph.outputs.keys() - known:
        raise InternalError(f"the ONNX model of {graph.name}: nothing gives {min(missing)}")


def _stand_in(emission: Emission) -> bytes:
    """A graph of one node of each kind. What they read and none of them gives is an input, and
    what they give is an output, of the type our graph says."""
    nodes = _one_of_each(emission)
    types = {tensor: emission.graph[i].type for i, tensor in emission.tensors.items()}
    types |= {name: emission.graph[i].type for name, i in emission.graph.outputs.items()}
    held = {each.parameter.path: each for each in emission.initializers}
    gives = dict.fromkeys(name for node in nodes for name in node.outputs)
    reads = dict.fromkeys(name for node in nodes for name in node.inputs if name not in gives)
    constants = [each.SerializeToString() for each in emission.constants if each.name in reads]
    inputs = [
        _parameter(held[name]) if name in held else emission.value_info(name, types[name])
        for name in reads
        if name in held or name in types
    ]
    outputs = [emission.value_info(name, types[name]) for name in gives if name in types]
    return b"".join(
        (
            wire.fields(wire.GRAPH_NODE, [node.content for node in nodes]),
            wire.fields(wire.GRAPH_NAME, [emission.graph.name.encode()]),
            wire.fields(wire.GRAPH_INITIALIZER, constants),
            wire.fields(wire.GRAPH_INPUT, inputs),
            wire.fields(wire.GRAPH_OUTPUT, outputs),
        )
    )


def _one_of_each(emission: Emission) -> list[EmittedNode]:
    """The nodes that stand for all that are like them, in order."""
    chosen: list[EmittedNode] = []
    seen: set[tuple[object, ...]] = set()
    for group in emission.groups:
        like = (*likeness(emission.graph, group.node), *[each.kind for each in group.nodes])
        if like not in seen:
            seen.add(like)
            chosen += group.nodes
    return chosen


def _parameter(initializer: Initializer) -> bytes:
    element = ELEMENT_TYPES[initializer.parameter.type.dtype]
    return wire.value(initializer.parameter.path, wire.tensor_type(element, initializer.dims))
