"""Pooling."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

from resnetc.ops.base import Op, OpError, require_map, whole_map
from resnetc.ops.conv import require_fit, require_positive
from resnetc.shapes import Size, TensorType, Window, same_padding, window_extent


@dataclass(frozen=True)
class _Pool(Op):
    gradient_needs_operands: ClassVar[bool] = True
    kernel: Size
    stride: Size = (1, 1)
    pad: Size = (0, 0)
    ceil: bool = False

    @classmethod
    def _place(cls, kernel: Size, stride: Size, pad: Size | None, **rest: bool) -> Self:
        require_positive(min(kernel), "kernel")
        require_positive(min(stride), "stride")
        padding = same_padding(kernel) if pad is None else pad
        if any(not 0 <= p <= k // 2 for p, k in zip(padding, kernel, strict=True)):
            raise OpError("`pad` must be at least 0 and at most half the kernel", "pad")
        return cls(kernel, stride, padding, **rest)

    def result(self, *operands: TensorType) -> TensorType:
        channels, height, width = require_map(operands[0], self.name)
        extents = [
            window_extent(size, self.kernel[i], self.stride[i], self.pad[i], ceil=self.ceil)
            for i, size in enumerate((height, width))
        ]
        require_fit(extents, self.kernel, operands[0])
        return TensorType((channels, *extents), operands[0].dtype)

    def elementwise_flops(self, operands: tuple[TensorType, ...], output: TensorType) -> int:
        return output.elements * self.kernel[0] * self.kernel[1]

    def windows(self, operand: TensorType) -> tuple[Window, Window]:
        height, width = (Window(self.kernel[i], self.stride[i], -self.pad[i]) for i in (0, 1))
        return height, width


@dataclass(frozen=True)
class MaxPool(_Pool):
    """Maximum over a window, as torch.nn.MaxPool2d; padding counts as minus infinity."""

    name: ClassVar[str] = "maxpool"

    @classmethod
    def place(  # type: ignore[override]
        cls,
        operands: tuple[TensorType, ...],
        *,
        kernel: Size,
        stride: Size = (1, 1),
        pad: Size | None = None,
        ceil: bool = False,
    ) -> Self:
        require_map(operands[0], cls.name)
        return cls._place(kernel, stride, pad, ceil=ceil)

    def gradient_state(self, output: TensorType) -> int:
        return 8 * output.elements  # where each maximum came from, as torch's int64


@dataclass(frozen=True)
class AvgPool(_Pool):
    """Mean over a window, as torch.nn.AvgPool2d."""

    name: ClassVar[str] = "avgpool"
    count_pad: bool = True

    @classmethod
    def place(  # type: ignore[override]
        cls,
        operands: tuple[TensorType, ...],
        *,
        kernel: Size,
        stride: Size = (1, 1),
        pad: Size | None = None,
        ceil: bool = False,
        count_pad: bool = True,
    ) -> Self:
        require_map(operands[0], cls.name)
        return cls._place(kernel, stride, pad, ceil=ceil, count_pad=count_pad)


@dataclass(frozen=True)
class GlobalAvgPool(Op):
    """Mean over the whole map: CxHxW to Cx1x1."""

    name: ClassVar[str] = "gap"

    def result(self, *operands: TensorType) -> TensorType:
        channels, _, _ = require_map(operands[0], self.name)
        return TensorType((channels, 1, 1), operands[0].dtype)

    def elementwise_flops(self, operands: tuple[TensorType, ...], output: TensorType) -> int:
        return operands[0].elements

    def windows(self, operand: TensorType) -> tuple[Window, Window]:
        return whole_map(operand)
