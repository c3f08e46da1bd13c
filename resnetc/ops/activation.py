"""Activations: functions of one element, and softmax, which looks along the channels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self

from resnetc.ops.base import Op, OpError, divisors, require_column, require_positive
from resnetc.shapes import TensorType


@dataclass(frozen=True)
class Activation(Op):
    """Base of the activations: an output element depends on one element, or one column of them."""

    def result(self, *operands: TensorType) -> TensorType:
        return operands[0]

    def elementwise_flops(self, operands: tuple[TensorType, ...], output: TensorType) -> int:
        return output.elements


@dataclass(frozen=True)
class Relu(Activation):
    """max(x, 0)."""

    name: ClassVar[str] = "relu"
    gradient_needs_output: ClassVar[bool] = True


@dataclass(frozen=True)
class Relu6(Activation):
    """min(max(x, 0), 6) (Krizhevsky 2010; torch.nn.ReLU6)."""

    name: ClassVar[str] = "relu6"
    gradient_needs_operands: ClassVar[bool] = True


@dataclass(frozen=True)
class LeakyRelu(Activation):
    """x, or `slope` times x where x is negative (torch.nn.LeakyReLU)."""

    name: ClassVar[str] = "leaky_relu"
    gradient_needs_operands: ClassVar[bool] = True
    slope: float = 0.01

    @classmethod
    def place(cls, operands: tuple[TensorType, ...], *, slope: float = 0.01) -> Self:  # type: ignore[override]
        return cls(slope)


@dataclass(frozen=True)
class Silu(Activation):
    """x * sigmoid(x), also called swish (torch.nn.SiLU)."""

    name: ClassVar[str] = "silu"
    gradient_needs_operands: ClassVar[bool] = True


@dataclass(frozen=True)
class Gelu(Activation):
    """x * Phi(x) with the normal distribution's Phi itself, not its approximation by tanh
    (Hendrycks and Gimpel 2016; torch.nn.GELU)."""

    name: ClassVar[str] = "gelu"
    gradient_needs_operands: ClassVar[bool] = True


@dataclass(frozen=True)
class Hardswish(Activation):
    """x * min(max(x + 3, 0), 6) / 6 (Howard et al. 2019; torch.nn.Hardswish)."""

    name: ClassVar[str] = "hardswish"
    gradient_needs_operands: ClassVar[bool] = True


@dataclass(frozen=True)
class Hardsigmoid(Activation):
    """min(max(x + 3, 0), 6) / 6 (torch.nn.Hardsigmoid)."""

    name: ClassVar[str] = "hardsigmoid"
    gradient_needs_operands: ClassVar[bool] = True


@dataclass(frozen=True)
class Sigmoid(Activation):
    """1 / (1 + exp(-x))."""

    name: ClassVar[str] = "sigmoid"
    gradient_needs_output: ClassVar[bool] = True


@dataclass(frozen=True)
class Tanh(Activation):
    """The hyperbolic tangent."""

    name: ClassVar[str] = "tanh"
    gradient_needs_output: ClassVar[bool] = True


@dataclass(frozen=True)
class Softmax(Activation):
    """exp(x) over its sum over the channels, at every pixel of a map or of a vector."""

    name: ClassVar[str] = "softmax"
    gradient_needs_output: ClassVar[bool] = True


@dataclass(frozen=True)
class RadixSoftmax(Activation):
    """Softmax among `radix` splits, for (radix * C)x1x1 (ResNeSt: Zhang et al. 2020).

    The input's channels count through the `groups` first, then the splits, then the channels of a
    split; the output's through the splits first, so that a split's weights stand together. One
    split alone has a sigmoid.
    """

    name: ClassVar[str] = "radix_softmax"
    gradient_needs_output: ClassVar[bool] = True
    radix: int
    groups: int = 1

    @classmethod
    def check(cls, *, radix: int, groups: int = 1, **_: Any) -> None:  # type: ignore[override]
        require_positive(radix, "radix")
        require_positive(groups, "groups")

    @classmethod
    def place(  # type: ignore[override]
        cls, operands: tuple[TensorType, ...], *, radix: int, groups: int = 1
    ) -> Self:
        channels = require_column(operands[0], cls.name)
        cls.check(radix=radix, groups=groups)
        if channels % (radix * groups):
            raise OpError(
                f"{channels} channels cannot be split into {radix * groups} parts",
                "radix",
                advice=f"{channels} is divisible by {divisors(channels)}",
            )
        return cls(radix, groups)
