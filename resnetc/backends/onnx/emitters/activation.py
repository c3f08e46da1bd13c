"""Activations."""

from __future__ import annotations

import math

from resnetc.backends.onnx.emission import Emission, attributes
from resnetc.backends.onnx.options import GELU_OPSET
from resnetc.ir import Node
from resnetc.ops import LeakyRelu, RadixSoftmax
from resnetc.shapes import DType

_HARDSWISH_OPSET = 14


def relu6(emission: Emission, node: Node) -> None:
    """A clip between 0 and 6."""
    bounds = [emission.numbers(node, label, [n], ()) for label, n in (("low", 0.0), ("high", 6.0))]
    emission.add("Clip", node, [*emission.operands(node), *bounds])


def leaky_relu(emission: Emission, node: Node) -> None:
    """LeakyRelu."""
    slope = attributes(node, LeakyRelu).slope
    emission.add("LeakyRelu", node, emission.operands(node), alpha=slope)


def silu(emission: Emission, node: Node) -> None:
    """The operand times its sigmoid; Swish is an op from opset 24 on only."""
    (operand,) = emission.operands(node)
    gate = emission.step("Sigmoid", node, "sigmoid", [operand])
    emission.add("Mul", node, [operand, gate])


def gelu(emission: Emission, node: Node) -> None:
    """Before opset 20 in the form that runtimes fuse: `x / sqrt(2)`, erf, plus 1, times x, half."""
    (operand,) = emission.operands(node)
    if emission.opset >= GELU_OPSET:
        emission.add("Gelu", node, [operand])
        return
    root, one, half = (
        emission.numbers(node, label, [number], ())
        for label, number in (("root", math.sqrt(2)), ("one", 1.0), ("half", 0.5))
    )
    scaled = emission.step("Div", node, "scaled", [operand, root])
    erf = emission.step("Erf", node, "erf", [scaled])
    raised = emission.step("Add", node, "raised", [erf, one])
    product = emission.step("Mul", node, "product", [operand, raised])
    emission.add("Mul", node, [product, half])


def hardswish(emission: Emission, node: Node) -> None:
    """HardSwish, or before opset 14 the operand times its gate; so too where TensorRT would refuse
    it, which takes no HardSwish in bfloat16."""
    (operand,) = emission.operands(node)
    if emission.opset >= _HARDSWISH_OPSET and node.type.dtype is not DType.BF16:
        emission.add("HardSwish", node, [operand])
        return
    gate = emission.step("HardSigmoid", node, "gate", [operand], alpha=1 / 6, beta=0.5)
    emission.add("Mul", node, [operand, gate])


def radix_softmax(emission: Emission, node: Node) -> None:
    """A softmax between two reshapes; a transpose where groups come before splits."""
    op = attributes(node, RadixSoftmax)
    (operand,) = emission.operands(node)
    if op.radix == 1:
        emission.add("Sigmoid", node, [operand])
        return
    split = emission.integers(node, "split", (0, op.groups, op.radix, -1))
    splits = emission.step("Reshape", node, "splits", [operand, split])
    if op.groups == 1:
        weights = emission.step("Softmax", node, "softmax", [splits], axis=2)
    else:
        turned = emission.step("Transpose", node, "turned", [splits], perm=(0, 2, 1, 3))
        weights = emission.step("Softmax", node, "softmax", [turned], axis=1)
    shape = emission.integers(node, "shape", (0, *node.type.shape))
    emission.add("Reshape", node, [weights, shape])
