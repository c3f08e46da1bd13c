"""Maps of another size."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any, ClassVar

from resnetc.ops.base import Op, OpError, require_map, require_positive
from resnetc.shapes import Size, TensorType, Window


@dataclass(frozen=True)
class Upsample(Op):
    """A map `scale` times as large, as torch.nn.Upsample with align_corners=False.

    "nearest" takes for output element i input element floor(i * in / out); "bilinear" weighs the
    two nearest on each axis, pixels being areas. Up to a given size the language's `upsample` is a
    :class:`Resize`.
    """

    name: ClassVar[str] = "upsample"
    scale: int
    mode: str = "nearest"

    @classmethod
    def check(cls, *, to: Size | None = None, scale: int | None = None, **_: Any) -> None:
        if to is not None and scale is not None:
            raise OpError("`upsample` takes either `to` or `scale`, not both", "to")
        if to is not None:
            require_positive(min(to), "to")
        elif scale is None:
            raise OpError("`upsample` needs `to` or `scale`", advice="`upsample(scale=2)`")
        else:
            require_positive(scale, "scale")

    @classmethod
    def place(  # type: ignore[override]
        cls,
        operands: tuple[TensorType, ...],
        *,
        to: Size | None = None,
        scale: int | None = None,
        mode: str = "nearest",
    ) -> Upsample | Resize:
        require_map(operands[0], cls.name)
        cls.check(to=to, scale=scale)
        if to is not None:
            return Resize(to, mode)
        assert scale is not None  # it has been checked
        return Upsample(scale, mode)

    def result(self, *operands: TensorType) -> TensorType:
        channels, height, width = require_map(operands[0], self.name)
        extents = (height * self.scale, width * self.scale)
        return TensorType((channels, *extents), operands[0].dtype)

    def elementwise_flops(self, operands: tuple[TensorType, ...], output: TensorType) -> int:
        return _interpolation_flops(self.mode, output)

    def windows(self, operand: TensorType) -> tuple[Window, Window]:
        return _interpolation_windows(self.mode, operand, self.result(operand))


@dataclass(frozen=True)
class Resize(Op):
    """A map of another size; `mode` as in :class:`Upsample`."""

    name: ClassVar[str] = "resize"
    to: Size
    mode: str = "nearest"

    def result(self, *operands: TensorType) -> TensorType:
        channels, _, _ = require_map(operands[0], self.name)
        return TensorType((channels, *self.to), operands[0].dtype)

    def elementwise_flops(self, operands: tuple[TensorType, ...], output: TensorType) -> int:
        return _interpolation_flops(self.mode, output)

    def windows(self, operand: TensorType) -> tuple[Window, Window]:
        return _interpolation_windows(self.mode, operand, self.result(operand))


def _interpolation_flops(mode: str, output: TensorType) -> int:
    return 0 if mode == "nearest" else 7 * output.elements  # 4 products and 3 sums


def _interpolation_windows(
    mode: str, operand: TensorType, output: TensorType
) -> tuple[Window, Window]:
    taps, start = (1, 0) if mode == "nearest" else (2, -1)
    height, width = (
        Window(min(taps, before), Fraction(before, after), start)
        for before, after in zip(operand.shape[1:], output.shape[1:], strict=True)
    )
    return height, width
