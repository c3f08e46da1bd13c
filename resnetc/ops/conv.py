"""Convolutions: the ops that own most weights and do most multiply-accumulates."""

from __future__ import annotations

from dataclasses import dataclass, fields
from fractions import Fraction
from typing import Any, ClassVar, Self

from resnetc.ops.base import (
    Op,
    OpError,
    ParameterSpec,
    Role,
    divisors,
    require_column,
    require_eps,
    require_map,
    require_positive,
    vector,
)
from resnetc.shapes import Size, TensorType, Window, same_padding, window_extent


@dataclass(frozen=True)
class Conv2d(Op):
    """2-d convolution, as torch.nn.Conv2d: symmetric zero padding, weight `OxI/gxKHxKW`."""

    name: ClassVar[str] = "conv2d"
    gradient_needs_operands: ClassVar[bool] = True
    in_channels: int
    out_channels: int
    kernel: Size
    stride: Size = (1, 1)
    pad: Size = (0, 0)
    dilation: Size = (1, 1)
    groups: int = 1
    bias: bool = False

    @classmethod
    def check(  # type: ignore[override]
        cls,
        *,
        kernel: Size,
        out: int | None = None,
        stride: Size = (1, 1),
        pad: Size | None = None,
        dilation: Size = (1, 1),
        groups: int = 1,
        **_: Any,
    ) -> None:
        _require_sizes(kernel=kernel, stride=stride, dilation=dilation)
        _require_padding(pad)
        _require_counts(out, groups)

    @classmethod
    def place(  # type: ignore[override]
        cls,
        operands: tuple[TensorType, ...],
        *,
        kernel: Size,
        out: int | None = None,
        stride: Size = (1, 1),
        pad: Size | None = None,
        dilation: Size = (1, 1),
        groups: int = 1,
        bias: bool = False,
    ) -> Self:
        channels, _, _ = require_map(operands[0], cls.name)
        cls.check(kernel=kernel, out=out, stride=stride, pad=pad, dilation=dilation, groups=groups)
        out_channels = channels if out is None else out
        padding = same_padding(kernel, dilation) if pad is None else pad
        _require_groups(channels, out_channels, groups)
        return cls(channels, out_channels, kernel, stride, padding, dilation, groups, bias)

    def result(self, *operands: TensorType) -> TensorType:
        channels, height, width = require_map(operands[0], self.name)
        if channels != self.in_channels:
            raise OpError(f"this convolution takes {self.in_channels} channels, not {channels}")
        extents = [
            window_extent(size, self.kernel[i], self.stride[i], self.pad[i], self.dilation[i])
            for i, size in enumerate((height, width))
        ]
        require_fit(extents, self.kernel, operands[0])
        return TensorType((self.out_channels, *extents), operands[0].dtype)

    def parameters(self) -> tuple[ParameterSpec, ...]:
        shape = (self.out_channels, self.in_channels // self.groups, *self.kernel)
        weight = ParameterSpec("weight", TensorType(shape), Role.WEIGHT)
        bias = ParameterSpec("bias", vector(self.out_channels), Role.BIAS)
        return (weight, bias) if self.bias else (weight,)

    def fan(self, weight: TensorType, *, out: bool) -> float:
        channels = self.out_channels if out else self.in_channels
        return channels // self.groups * self.kernel[0] * self.kernel[1]

    def windows(self, operand: TensorType) -> tuple[Window, Window]:
        height, width = (
            Window(self.dilation[i] * (self.kernel[i] - 1) + 1, self.stride[i], -self.pad[i])
            for i in (0, 1)
        )
        return height, width

    def macs(self, output: TensorType) -> int:
        taps = self.kernel[0] * self.kernel[1] * self.in_channels // self.groups
        return output.elements * taps

    def elementwise_flops(self, operands: tuple[TensorType, ...], output: TensorType) -> int:
        return output.elements if self.bias else 0


@dataclass(frozen=True)
class WsConv2d(Conv2d):
    """A convolution whose weight is standardized before use: each filter to mean 0 and variance 1.

    Qiao et al. 2019, as timm's StdConv2d; the variance is over all numbers of a filter, `eps` is
    added to it. The weight that is owned is the raw one.
    """

    name: ClassVar[str] = "ws_conv2d"
    eps: float = 1e-6

    @classmethod
    def check(cls, *, eps: float = 1e-6, **rest: Any) -> None:
        require_eps(eps)
        super().check(**rest)

    @classmethod
    def place(  # type: ignore[override]
        cls,
        operands: tuple[TensorType, ...],
        *,
        kernel: Size,
        out: int | None = None,
        stride: Size = (1, 1),
        pad: Size | None = None,
        dilation: Size = (1, 1),
        groups: int = 1,
        bias: bool = False,
        eps: float = 1e-6,
    ) -> Self:
        require_eps(eps)
        plain = Conv2d.place(
            operands,
            kernel=kernel,
            out=out,
            stride=stride,
            pad=pad,
            dilation=dilation,
            groups=groups,
            bias=bias,
        )
        return cls(**vars(plain), eps=eps)

    @property
    def plain(self) -> Conv2d:
        """The convolution that takes the standardized weight."""
        return Conv2d(**{each.name: getattr(self, each.name) for each in fields(Conv2d)})


@dataclass(frozen=True)
class ConvTranspose2d(Op):
    """Transposed convolution, as torch.nn.ConvTranspose2d: weight `IxO/gxKHxKW`.

    Every input pixel adds its multiple of the filter to the output, `stride` pixels on for the
    next; `pad` pixels are cut off on every side.
    """

    name: ClassVar[str] = "conv_transpose2d"
    gradient_needs_operands: ClassVar[bool] = True
    in_channels: int
    out_channels: int
    kernel: Size
    stride: Size = (1, 1)
    pad: Size = (0, 0)
    groups: int = 1
    bias: bool = False

    @classmethod
    def check(  # type: ignore[override]
        cls,
        *,
        kernel: Size,
        out: int | None = None,
        stride: Size = (1, 1),
        pad: Size = (0, 0),
        groups: int = 1,
        **_: Any,
    ) -> None:
        _require_sizes(kernel=kernel, stride=stride)
        _require_padding(pad)
        _require_counts(out, groups)
        if any(2 * p > k - 1 for p, k in zip(pad, kernel, strict=True)):
            raise OpError("`pad` cuts off more than a filter reaches over the edge", "pad")

    @classmethod
    def place(  # type: ignore[override]
        cls,
        operands: tuple[TensorType, ...],
        *,
        kernel: Size,
        out: int | None = None,
        stride: Size = (1, 1),
        pad: Size = (0, 0),
        groups: int = 1,
        bias: bool = False,
    ) -> Self:
        channels, _, _ = require_map(operands[0], cls.name)
        cls.check(kernel=kernel, out=out, stride=stride, pad=pad, groups=groups)
        out_channels = channels if out is None else out
        _require_groups(channels, out_channels, groups)
        return cls(channels, out_channels, kernel, stride, pad, groups, bias)

    def result(self, *operands: TensorType) -> TensorType:
        channels, *size = require_map(operands[0], self.name)
        if channels != self.in_channels:
            raise OpError(f"this convolution takes {self.in_channels} channels, not {channels}")
        extents = (
            (extent - 1) * self.stride[i] - 2 * self.pad[i] + self.kernel[i]
            for i, extent in enumerate(size)
        )
        return TensorType((self.out_channels, *extents), operands[0].dtype)

    def parameters(self) -> tuple[ParameterSpec, ...]:
        shape = (self.in_channels, self.out_channels // self.groups, *self.kernel)
        weight = ParameterSpec("weight", TensorType(shape), Role.WEIGHT)
        bias = ParameterSpec("bias", vector(self.out_channels), Role.BIAS)
        return (weight, bias) if self.bias else (weight,)

    def fan(self, weight: TensorType, *, out: bool) -> float:
        taps = self.kernel[0] * self.kernel[1]
        if out:
            return self.out_channels // self.groups * taps
        # Of the taps that reach over an output pixel, one in `stride` falls on an input pixel.
        return self.in_channels // self.groups * taps / (self.stride[0] * self.stride[1])

    def windows(self, operand: TensorType) -> tuple[Window, Window]:
        height, width = (
            Window(
                -(-self.kernel[i] // self.stride[i]),
                Fraction(1, self.stride[i]),
                -((self.kernel[i] - 1 - self.pad[i]) // self.stride[i]),
            )
            for i in (0, 1)
        )
        return height, width

    def macs(self, output: TensorType) -> int:
        pixels = 1
        for i, extent in enumerate(output.shape[1:]):
            pixels *= (extent + 2 * self.pad[i] - self.kernel[i]) // self.stride[i] + 1
        taps = self.kernel[0] * self.kernel[1] * self.out_channels // self.groups
        return pixels * self.in_channels * taps

    def elementwise_flops(self, operands: tuple[TensorType, ...], output: TensorType) -> int:
        return output.elements if self.bias else 0


@dataclass(frozen=True)
class ChannelConv1d(Op):
    """A convolution along the channels of a Cx1x1 map with one filter and no bias: weight `1x1xK`.

    Efficient channel attention (Wang et al. 2019); as torch.nn.Conv1d over the channels as a line.
    """

    name: ClassVar[str] = "conv1d_channels"
    gradient_needs_operands: ClassVar[bool] = True
    kernel: int

    @classmethod
    def check(cls, *, kernel: int, **_: Any) -> None:  # type: ignore[override]
        require_positive(kernel, "kernel")
        if kernel % 2 == 0:
            raise OpError(f"`kernel` must be odd to keep the channels, not {kernel}", "kernel")

    @classmethod
    def place(cls, operands: tuple[TensorType, ...], *, kernel: int) -> Self:  # type: ignore[override]
        require_column(operands[0], cls.name)
        cls.check(kernel=kernel)
        return cls(kernel)

    def result(self, *operands: TensorType) -> TensorType:
        require_column(operands[0], self.name)
        return operands[0]

    def parameters(self) -> tuple[ParameterSpec, ...]:
        return (ParameterSpec("weight", TensorType((1, 1, self.kernel)), Role.WEIGHT),)

    def macs(self, output: TensorType) -> int:
        return output.elements * self.kernel


def _require_sizes(**sizes: Size) -> None:
    for name, size in sizes.items():
        require_positive(min(size), name)


def _require_padding(pad: Size | None) -> None:
    if pad is not None and min(pad) < 0:
        raise OpError(f"`pad` must be at least 0, not {min(pad)}", "pad")


def _require_counts(out: int | None, groups: int) -> None:
    require_positive(groups, "groups")
    if out is not None:
        require_positive(out, "out")


def _require_groups(channels: int, out: int, groups: int) -> None:
    for count, what in ((channels, "input"), (out, "output")):
        if count % groups:
            raise OpError(
                f"{count} {what} channels cannot be split into {groups} groups",
                "groups",
                advice=f"{count} is divisible by {divisors(count)}",
            )


def require_fit(extents: list[int], kernel: Size, operand: TensorType) -> None:
    """Refuse a window that is larger than the padded map."""
    if min(extents) < 1:
        raise OpError(
            f"a {kernel[0]}x{kernel[1]} window does not fit the padded map of {operand}",
            "kernel",
            advice="the map has become too small here: drop a stride, or enlarge the input",
        )
