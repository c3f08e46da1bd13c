"""Ops that work element by element, or do nothing but in training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from resnetc.ops.base import Op
from resnetc.shapes import DType, TensorType


@dataclass(frozen=True)
class _Elementwise(Op):
    def result(self, *operands: TensorType) -> TensorType:
        return operands[0]

    def elementwise_flops(self, operands: tuple[TensorType, ...], output: TensorType) -> int:
        return output.elements


@dataclass(frozen=True)
class Relu(_Elementwise):
    """max(x, 0)."""

    name: ClassVar[str] = "relu"
    gradient_needs_output: ClassVar[bool] = True


@dataclass(frozen=True)
class Sigmoid(_Elementwise):
    """1 / (1 + exp(-x))."""

    name: ClassVar[str] = "sigmoid"
    gradient_needs_output: ClassVar[bool] = True


@dataclass(frozen=True)
class Identity(_Elementwise):
    """The tensor itself."""

    name: ClassVar[str] = "identity"
    view: ClassVar[bool] = True

    def elementwise_flops(self, operands: tuple[TensorType, ...], output: TensorType) -> int:
        return 0


@dataclass(frozen=True)
class Dropout(_Elementwise):
    """In training, zeroes an element with probability `p` and scales the rest by 1 / (1 - p)."""

    name: ClassVar[str] = "dropout"
    view: ClassVar[bool] = True
    p: float = 0.5

    @classmethod
    def place(cls, operands: tuple[TensorType, ...], *, p: float = 0.5) -> Dropout:  # type: ignore[override]
        return cls(p)

    def elementwise_flops(self, operands: tuple[TensorType, ...], output: TensorType) -> int:
        return 0

    def gradient_state(self, output: TensorType) -> int:
        # Only training computes anything: a new tensor, and a mask of one byte an element.
        return output.bytes + output.elements


@dataclass(frozen=True)
class Cast(Op):
    """Change of element type; placed by passes, never by a spec."""

    name: ClassVar[str] = "cast"
    to: DType

    def result(self, *operands: TensorType) -> TensorType:
        return TensorType(operands[0].shape, self.to)
