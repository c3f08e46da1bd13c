"""Pooling and resampling."""

from __future__ import annotations

import math
from collections.abc import Sequence

from resnetc.backends.onnx.emission import Emission, attributes
from resnetc.ir import Node
from resnetc.ops import AdaptiveAvgPool, AvgPool, BlurPool, MaxPool, Resize, Subsample, Upsample
from resnetc.shapes import DType, Size


def max_pool(emission: Emission, node: Node) -> None:
    """MaxPool; ceil mode is made explicit as padding."""
    op = attributes(node, MaxPool)
    end, _ = _window_end(emission, node, op)
    window = {"kernel_shape": op.kernel, "strides": op.stride, "pads": (*op.pad, *end)}
    emission.add("MaxPool", node, emission.operands(node), **window)


def avg_pool(emission: Emission, node: Node) -> None:
    """torch counts the padding but never what a last window of ceil mode reaches beyond it.

    ONNX counts all padding or none: where both kinds meet, the counted one becomes a Pad.
    """
    op = attributes(node, AvgPool)
    end, overhang = _window_end(emission, node, op)
    operands = emission.operands(node)
    begin, counted = op.pad, op.count_pad
    if op.count_pad and max(overhang) > 0:
        if max(op.pad) > 0:
            pads = (0, 0, *op.pad, 0, 0, *op.pad)
            pad = emission.integers(node, "pads", pads)
            operands = [emission.step("Pad", node, "pad", [*operands, pad])]
        begin, end, counted = (0, 0), overhang, False
    emission.add(
        "AveragePool",
        node,
        operands,
        kernel_shape=op.kernel,
        strides=op.stride,
        pads=(*begin, *end),
        count_include_pad=int(counted),
    )


def _window_end(emission: Emission, node: Node, op: MaxPool | AvgPool) -> tuple[Size, Size]:
    """Padding behind each axis that gives the graph's output size without ceil mode, and how far
    it goes beyond the op's own. Runtimes have disagreed about ceil mode for years."""
    size = emission.operand_type(node).shape[1:]
    overhang = [
        max(0, (extent - 1) * op.stride[i] + op.kernel[i] - size[i] - 2 * op.pad[i])
        for i, extent in enumerate(node.type.shape[1:])
    ]
    end = (op.pad[0] + overhang[0], op.pad[1] + overhang[1])
    return end, (overhang[0], overhang[1])


def subsample(emission: Emission, node: Node) -> None:
    """The maximum of single pixels: keeps every `stride`-th, without a slice's four constants."""
    stride = attributes(node, Subsample).stride
    emission.add("MaxPool", node, emission.operands(node), kernel_shape=(1, 1), strides=stride)


def adaptive_avg_pool(emission: Emission, node: Node) -> None:
    """Windows of one size are an AveragePool; else one matrix averages rows, another columns."""
    op = attributes(node, AdaptiveAvgPool)
    (operand,) = emission.operands(node)
    _, height, width = emission.operand_type(node).shape
    if op.to == (1, 1):
        emission.add("GlobalAveragePool", node, [operand])
    elif height % op.to[0] == width % op.to[1] == 0:
        window = (height // op.to[0], width // op.to[1])
        emission.add("AveragePool", node, [operand], kernel_shape=window, strides=window)
    else:
        rows = _averages(op.bounds(height, 0), height)
        across = _averages(op.bounds(width, 1), width)
        columns = [across[i][j] for j in range(width) for i in range(op.to[1])]
        flat = [number for row in rows for number in row]
        above = emission.numbers(node, "rows", flat, (op.to[0], height))
        beside = emission.numbers(node, "columns", columns, (width, op.to[1]))
        part = emission.step("MatMul", node, "by_rows", [above, operand])
        emission.add("MatMul", node, [part, beside])


def _averages(bounds: Sequence[tuple[int, int]], extent: int) -> list[list[float]]:
    """A row for each window: 1 over its length where it lies, 0 elsewhere."""
    return [
        [1 / (end - start) if start <= i < end else 0.0 for i in range(extent)]
        for start, end in bounds
    ]


def blur_pool(emission: Emission, node: Node) -> None:
    """Reflected edges, then a convolution of each channel by itself with the binomial filter."""
    op = attributes(node, BlurPool)
    channels = node.type.shape[0]
    pads = emission.integers(node, "pads", (0, 0, *op.pad, 0, 0, *op.pad))
    operands = [*emission.operands(node), pads]
    padded = emission.step("Pad", node, "pad", operands, mode="reflect")
    filter_ = [above * beside for above in op.row for beside in op.row]
    shape = (channels, 1, op.kernel, op.kernel)
    weight = emission.numbers(node, "filter", filter_ * channels, shape)
    emission.add(
        "Conv",
        node,
        [padded, weight],
        kernel_shape=(op.kernel, op.kernel),
        strides=op.stride,
        group=channels,
    )


def upsample(emission: Emission, node: Node) -> None:
    """Resize by a whole factor."""
    scale = attributes(node, Upsample).scale
    _resize(emission, node, attributes(node, Upsample).mode, (scale, scale))


def resize(emission: Emission, node: Node) -> None:
    """By factors, which every opset and runtime takes with a batch of any size.

    What "nearest" takes at a factor that is no whole number is a matter of rounding, on which
    runtimes differ: there the rows and columns are looked up.
    """
    op = attributes(node, Resize)
    before = emission.operand_type(node).shape[1:]
    whole = all(after % size == 0 for size, after in zip(before, op.to, strict=True))
    if op.mode == "bilinear" or whole:
        height, width = (_factor(size, to) for size, to in zip(before, op.to, strict=True))
        _resize(emission, node, op.mode, (height, width))
        return
    rows, columns = (
        emission.integers(node, label, _nearest(size, to))
        for label, size, to in zip(("rows", "columns"), before, op.to, strict=True)
    )
    part = emission.step("Gather", node, "by_rows", [*emission.operands(node), rows], axis=2)
    emission.add("Gather", node, [part, columns], axis=3)


def _resize(emission: Emission, node: Node, mode: str, factors: tuple[float, float]) -> None:
    settings = (
        {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
        if mode == "bilinear"
        else {
            "mode": "nearest",
            "coordinate_transformation_mode": "asymmetric",
            "nearest_mode": "floor",
        }
    )
    scales = emission.numbers(node, "scales", (1.0, 1.0, *factors), (4,), DType.F32)
    emission.add("Resize", node, [*emission.operands(node), "", scales], **settings)


def _factor(before: int, after: int) -> float:
    """The float32 factor from which a runtime gets `after` again, however it multiplies."""
    import numpy as np

    factor = np.float32(after / before)
    while before * float(factor) < after:
        factor = np.nextafter(factor, np.float32(math.inf))
    return float(factor)


def _nearest(before: int, after: int) -> list[int]:
    """For each output element the input element, by torch's float32 arithmetic."""
    import numpy as np

    step = np.float32(before) / np.float32(after)
    return [min(int(np.float32(i) * step), before - 1) for i in range(after)]
