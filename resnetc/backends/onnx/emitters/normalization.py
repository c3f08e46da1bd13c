"""Normalization, scales and shifts."""

from __future__ import annotations

from resnetc.backends.onnx.emission import ELEMENT_TYPES, Emission, attributes
from resnetc.ir import Node
from resnetc.ops import Affine, BatchNorm, ChannelAffine, GroupNorm, LayerNorm
from resnetc.shapes import DType

_LAYER_NORM_OPSET = 17
"""LayerNormalization is an op from here on."""
_GROUP_NORM_OPSET = 21
"""GroupNormalization has a scale for each channel from here on; before it had one for a group."""


def batch_norm(emission: Emission, node: Node) -> None:
    """BatchNormalization."""
    operands = [*emission.operands(node), *emission.parameters(node, 4)]
    emission.add("BatchNormalization", node, operands, epsilon=attributes(node, BatchNorm).eps)


def channel_affine(emission: Emission, node: Node) -> None:
    """A 1x1 convolution of each channel by itself: one node, and one that runtimes can fuse."""
    channels = attributes(node, ChannelAffine).channels
    scale, shift = node.parameters
    weight = emission.reshaped(scale, (channels, 1, 1, 1))
    bias = emission.reshaped(shift, (channels,))
    operands = [*emission.operands(node), weight, bias]
    emission.add("Conv", node, operands, kernel_shape=(1, 1), group=channels)


def layer_norm(emission: Emission, node: Node) -> None:
    """LayerNormalization of a vector."""
    _layer_norm(emission, node, emission.operands(node)[0], last=True)


def pixel_layer_norm(emission: Emission, node: Node) -> None:
    """ONNX normalizes over last axes alone, so the channels are taken there and back."""
    (operand,) = emission.operands(node)
    if emission.opset < _LAYER_NORM_OPSET:
        _layer_norm(emission, node, operand, last=True)
        return
    turned = emission.step("Transpose", node, "turned", [operand], perm=(0, 2, 3, 1))
    normed = _layer_norm(emission, node, turned, last=False)
    emission.add("Transpose", node, [normed], perm=(0, 3, 1, 2))


def _layer_norm(emission: Emission, node: Node, operand: str, *, last: bool) -> str:
    """Normalize over the last axis, or before opset 17 over the channels; `last` says that this
    is the node's own result."""
    eps = attributes(node, LayerNorm).eps
    if emission.opset >= _LAYER_NORM_OPSET:
        operands = [operand, *emission.parameters(node)]
        settings = {"axis": -1, "epsilon": eps}
        if last:
            emission.add("LayerNormalization", node, operands, **settings)
            return emission.tensors[node.id]
        return emission.step("LayerNormalization", node, "norm", operands, **settings)
    _decomposed(emission, node, operand, eps)
    return emission.tensors[node.id]


def _decomposed(emission: Emission, node: Node, operand: str, eps: float) -> None:
    """Layer normalization over axis 1 in steps. Squares leave float16's range at 256, so there
    everything up to the scale is computed in float32."""
    half = node.type.dtype is DType.F16
    wide = DType.F32 if half else node.type.dtype
    if half:
        operand = emission.step("Cast", node, "wide", [operand], to=ELEMENT_TYPES[wide])
    mean = emission.step("ReduceMean", node, "mean", [operand], axes=(1,))
    centred = emission.step("Sub", node, "centred", [operand, mean])
    square = emission.step("Mul", node, "square", [centred, centred])
    variance = emission.step("ReduceMean", node, "variance", [square], axes=(1,))
    number = emission.numbers(node, "eps", [eps], (), wide)
    raised = emission.step("Add", node, "raised", [variance, number])
    deviation = emission.step("Sqrt", node, "deviation", [raised])
    normed = emission.step("Div", node, "normed", [centred, deviation])
    if half:
        to = ELEMENT_TYPES[node.type.dtype]
        normed = emission.step("Cast", node, "narrow", [normed], to=to)
    axes = (1,) * (len(node.type.shape) - 1)
    scale, shift = (emission.reshaped(p, (*p.type.shape, *axes)) for p in node.parameters)
    scaled = emission.step("Mul", node, "scaled", [normed, scale])
    emission.add("Add", node, [scaled, shift])


def group_norm(emission: Emission, node: Node) -> None:
    """Before opset 21 an InstanceNormalization of maps that hold a group each."""
    op = attributes(node, GroupNorm)
    (operand,) = emission.operands(node)
    if emission.opset >= _GROUP_NORM_OPSET:
        operands = [operand, *emission.parameters(node)]
        emission.add("GroupNormalization", node, operands, epsilon=op.eps, num_groups=op.groups)
        return
    scale, shift = (emission.reshaped(p, (op.channels, 1, 1)) for p in node.parameters)
    grouped = emission.integers(node, "grouped", (0, op.groups, -1))
    groups = emission.step("Reshape", node, "groups", [operand, grouped])
    ones = emission.numbers(node, "ones", [1.0] * op.groups, (op.groups,))
    zeros = emission.numbers(node, "zeros", [0.0] * op.groups, (op.groups,))
    normed = emission.step(
        "InstanceNormalization", node, "normed", [groups, ones, zeros], epsilon=op.eps
    )
    # The batch is whatever it was, and maps keep their size.
    shape = emission.integers(node, "shape", (0, *node.type.shape))
    ungrouped = emission.step("Reshape", node, "ungrouped", [normed, shape])
    scaled = emission.step("Mul", node, "scaled", [ungrouped, scale])
    emission.add("Add", node, [scaled, shift])


def channel_scale(emission: Emission, node: Node) -> None:
    """A product with the parameter."""
    emission.add("Mul", node, [*emission.operands(node), *emission.parameters(node)])


def affine(emission: Emission, node: Node) -> None:
    """A product, a sum, or both; with neither, a product with 1."""
    op = attributes(node, Affine)
    (tensor,) = emission.operands(node)
    steps = [("Mul", "scale", op.scale)] if op.scale != (1.0,) else []
    steps += [("Add", "shift", op.shift)] if op.shift != (0.0,) else []
    steps = steps or [("Mul", "scale", op.scale)]
    for place, (kind, label, numbers) in enumerate(steps, 1):
        axes = (1,) * (len(node.type.shape) - 1)
        shape = () if len(numbers) == 1 else (len(numbers), *axes)
        operands = [tensor, emission.numbers(node, label, numbers, shape)]
        if place == len(steps):
            emission.add(kind, node, operands)
        else:
            tensor = emission.step(kind, node, f"{label}d", operands)
