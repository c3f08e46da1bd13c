"""Convolutions and pools; a convolution that only copies channels is shortcut option A."""

from __future__ import annotations

from typing import Any

from resnetc.lift.model import Constant, Operation
from resnetc.lift.network import Layer
from resnetc.lift.operators.attributes import Reader, pair, wanted
from resnetc.lift.reading import Reading
from resnetc.lift.refusal import LiftError
from resnetc.shapes import Size, same_padding, window_extent


def _padding(operation: Operation, kernel: Size, dilation: Size = (1, 1)) -> Size:
    """The same padding on both sides of each axis, or a refusal."""
    auto = operation.attributes.get("auto_pad", b"NOTSET").decode()
    if auto == "VALID":
        return 0, 0
    stride = pair(operation, "strides")
    if auto != "NOTSET":
        if stride == (1, 1) and all(
            d * (k - 1) % 2 == 0 for d, k in zip(dilation, kernel, strict=True)
        ):
            return same_padding(kernel, dilation)
        raise LiftError(f"{operation}: auto_pad {auto} pads its sides unequally")
    before, after = _pads(operation)
    if before != after:
        raise _unequal(operation)
    return before


def _pads(operation: Operation) -> tuple[Size, Size]:
    """What stands before and behind height and width."""
    given = operation.attributes.get("pads", [0, 0, 0, 0])
    if len(given) != 4:
        raise LiftError(f"{operation}: only windows of two dimensions are lifted")
    top, left, bottom, right = given
    return (top, left), (bottom, right)


def _unequal(operation: Operation) -> LiftError:
    (top, left), (bottom, right) = _pads(operation)
    sides = f"{top}, {left} before and {bottom}, {right} after"
    return LiftError(f"{operation}: pads {sides}; only equal sides are lifted")


def _conv(reading: Reading, operation: Operation) -> None:
    weight, bias = reading.needed(operation, 1), reading.constant(operation, 2)
    if weight.array.ndim != 4:
        raise LiftError(f"{operation}: only convolutions of two dimensions are lifted")
    bias = wanted(bias)
    kernel = (int(weight.array.shape[2]), int(weight.array.shape[3]))
    dilation = pair(operation, "dilations")
    operand = reading.layer(operation)
    arguments = {
        "kernel": kernel,
        "out": int(weight.array.shape[0]),
        "stride": pair(operation, "strides"),
        "pad": _padding(operation, kernel, dilation),
        "dilation": dilation,
        "groups": operation.attributes.get("group", 1),
        "bias": bias is not None,
    }
    if bias is None and (option_a := _selection(operand, weight, arguments)):
        _subsample_and_pad(reading, operation, operand, *option_a)
        return
    reading.place(operation, "conv2d", [operand], {"weight": weight, "bias": bias}, **arguments)


def _selection(
    operand: Layer, weight: Constant, arguments: dict[str, object]
) -> tuple[Size, int, str] | None:
    """Stride, channels and sides when a convolution is option A: copies, and zeros around them."""
    import numpy as np

    out, channels = weight.array.shape[:2]
    plain = (
        arguments["kernel"] == (1, 1) and arguments["groups"] == 1 and arguments["pad"] == (0, 0)
    )
    stride = arguments["stride"]
    assert isinstance(stride, tuple)
    if not plain or out < channels or (out == channels and stride == (1, 1)):
        return None
    for sides, before in (("after", 0), ("both", (out - channels) // 2)):
        if np.array_equal(weight.array[:, :, 0, 0], np.eye(out, channels, -before)):
            return stride, int(out), sides
    return None


def _subsample_and_pad(
    reading: Reading, operation: Operation, operand: Layer, stride: Size, to: int, sides: str
) -> None:
    if stride != (1, 1):
        operand = reading.place(operation, "subsample", [operand], stride=stride)
    if to != operand.type.shape[0]:
        reading.place(operation, "pad_channels", [operand], to=to, sides=sides)


def _conv_transpose(reading: Reading, operation: Operation) -> None:
    weight, bias = reading.needed(operation, 1), reading.constant(operation, 2)
    kernel = (int(weight.array.shape[2]), int(weight.array.shape[3]))
    if any(operation.attributes.get("output_padding", [])) or pair(operation, "dilations") != (
        1,
        1,
    ):
        raise LiftError(f"{operation}: output padding and dilation are not lifted")
    groups = operation.attributes.get("group", 1)
    reading.place(
        operation,
        "conv_transpose2d",
        [reading.layer(operation)],
        {"weight": weight, "bias": bias},
        kernel=kernel,
        out=int(weight.array.shape[1]) * groups,
        stride=pair(operation, "strides"),
        pad=_padding(operation, kernel),
        groups=groups,
        bias=bias is not None,
    )


def _pool(reading: Reading, operation: Operation) -> None:
    operand = reading.layer(operation)
    kernel, stride = pair(operation, "kernel_shape"), pair(operation, "strides")
    if pair(operation, "dilations") != (1, 1):
        raise LiftError(f"{operation}: dilated pools are not lifted")
    counted = bool(operation.attributes.get("count_include_pad", 0))
    ceil = bool(operation.attributes.get("ceil_mode", 0))
    before, after = _pads(operation)
    if not ceil and not counted and before != after:
        ceil, pad = True, _ceiled(operation, operand, kernel, stride)
    else:
        pad = _padding(operation, kernel)
    arguments: dict[str, Any] = {"kernel": kernel, "stride": stride, "pad": pad, "ceil": ceil}
    if kernel == stride == (1, 1) and pad == (0, 0):
        reading.forward(operation, operand)  # an adaptive pool to the size that is there
    elif operation.kind == "MaxPool":
        reading.place(operation, "maxpool", [operand], **arguments)
    elif kernel == operand.type.shape[1:] and pad == (0, 0):
        reading.place(operation, "gap", [operand])
    else:
        counted = counted or (pad == (0, 0) and not ceil)  # nothing there to be counted or not
        reading.place(operation, "avgpool", [operand], **arguments, count_pad=counted)


def _ceiled(operation: Operation, operand: Layer, kernel: Size, stride: Size) -> Size:
    """The padding of a pool in ceil mode that was written as more padding behind each axis."""
    padding, behind = _pads(operation)
    for size, k, s, before, after in zip(
        operand.type.shape[1:], kernel, stride, padding, behind, strict=True
    ):
        extent = (size + before + after - k) // s + 1
        if window_extent(size, k, s, before, ceil=True) != extent or not 0 <= after - before < s:
            raise _unequal(operation)
    return padding


def _global_pool(reading: Reading, operation: Operation) -> None:
    reading.place(operation, "gap", [reading.layer(operation)])


def _mean(reading: Reading, operation: Operation) -> None:
    operand = reading.layer(operation)
    axes = reading.numbers(operation, "axes", 1)
    rank = len(operand.type.shape) + 1
    if axes is None or rank != 4 or sorted(int(axis) % rank for axis in axes) != [2, 3]:
        raise LiftError(f"{operation}: only means over height and width are lifted")
    pooled = reading.place(operation, "gap", [operand])
    if not operation.attributes.get("keepdims", 1):
        reading.place(operation, "flatten", [pooled])


ROWS: dict[str, Reader] = {
    "AveragePool": _pool,
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "GlobalAveragePool": _global_pool,
    "MaxPool": _pool,
    "ReduceMean": _mean,
}
