"""Pooling."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from resnetc.ops.base import Op, OpError, require_map, require_positive, whole_map
from resnetc.ops.conv import require_fit
from resnetc.shapes import Size, TensorType, Window, same_padding, window_extent


@dataclass(frozen=True)
class _Pool(Op):
    gradient_needs_operands: ClassVar[bool] = True
    kernel: Size
    stride: Size = (1, 1)
    pad: Size = (0, 0)
    ceil: bool = False

    @classmethod
    def check(  # type: ignore[override]
        cls, *, kernel: Size, stride: Size = (1, 1), pad: Size | None = None, **_: Any
    ) -> None:
        require_positive(min(kernel), "kernel")
        require_positive(min(stride), "stride")
        padding = same_padding(kernel) if pad is None else pad
        if any(not 0 <= p <= k // 2 for p, k in zip(padding, kernel, strict=True)):
            raise OpError("`pad` must be at least 0 and at most half the kernel", "pad")

    @classmethod
    def _place(cls, kernel: Size, stride: Size, pad: Size | None, **rest: bool) -> Self:
        cls.check(kernel=kernel, stride=stride, pad=pad)
        return cls(kernel, stride, same_padding(kernel) if pad is None else pad, **rest)

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


@dataclass(frozen=True)
class AdaptiveAvgPool(Op):
    """Mean over windows that divide the map into `to`, as torch.nn.AdaptiveAvgPool2d.

    Along an axis of H elements window i goes from floor(i * H / to) up to, not including,
    ceil((i + 1) * H / to): windows overlap where `to` does not divide H, and repeat above H.
    """

    name: ClassVar[str] = "adaptive_avgpool"
    gradient_needs_operands: ClassVar[bool] = True
    to: Size

    @classmethod
    def check(cls, *, to: Size, **_: Any) -> None:  # type: ignore[override]
        require_positive(min(to), "to")

    @classmethod
    def place(cls, operands: tuple[TensorType, ...], *, to: Size) -> Self:  # type: ignore[override]
        require_map(operands[0], cls.name)
        cls.check(to=to)
        return cls(to)

    def result(self, *operands: TensorType) -> TensorType:
        channels, _, _ = require_map(operands[0], self.name)
        return TensorType((channels, *self.to), operands[0].dtype)

    def bounds(self, extent: int, axis: int) -> list[tuple[int, int]]:
        """First and end of every window along an axis."""
        to = self.to[axis]
        return [(i * extent // to, -(-(i + 1) * extent // to)) for i in range(to)]

    def elementwise_flops(self, operands: tuple[TensorType, ...], output: TensorType) -> int:
        channels, height, width = operands[0].shape
        rows, columns = (
            sum(end - start for start, end in self.bounds(extent, axis))
            for axis, extent in enumerate((height, width))
        )
        return channels * rows * columns

    def windows(self, operand: TensorType) -> tuple[Window, Window]:
        """Exact where the windows are equal; else the steps between them vary, and the whole axis
        is said to be seen."""
        height, width = (
            Window(extent // to, extent // to) if extent % to == 0 else Window(extent, extent)
            for extent, to in zip(operand.shape[1:], self.to, strict=True)
        )
        return height, width


@dataclass(frozen=True)
class BlurPool(Op):
    """Binomial blur, then every `stride`-th pixel; edges are reflected (Zhang 2019).

    As timm's BlurPool2d: `(stride - 1 + kernel - 1) // 2` pixels are added a side.
    """

    name: ClassVar[str] = "blur_pool"
    kernel: int = 3
    stride: Size = (2, 2)

    @classmethod
    def check(cls, *, kernel: int = 3, stride: Size = (2, 2), **_: Any) -> None:
        if kernel < 2:
            raise OpError(f"`kernel` must be at least 2, not {kernel}", "kernel")
        require_positive(min(stride), "stride")

    @classmethod
    def place(  # type: ignore[override]
        cls, operands: tuple[TensorType, ...], *, kernel: int = 3, stride: Size = (2, 2)
    ) -> Self:
        _, height, width = require_map(operands[0], cls.name)
        cls.check(kernel=kernel, stride=stride)
        placed = cls(kernel, stride)
        if any(p >= extent for p, extent in zip(placed.pad, (height, width), strict=True)):
            raise OpError(
                f"edges of {placed.pad[0]}x{placed.pad[1]} pixels cannot be reflected "
                f"in a map of {operands[0]}"
            )
        return placed

    @property
    def pad(self) -> Size:
        """Reflected pixels a side."""
        return (self.stride[0] + self.kernel - 2) // 2, (self.stride[1] + self.kernel - 2) // 2

    @property
    def row(self) -> tuple[float, ...]:
        """The filter along one axis: binomial coefficients that add up to 1."""
        steps = self.kernel - 1
        return tuple(math.comb(steps, i) / 2**steps for i in range(self.kernel))

    def result(self, *operands: TensorType) -> TensorType:
        channels, *size = require_map(operands[0], self.name)
        extents = [
            window_extent(extent, self.kernel, self.stride[i], self.pad[i])
            for i, extent in enumerate(size)
        ]
        require_fit(extents, (self.kernel, self.kernel), operands[0])
        return TensorType((channels, *extents), operands[0].dtype)

    def elementwise_flops(self, operands: tuple[TensorType, ...], output: TensorType) -> int:
        return 2 * output.elements * self.kernel**2

    def windows(self, operand: TensorType) -> tuple[Window, Window]:
        height, width = (Window(self.kernel, self.stride[i], -self.pad[i]) for i in (0, 1))
        return height, width
