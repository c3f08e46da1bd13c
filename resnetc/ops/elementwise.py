"""Ops that work element by element, or do nothing but in training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

from resnetc.ops.base import Op, OpError
from resnetc.shapes import DType, TensorType


@dataclass(frozen=True)
class _Elementwise(Op):
    def result(self, *operands: TensorType) -> TensorType:
        return operands[0]

    def elementwise_flops(self, operands: tuple[TensorType, ...], output: TensorType) -> int:
        return output.elements


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
class DropPath(_Elementwise):
    """In training, zeroes a whole sample with probability `p` and scales the rest by 1 / (1 - p).

    Stochastic depth (Huang et al. 2016), as torchvision.ops.StochasticDepth in mode "row" and
    timm's DropPath.
    """

    name: ClassVar[str] = "drop_path"
    view: ClassVar[bool] = True
    p: float

    @classmethod
    def place(cls, operands: tuple[TensorType, ...], *, p: float) -> Self:  # type: ignore[override]
        return cls(p)

    def elementwise_flops(self, operands: tuple[TensorType, ...], output: TensorType) -> int:
        return 0

    def gradient_state(self, output: TensorType) -> int:
        # Only training computes anything: a new tensor, and one number for the sample.
        return (output.bytes if self.p else 0) + output.dtype.bytes


@dataclass(frozen=True)
class Affine(_Elementwise):
    """`x * scale + shift` with constants: one of each, or one for each channel.

    Nothing is owned: an input's change of range (torchvision's `transform_input`), a scaled
    residual (Inception-ResNet), `1 - x`.
    """

    name: ClassVar[str] = "affine"
    scale: tuple[float, ...] = (1.0,)
    shift: tuple[float, ...] = (0.0,)

    @classmethod
    def place(  # type: ignore[override]
        cls,
        operands: tuple[TensorType, ...],
        *,
        scale: Sequence[float] = (1.0,),
        shift: Sequence[float] = (0.0,),
    ) -> Self:
        channels = operands[0].shape[0]
        for name, numbers in (("scale", scale), ("shift", shift)):
            if len(numbers) not in (1, channels):
                raise OpError(
                    f"`{name}` holds {len(numbers)} numbers for {channels} channels: "
                    "give one, or one for each",
                    name,
                )
        return cls(_shortest(scale), _shortest(shift))

    def elementwise_flops(self, operands: tuple[TensorType, ...], output: TensorType) -> int:
        return ((self.scale != (1.0,)) + (self.shift != (0.0,))) * output.elements


def _shortest(numbers: Sequence[float]) -> tuple[float, ...]:
    """One number where all are the same."""
    return tuple(numbers[:1]) if len(set(numbers)) == 1 else tuple(numbers)


@dataclass(frozen=True)
class Cast(Op):
    """Change of element type; placed by passes, never by a spec."""

    name: ClassVar[str] = "cast"
    to: DType

    def result(self, *operands: TensorType) -> TensorType:
        return TensorType(operands[0].shape, self.to)
