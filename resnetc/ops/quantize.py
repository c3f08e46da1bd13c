"""Numbers of eight bits and back: ops that passes place, never a spec."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from resnetc.ops.base import Op
from resnetc.shapes import DType, TensorType

LIMITS: dict[DType, tuple[float, float]] = {
    DType.I8: (-128, 127),
    DType.U8: (0, 255),
    DType.F8: (-448, 448),
}
"""Smallest and largest number of each element type that tensors are quantized to."""


@dataclass(frozen=True)
class Quantize(Op):
    """`x / scale`, rounded half to even, plus the zero point; what lies outside is cut off.

    One scale for the whole tensor, as ONNX's QuantizeLinear. The scale is a float32 number. To
    `float8_e4m3fn` the rounding is to that type's numbers, and there is no zero point.
    """

    name: ClassVar[str] = "quantize"
    scale: float
    zero_point: int
    to: DType

    def result(self, *operands: TensorType) -> TensorType:
        return TensorType(operands[0].shape, self.to)

    def elementwise_flops(self, operands: tuple[TensorType, ...], output: TensorType) -> int:
        return 3 * output.elements


@dataclass(frozen=True)
class Dequantize(Op):
    """`(q - zero_point) * scale`, in the element type `to`, as ONNX's DequantizeLinear."""

    name: ClassVar[str] = "dequantize"
    scale: float
    zero_point: int
    to: DType

    def result(self, *operands: TensorType) -> TensorType:
        return TensorType(operands[0].shape, self.to)

    def elementwise_flops(self, operands: tuple[TensorType, ...], output: TensorType) -> int:
        return 2 * output.elements
