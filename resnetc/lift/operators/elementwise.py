"""Activations, sums and products, and the joining of branches."""

from __future__ import annotations

from resnetc.lift.model import Constant, Operation
from resnetc.lift.network import Layer
from resnetc.lift.operators.attributes import Reader, short
from resnetc.lift.reading import Reading
from resnetc.lift.refusal import LiftError


def _plain(word: str) -> Reader:
    def read(reading: Reading, operation: Operation) -> None:
        reading.place(operation, word, [reading.layer(operation)])

    return read


def _clip(reading: Reading, operation: Operation) -> None:
    bounds = [reading.numbers(operation, name, i) for i, name in ((1, "min"), (2, "max"))]
    if bounds == [[0], [6]]:
        reading.place(operation, "relu6", [reading.layer(operation)])
    elif bounds == [[0], None]:
        reading.place(operation, "relu", [reading.layer(operation)])
    else:
        low, high = (b[0] if b else "open" for b in bounds)
        raise LiftError(f"{operation}: only clipping to 0..6 is lifted, not to {low}..{high}")


def _leaky_relu(reading: Reading, operation: Operation) -> None:
    slope = short(operation.attributes.get("alpha", 0.01))
    reading.place(operation, "leaky_relu", [reading.layer(operation)], slope=slope)


def _hard_sigmoid(reading: Reading, operation: Operation) -> None:
    alpha = operation.attributes.get("alpha", 0.2)
    if abs(alpha - 1 / 6) > 1e-6 or operation.attributes.get("beta", 0.5) != 0.5:
        raise LiftError(f"{operation}: only min(max(x + 3, 0), 6) / 6 is lifted")
    reading.place(operation, "hardsigmoid", [reading.layer(operation)])


def _gelu(reading: Reading, operation: Operation) -> None:
    if operation.attributes.get("approximate", b"none") != b"none":
        raise LiftError(f"{operation}: only the exact form is lifted")
    reading.place(operation, "gelu", [reading.layer(operation)])


def _softmax(reading: Reading, operation: Operation) -> None:
    operand = reading.layer(operation)
    rank = len(operand.type.shape) + 1
    axis = operation.attributes.get("axis", -1 if reading.model.opset >= 13 else 1)
    if axis % rank != 1:
        raise LiftError(f"{operation}: only a softmax over the channels is lifted")
    reading.place(operation, "softmax", [operand])


def _dropout(reading: Reading, operation: Operation) -> None:
    ratio = reading.numbers(operation, "ratio", 1)
    p = 0.5 if ratio is None else short(ratio[0])
    reading.place(operation, "dropout", [reading.layer(operation)], p=p)


def _identity(reading: Reading, operation: Operation) -> None:
    if operation.inputs[0] in reading.grouped:
        reading.grouped[operation.outputs[0]] = reading.grouped[operation.inputs[0]]
        return
    reading.forward(operation, reading.layer(operation))


def _cast_like(reading: Reading, operation: Operation) -> None:
    """Every tensor is of float32, so there is nothing to cast but constants to it."""
    import numpy as np

    if not reading.is_constant(operation, 0):
        _identity(reading, operation)
        return
    found = reading.needed(operation, 0)
    reading.fold(operation, found.array.astype(np.float32), found.name)


def _add(reading: Reading, operation: Operation) -> None:
    constant = next((i for i in (0, 1) if reading.is_constant(operation, i)), None)
    if constant is None:
        _merge("add")(reading, operation)
        return
    found, operand = reading.needed(operation, constant), reading.layer(operation, 1 - constant)
    is_bias = operand.op.name == "linear" and "bias" not in operand.arrays
    if is_bias and found.array.shape == operand.type.shape:
        reading.with_bias(operation, operand, found)
    else:
        reading.place(operation, "affine", [operand], shift=_by_channel(operation, operand, found))


def _sub(reading: Reading, operation: Operation) -> None:
    found, operand = reading.needed(operation, 1), reading.layer(operation)
    shift = [-number for number in _by_channel(operation, operand, found)]
    reading.place(operation, "affine", [operand], shift=shift)


def _mul(reading: Reading, operation: Operation) -> None:
    constant = next((i for i in (0, 1) if reading.is_constant(operation, i)), None)
    if constant is not None:
        found = reading.needed(operation, constant)
        operand = reading.layer(operation, 1 - constant)
        scale = _by_channel(operation, operand, found)
        reading.place(operation, "affine", [operand], scale=scale)
        return
    left, right = reading.layer(operation, 0), reading.layer(operation, 1)
    gated = {"sigmoid": "silu", "hardsigmoid": "hardswish"}
    for whole, gate in ((left, right), (right, left)):
        if gate.op.name in gated and gate.inputs == (whole.id,):
            reading.place(operation, gated[gate.op.name], [whole])
            return
    _merge("mul")(reading, operation)


def _div(reading: Reading, operation: Operation) -> None:
    found, operand = reading.needed(operation, 1), reading.layer(operation)
    scale = [1 / number for number in _by_channel(operation, operand, found)]
    reading.place(operation, "affine", [operand], scale=scale)


def _by_channel(operation: Operation, operand: Layer, found: Constant) -> list[float]:
    """One number, or one for each channel; few enough to be written in a spec."""
    shape = found.array.shape
    per_channel = (operand.type.shape[0], *(1 for _ in operand.type.shape[1:]))
    if found.array.size > 1 and shape[-len(per_channel) :] != per_channel:
        raise LiftError(f"{operation}: a constant of shape {list(shape)} is not lifted")
    if found.array.size > 64:
        raise LiftError(f"{operation}: a constant of {found.array.size} numbers has no layer")
    return [float(number) for number in found.array.reshape(-1)]


def _merge(word: str) -> Reader:
    def read(reading: Reading, operation: Operation) -> None:
        operands = [reading.layer(operation, i) for i in range(len(operation.inputs))]
        if len(operands) == 1:
            reading.forward(operation, operands[0])
        else:
            reading.place(operation, word, operands)

    return read


def _concat(reading: Reading, operation: Operation) -> None:
    rank = len(reading.layer(operation).type.shape) + 1
    if operation.attributes.get("axis", 1) % rank != 1:
        raise LiftError(f"{operation}: only the joining of channels is lifted")
    _merge("concat")(reading, operation)


ROWS: dict[str, Reader] = {
    "Add": _add,
    "CastLike": _cast_like,
    "Clip": _clip,
    "Concat": _concat,
    "Div": _div,
    "Dropout": _dropout,
    "Gelu": _gelu,
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": _plain("hardswish"),
    "Identity": _identity,
    "LeakyRelu": _leaky_relu,
    "Mul": _mul,
    "Relu": _plain("relu"),
    "Sigmoid": _plain("sigmoid"),
    "Softmax": _softmax,
    "Sub": _sub,
    "Tanh": _plain("tanh"),
}
