"""Convolution and matrix product: the ops that own weights and do the multiply-accumulates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

from resnetc.ops.base import Op, OpError, ParameterSpec, Role, require_map, vector
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
        out_channels = channels if out is None else out
        for key, value in (("kernel", min(kernel)), ("stride", min(stride)), ("groups", groups)):
            require_positive(value, key)
        require_positive(min(dilation), "dilation")
        if pad is not None and min(pad) < 0:
            raise OpError(f"`pad` must be at least 0, not {min(pad)}", "pad")
        require_positive(out_channels, "out")
        for count, what in ((channels, "input"), (out_channels, "output")):
            if count % groups:
                raise OpError(
                    f"{count} {what} channels cannot be split into {groups} groups",
                    "groups",
                    advice=f"{count} is divisible by {_divisors(count)}",
                )
        padding = same_padding(kernel, dilation) if pad is None else pad
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
class Linear(Op):
    """Matrix product with a weight `OxI`, as torch.nn.Linear; takes a vector."""

    name: ClassVar[str] = "linear"
    gradient_needs_operands: ClassVar[bool] = True
    in_features: int
    out_features: int
    bias: bool = True

    @classmethod
    def place(  # type: ignore[override]
        cls, operands: tuple[TensorType, ...], *, out: int, bias: bool = True
    ) -> Self:
        require_positive(out, "out")
        return cls(_features(operands[0]), out, bias)

    def result(self, *operands: TensorType) -> TensorType:
        features = _features(operands[0])
        if features != self.in_features:
            raise OpError(f"this linear layer takes {self.in_features} features, not {features}")
        return TensorType((self.out_features,), operands[0].dtype)

    def parameters(self) -> tuple[ParameterSpec, ...]:
        shape = (self.out_features, self.in_features)
        weight = ParameterSpec("weight", TensorType(shape), Role.WEIGHT)
        bias = ParameterSpec("bias", vector(self.out_features), Role.BIAS)
        return (weight, bias) if self.bias else (weight,)

    def macs(self, output: TensorType) -> int:
        return self.in_features * self.out_features

    def elementwise_flops(self, operands: tuple[TensorType, ...], output: TensorType) -> int:
        return output.elements if self.bias else 0


def require_positive(value: int, argument: str) -> None:
    """Refuse an argument below 1."""
    if value < 1:
        raise OpError(f"`{argument}` must be at least 1, not {value}", argument)


def require_fit(extents: list[int], kernel: Size, operand: TensorType) -> None:
    """Refuse a window that is larger than the padded map."""
    if min(extents) < 1:
        raise OpError(
            f"a {kernel[0]}x{kernel[1]} window does not fit the padded map of {operand}",
            "kernel",
            advice="the map has become too small here: drop a stride, or enlarge the input",
        )


def _features(operand: TensorType) -> int:
    if len(operand.shape) != 1:
        raise OpError(
            f"`linear` needs a vector, but the tensor here is {operand}",
            code="E0409",
            advice="place `flatten` before it",
        )
    return operand.shape[0]


def _divisors(count: int) -> str:
    return ", ".join(str(d) for d in range(2, min(count, 4096) + 1) if count % d == 0) or "1 only"
