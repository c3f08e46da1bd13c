"""Normalization."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self

from resnetc.ops.base import (
    Op,
    OpError,
    ParameterSpec,
    Role,
    divisors,
    require_eps,
    require_map,
    require_positive,
    vector,
    whole_map,
)
from resnetc.shapes import DType, TensorType, Window


@dataclass(frozen=True)
class BatchNorm(Op):
    """Batch normalization over N, H and W, as torch.nn.BatchNorm2d.

    `momentum` is torch's: the weight of the new batch in the running statistics. `gamma` is the
    initial scale.
    """

    name: ClassVar[str] = "batchnorm"
    gradient_needs_operands: ClassVar[bool] = True
    channels: int
    eps: float = 1e-5
    momentum: float = 0.1
    gamma: float = 1.0

    @classmethod
    def check(cls, *, eps: float = 1e-5, momentum: float = 0.1, **_: Any) -> None:
        require_eps(eps)
        if not 0 <= momentum <= 1:
            raise OpError(f"`momentum` must lie between 0 and 1, not {momentum}", "momentum")

    @classmethod
    def place(  # type: ignore[override]
        cls,
        operands: tuple[TensorType, ...],
        *,
        eps: float = 1e-5,
        momentum: float = 0.1,
        gamma: float = 1.0,
    ) -> Self:
        cls.check(eps=eps, momentum=momentum)
        channels, _, _ = require_map(operands[0], cls.name)
        return cls(channels, eps, momentum, gamma)

    @property
    def initial_scale(self) -> float:
        return self.gamma

    def result(self, *operands: TensorType) -> TensorType:
        return _per_channel(self, self.channels, operands[0])

    def parameters(self) -> tuple[ParameterSpec, ...]:
        per_channel = vector(self.channels)
        return (
            *_scale_and_shift(self.channels),
            ParameterSpec("running_mean", per_channel, Role.MEAN),
            ParameterSpec("running_var", per_channel, Role.VARIANCE),
            ParameterSpec("num_batches_tracked", TensorType((), DType.I64), Role.COUNTER),
        )

    def elementwise_flops(self, operands: tuple[TensorType, ...], output: TensorType) -> int:
        return 2 * output.elements


@dataclass(frozen=True)
class LayerNorm(Op):
    """Layer normalization of a vector, as torch.nn.LayerNorm (Ba et al. 2016).

    On a map the language's `layernorm` is a :class:`PixelLayerNorm`.
    """

    name: ClassVar[str] = "layernorm"
    gradient_needs_operands: ClassVar[bool] = True
    channels: int
    eps: float = 1e-6

    @classmethod
    def check(cls, *, eps: float = 1e-6, **_: Any) -> None:
        require_eps(eps)

    @classmethod
    def place(  # type: ignore[override]
        cls, operands: tuple[TensorType, ...], *, eps: float = 1e-6
    ) -> LayerNorm:
        cls.check(eps=eps)
        kind = PixelLayerNorm if len(operands[0].shape) == 3 else LayerNorm
        return kind(operands[0].shape[0], eps)

    def result(self, *operands: TensorType) -> TensorType:
        if operands[0].shape != (self.channels,):
            raise OpError(f"`{self.name}` takes {self.channels} numbers, not {operands[0]}")
        return operands[0]

    def parameters(self) -> tuple[ParameterSpec, ...]:
        return _scale_and_shift(self.channels)

    def elementwise_flops(self, operands: tuple[TensorType, ...], output: TensorType) -> int:
        return _STATISTICS * output.elements


@dataclass(frozen=True)
class PixelLayerNorm(LayerNorm):
    """Layer normalization over the channels, at every pixel of a map by itself.

    As torchvision.models.convnext.LayerNorm2d (Liu et al. 2022).
    """

    name: ClassVar[str] = "pixel_layernorm"

    def result(self, *operands: TensorType) -> TensorType:
        return _per_channel(self, self.channels, operands[0])


@dataclass(frozen=True)
class GroupNorm(Op):
    """Normalization over the pixels of a group of channels, as torch.nn.GroupNorm.

    Wu and He 2018; each sample by itself, in training as in inference.
    """

    name: ClassVar[str] = "groupnorm"
    gradient_needs_operands: ClassVar[bool] = True
    channels: int
    groups: int = 32
    eps: float = 1e-5

    @classmethod
    def check(cls, *, groups: int = 32, eps: float = 1e-5, **_: Any) -> None:
        require_eps(eps)
        require_positive(groups, "groups")

    @classmethod
    def place(  # type: ignore[override]
        cls, operands: tuple[TensorType, ...], *, groups: int = 32, eps: float = 1e-5
    ) -> Self:
        channels, _, _ = require_map(operands[0], cls.name)
        cls.check(groups=groups, eps=eps)
        if channels % groups:
            raise OpError(
                f"{channels} channels cannot be split into {groups} groups",
                "groups",
                advice=f"{channels} is divisible by {divisors(channels)}",
            )
        return cls(channels, groups, eps)

    def result(self, *operands: TensorType) -> TensorType:
        return _per_channel(self, self.channels, operands[0])

    def parameters(self) -> tuple[ParameterSpec, ...]:
        return _scale_and_shift(self.channels)

    def elementwise_flops(self, operands: tuple[TensorType, ...], output: TensorType) -> int:
        return _STATISTICS * output.elements

    def windows(self, operand: TensorType) -> tuple[Window, Window]:
        return whole_map(operand)


@dataclass(frozen=True)
class ChannelScale(Op):
    """`x * scale[c]`, learned; `init` is the scale at first (LayerScale: Touvron et al. 2021).

    It owns one parameter of shape Cx1x1, whose path is the label.
    """

    name: ClassVar[str] = "channel_scale"
    gradient_needs_operands: ClassVar[bool] = True
    channels: int
    init: float = 1e-6

    @classmethod
    def place(cls, operands: tuple[TensorType, ...], *, init: float = 1e-6) -> Self:  # type: ignore[override]
        channels, _, _ = require_map(operands[0], cls.name)
        return cls(channels, init)

    @property
    def initial_scale(self) -> float:
        return self.init

    def result(self, *operands: TensorType) -> TensorType:
        return _per_channel(self, self.channels, operands[0])

    def parameters(self) -> tuple[ParameterSpec, ...]:
        return (ParameterSpec("", TensorType((self.channels, 1, 1)), Role.SCALE),)

    def elementwise_flops(self, operands: tuple[TensorType, ...], output: TensorType) -> int:
        return output.elements


@dataclass(frozen=True)
class ChannelAffine(Op):
    """`x * weight[c] + bias[c]`: what is left of a batch norm that no convolution precedes."""

    name: ClassVar[str] = "channel_affine"
    gradient_needs_operands: ClassVar[bool] = True
    channels: int

    def result(self, *operands: TensorType) -> TensorType:
        return _per_channel(self, self.channels, operands[0])

    def parameters(self) -> tuple[ParameterSpec, ...]:
        return _scale_and_shift(self.channels)

    def elementwise_flops(self, operands: tuple[TensorType, ...], output: TensorType) -> int:
        return 2 * output.elements


_STATISTICS = 7
"""Operations per element of a norm that takes its statistics from its input: a sum for the mean,
a difference, a square and a sum for the variance, a division, a scale and a shift."""


def _scale_and_shift(channels: int) -> tuple[ParameterSpec, ...]:
    per_channel = vector(channels)
    return (
        ParameterSpec("weight", per_channel, Role.SCALE),
        ParameterSpec("bias", per_channel, Role.SHIFT),
    )


def _per_channel(op: Op, expected: int, operand: TensorType) -> TensorType:
    channels, _, _ = require_map(operand, op.name)
    if channels != expected:
        raise OpError(f"`{op.name}` is over {expected} channels, but {channels} arrive")
    return operand
