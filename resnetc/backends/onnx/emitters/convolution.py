"""Convolutions and matrix products."""

from __future__ import annotations

from resnetc.backends.onnx.emission import Emission, attributes
from resnetc.ir import Node
from resnetc.ops import ChannelConv1d, Conv2d, ConvTranspose2d


def conv(emission: Emission, node: Node) -> None:
    """Conv."""
    op = attributes(node, Conv2d)
    operands = [*emission.operands(node), *emission.parameters(node)]
    emission.add(
        "Conv",
        node,
        operands,
        kernel_shape=op.kernel,
        strides=op.stride,
        pads=(*op.pad, *op.pad),
        dilations=op.dilation,
        group=op.groups,
    )


def conv_transpose(emission: Emission, node: Node) -> None:
    """ConvTranspose."""
    op = attributes(node, ConvTranspose2d)
    emission.add(
        "ConvTranspose",
        node,
        [*emission.operands(node), *emission.parameters(node)],
        kernel_shape=op.kernel,
        strides=op.stride,
        pads=(*op.pad, *op.pad),
        group=op.groups,
    )


def channel_conv(emission: Emission, node: Node) -> None:
    """A convolution over the height of a map that holds the channels there."""
    kernel = attributes(node, ChannelConv1d).kernel
    (weight,) = node.parameters
    line = emission.step("Transpose", node, "line", emission.operands(node), perm=(0, 2, 1, 3))
    operands = [line, emission.reshaped(weight, (1, 1, kernel, 1))]
    pads = (kernel // 2, 0, kernel // 2, 0)
    found = emission.step("Conv", node, "conv", operands, kernel_shape=(kernel, 1), pads=pads)
    emission.add("Transpose", node, [found], perm=(0, 2, 1, 3))


def linear(emission: Emission, node: Node) -> None:
    """Gemm. In eight bits its weight has the zero point written out: onnxruntime keeps a Gemm whose
    weight has none in float, and dequantizes the weight in every run."""
    operands = [*emission.operands(node), *emission.parameters(node, zero_point=True)]
    emission.add("Gemm", node, operands, transB=1)


def pixel_linear(emission: Emission, node: Node) -> None:
    """A 1x1 convolution, whose weight has two axes more."""
    weight, *bias = node.parameters
    operands = [*emission.operands(node), emission.reshaped(weight, (*weight.type.shape, 1, 1))]
    operands += [emission.reshaped(each, each.type.shape) for each in bias]
    emission.add("Conv", node, operands, kernel_shape=(1, 1))
