"""What precision the layers really have, read back rather than believed.

Users who asked for fp16 through flags that a newer library ignores got fp32 engines and no word
about it. So the types are read from the network that was parsed, and from the engine itself
where a GPU can open it; a request that was not honoured is an error.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from resnetc.diagnostics import CheckError
from resnetc.ir import Graph
from resnetc.passes import PRECISIONS
from resnetc.shapes import DType

_DATA_TYPES = {"FLOAT": "fp32", "HALF": "fp16"}
"""Where TensorRT's word is not ours in capitals."""
_COUNTERS = frozenset({"INT32", "INT64", "BOOL", "UINT8"})
_NO_ARITHMETIC = {"CAST", "CONSTANT", "SHAPE", "GATHER", "CONCATENATION", "SHUFFLE", "IDENTITY"}
"""Layers that move, convert or count: their types say nothing of how numbers are computed."""
_NUMBERS = {"QUANTIZE": 2, "DEQUANTIZE": 2}
"""How many operands of a layer are numbers it computes on, where not all: the parser makes the zero
point behind data and scale a float32, whatever the graph computes in."""
_WORDS = {
    "bf16": "bf16",
    "bfloat16": "bf16",
    "fp16": "fp16",
    "half": "fp16",
    "fp32": "fp32",
    "float": "fp32",
    "int8": "int8",
    "fp8": "fp8",
}

_NAMES: Mapping[DType, str] = {
    **{dtype: name for name, dtype in PRECISIONS.items()},
    DType.I8: "int8",
    DType.U8: "uint8",
    DType.F8: "fp8",
    DType.F64: "fp64",
}


def network_precisions(network: Any) -> dict[str, str]:
    """Precision of every layer of a parsed network that computes on floating-point numbers."""
    found = {}
    for index in range(network.num_layers):
        layer = network.get_layer(index)
        if layer.type.name in _NO_ARITHMETIC:
            continue
        if types := precision_of(layer_tensors(layer)):
            found[layer.name] = types
    return found


def precision_of(tensors: Iterable[Any]) -> str:
    """The floating-point types among tensors, `fp16` or `fp16+fp32`; empty where they count."""
    types = {tensor.dtype.name for tensor in tensors} - _COUNTERS
    return "+".join(sorted(_DATA_TYPES.get(t, t.lower()) for t in types))


def layer_tensors(layer: Any) -> Iterator[Any]:
    """The numbers that a layer of a parsed network reads and gives."""
    for index in range(min(layer.num_inputs, _NUMBERS.get(layer.type.name, layer.num_inputs))):
        # An optional input that is not connected is None.
        if (tensor := layer.get_input(index)) is not None:
            yield tensor
    for index in range(layer.num_outputs):
        yield layer.get_output(index)


def engine_precisions(information: str) -> dict[str, str]:
    """Precision of every layer in an engine inspector's JSON, by what its outputs hold.

    The wording has changed between versions ("Half", "Row major linear FP16 format"); a layer
    whose type is not told, as under dynamic shapes in old versions, is left out.
    """
    found = {}
    for layer in json.loads(information).get("Layers", []):
        if not isinstance(layer, Mapping) or layer.get("LayerType") in ("Reformat", "NoOp"):
            continue
        texts = (str(tensor.get("Format/Datatype", "")) for tensor in layer.get("Outputs", []))
        words = {word for text in texts for word in words_of(text)}
        if words:
            found[str(layer.get("Name"))] = "+".join(sorted(words))
    return found


def words_of(text: str) -> set[str]:
    """The precisions that a format's description names."""
    return {_WORDS[word] for word in re.findall(r"\w+", text.lower()) if word in _WORDS}


def count(precisions: Mapping[str, str]) -> dict[str, int]:
    """How many layers have each precision, most frequent first."""
    return dict(Counter(precisions.values()).most_common())


def expected_precisions(lowered: Graph) -> dict[str, str]:
    """What the layers of a network must hold by the graph it is made from, by node name."""
    expected = {}
    for node in lowered:
        types = {operand.dtype for operand in lowered.operands(node)} | {node.type.dtype}
        expected[node.name] = "+".join(sorted(_NAMES[dtype] for dtype in types))
    return expected


def require_network(asked: str, found: Mapping[str, str], expected: Mapping[str, str]) -> None:
    """Every computing layer of a strongly typed network has the precision the graph gives it.

    A layer that is a step of a node bears another name: it has what some node has.
    """
    somewhere = set(expected.values())
    other = [
        name
        for name, precision in found.items()
        if not (precision == expected[name] if name in expected else precision in somewhere)
    ]
    if other:
        shown = ", ".join(f"{name} ({found[name]})" for name in other[:5])
        raise CheckError(
            f"{asked} was asked for, but {len(other)} of {len(found)} layers have another "
            f"precision: {shown}"
        )


def require_engine(asked: str, found: Mapping[str, str]) -> None:
    """The engine holds layers of the precision asked for.

    Not all need be: the builder fuses casts into their neighbours and adds layers of its own. An
    engine that has none was built in another precision.
    """
    if found and not any(asked in precision.split("+") for precision in found.values()):
        raise CheckError(f"{asked} was asked for, but the engine's layers are {count(found)}")
