"""Ways to damage an ONNX file: its bytes, or the model that they are."""

from __future__ import annotations

import random
from collections.abc import Callable

import onnx
from onnx import TensorProto

from resnetc.lift.operators import OPERATORS

Damage = Callable[[bytes, random.Random], bytes]

NUMBERS = (-(2**63), -2, -1, 0, 1, 2, 3, 5, 7, 16, 10**6, 2**31, 2**63 - 1)
FLOATS = (0.0, -1.0, 1e30, float("nan"), float("inf"))
NAMES = ("", ".", "nope", "a b", "}{", '"', "é", "residual", "layer1.0.conv1.weight", "x.weight")
KINDS = (*OPERATORS, "Cast", "ConstantOfShape", "Erf", "Expand", "If", "LSTM", "Resize", "Tile")
SCOPES = ("", "[", "()", "1", "['a']", "['a', 'b', 'c']", "[1, 2]", "__import__('os')")


# ------------------------------------------------------------------------------------- the bytes


def cut_off(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data))]


def flip(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 3, 20))):
        changed[rng.randrange(len(changed))] = rng.randrange(256)
    return bytes(changed)


def cut_out(data: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(data))
    return data[:start] + data[start + rng.randrange(1, 64) :]


def put_in(data: bytes, rng: random.Random) -> bytes:
    start, place = rng.randrange(len(data)), rng.randrange(len(data))
    return data[:place] + data[start : start + rng.randrange(1, 64)] + data[place:]


# ------------------------------------------------------------------------------------- the model


def change(data: bytes, rng: random.Random) -> bytes:
    """Up to four changes of the model, each of which another program might have made."""
    model = onnx.load_from_string(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        rng.choice(CHANGES)(model, rng)
    return model.SerializeToString()


def _operand(model: onnx.ModelProto, rng: random.Random) -> None:
    graph = model.graph
    node = rng.choice(graph.node)
    given = [name for each in graph.node for name in each.output]
    known = [*given, *(each.name for each in graph.initializer), graph.input[0].name, *NAMES]
    if node.input and rng.random() < 0.7:
        node.input[rng.randrange(len(node.input))] = rng.choice(known)
    elif node.input:
        del node.input[rng.randrange(len(node.input))]


def _result(model: onnx.ModelProto, rng: random.Random) -> None:
    node = rng.choice(model.graph.node)
    if node.output and rng.random() < 0.5:
        del node.output[-1]
    else:
        node.output.append(rng.choice(NAMES))


def _order(model: onnx.ModelProto, rng: random.Random) -> None:
    nodes = model.graph.node
    node = rng.choice(nodes)
    if rng.random() < 0.5 and len(nodes) > 1:
        nodes.remove(node)
    else:
        nodes.insert(rng.randrange(len(nodes)), node)


def _kind(model: onnx.ModelProto, rng: random.Random) -> None:
    rng.choice(model.graph.node).op_type = rng.choice(KINDS)


def _attribute(model: onnx.ModelProto, rng: random.Random) -> None:
    attributes = rng.choice(model.graph.node).attribute
    if not attributes:
        return
    place = rng.randrange(len(attributes))
    attribute, how = attributes[place], rng.randrange(5)
    if how == 0:
        del attributes[place]
    elif how == 1:
        attribute.type = rng.randrange(1, 14)
    elif how == 2 and attribute.ints:
        del attribute.ints[-1]
    elif attribute.ints:
        attribute.ints[rng.randrange(len(attribute.ints))] = rng.choice(NUMBERS)
    else:
        attribute.i, attribute.f = rng.choice(NUMBERS), rng.choice(FLOATS)


def _array(model: onnx.ModelProto, rng: random.Random) -> None:
    arrays = model.graph.initializer
    place = rng.randrange(len(arrays))
    array, how = arrays[place], rng.randrange(6)
    if how == 0 and len(arrays) > 1:
        del arrays[place]
    elif how == 1:
        array.data_type = rng.choice(TensorProto.DataType.values())
    elif how == 2:
        array.name = rng.choice(NAMES)
    elif how == 3:
        array.raw_data = array.raw_data[: rng.randrange(len(array.raw_data) + 1)]
    elif how == 4 and array.data_type == TensorProto.INT64 and len(array.raw_data) >= 8:
        array.raw_data = rng.choice(NUMBERS).to_bytes(8, "little", signed=True) + array.raw_data[8:]
    elif array.dims:
        array.dims[rng.randrange(len(array.dims))] = rng.choice(NUMBERS)


def _port(model: onnx.ModelProto, rng: random.Random) -> None:
    port = rng.choice((model.graph.input[0], model.graph.output[0]))
    kind = port.type.tensor_type
    if rng.random() < 0.3:
        port.name = rng.choice((*NAMES, model.graph.input[0].name))
    elif rng.random() < 0.3:
        kind.elem_type = rng.choice(TensorProto.DataType.values())
    elif kind.shape.dim:
        kind.shape.dim[rng.randrange(len(kind.shape.dim))].dim_value = rng.choice(NUMBERS)


def _words(model: onnx.ModelProto, rng: random.Random) -> None:
    """Opset, names, and what exporters and we say of the file."""
    if rng.random() < 0.3:
        model.opset_import[0].version = rng.choice((0, 1, 7, 13, 99))
    node = rng.choice(model.graph.node)
    node.name = "/" * rng.randrange(3) + rng.choice(NAMES)
    node.metadata_props.add(key="pkg.torch.onnx.name_scopes", value=rng.choice(SCOPES))
    if model.metadata_props:
        rng.choice(model.metadata_props).value = rng.choice(NAMES)


CHANGES = (_operand, _operand, _result, _order, _kind, _attribute, _array, _array, _port, _words)
DAMAGES: dict[str, Damage] = {
    each.__name__: each for each in (cut_off, flip, cut_out, put_in, change)
}
