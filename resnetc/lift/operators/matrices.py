"""Matrix products and normalizations."""

from __future__ import annotations

from resnetc.lift.model import Constant, Operation
from resnetc.lift.operators.attributes import Reader, short, wanted
from resnetc.lift.reading import Reading
from resnetc.lift.refusal import LiftError


def _gemm(reading: Reading, operation: Operation) -> None:
    weight, bias = reading.needed(operation, 1), reading.constant(operation, 2)
    given = operation.attributes
    if given.get("transA", 0) or given.get("alpha", 1.0) != 1 or given.get("beta", 1.0) != 1:
        raise LiftError(f"{operation}: only a plain product with a weight is lifted")
    if not given.get("transB", 0):
        weight = Constant(weight.array.T, weight.name)
    _linear(reading, operation, weight, wanted(bias))


def _matmul(reading: Reading, operation: Operation) -> None:
    weight = reading.needed(operation, 1)
    _linear(reading, operation, Constant(weight.array.T, weight.name), None)


def _linear(
    reading: Reading, operation: Operation, weight: Constant, bias: Constant | None
) -> None:
    operand = reading.layer(operation)
    if len(operand.type.shape) != 1 or weight.array.ndim != 2:
        raise LiftError(f"{operation}: only products of a vector with a matrix are lifted")
    reading.place(
        operation,
        "linear",
        [operand],
        {"weight": weight, "bias": bias},
        out=int(weight.array.shape[0]),
        bias=bias is not None,
    )


def _batch_norm(reading: Reading, operation: Operation) -> None:
    names = ("weight", "bias", "running_mean", "running_var")
    arrays = {name: reading.constant(operation, i + 1) for i, name in enumerate(names)}
    reading.place(
        operation,
        "batchnorm",
        [reading.layer(operation)],
        arrays,
        eps=short(operation.attributes.get("epsilon", 1e-5)),
        momentum=short(1 - short(operation.attributes.get("momentum", 0.9))),
    )


def _layer_norm(reading: Reading, operation: Operation) -> None:
    operand = reading.layer(operation)
    if len(operand.type.shape) != 1 or operation.attributes.get("axis", -1) not in (-1, 1):
        raise LiftError(f"{operation}: only the normalization of a vector is lifted")
    arrays = {"weight": reading.constant(operation, 1), "bias": reading.constant(operation, 2)}
    if arrays["bias"] is None:
        raise LiftError(f"{operation}: a normalization without a bias is not lifted")
    eps = short(operation.attributes.get("epsilon", 1e-5))
    reading.place(operation, "layernorm", [operand], arrays, eps=eps)


ROWS: dict[str, Reader] = {
    "BatchNormalization": _batch_norm,
    "Gemm": _gemm,
    "LayerNormalization": _layer_norm,
    "MatMul": _matmul,
}
