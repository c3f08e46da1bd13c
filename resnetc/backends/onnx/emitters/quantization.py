"""Eight bits and back."""

from __future__ import annotations

from resnetc.backends.onnx.emission import Emission, attributes
from resnetc.ir import Node
from resnetc.ops import Dequantize, Quantize
from resnetc.shapes import DType


def quantize(emission: Emission, node: Node) -> None:
    """QuantizeLinear. The zero point says the element type, so it is always there."""
    op = attributes(node, Quantize)
    operand = emission.operand_type(node)
    emission.add("QuantizeLinear", node, _operands(emission, node, op, operand.dtype, op.to))


def dequantize(emission: Emission, node: Node) -> None:
    """DequantizeLinear."""
    op = attributes(node, Dequantize)
    held = emission.operand_type(node).dtype
    emission.add("DequantizeLinear", node, _operands(emission, node, op, op.to, held))


def _operands(
    emission: Emission, node: Node, op: Quantize | Dequantize, wide: DType, narrow: DType
) -> list[str]:
    """The tensor, a scale in the wide element type and a zero point in the narrow one."""
    scale = emission.numbers(node, "scale", [op.scale], (), wide)
    zero = emission.numbers(node, "zero_point", [op.zero_point], (), narrow)
    return [*emission.operands(node), scale, zero]
