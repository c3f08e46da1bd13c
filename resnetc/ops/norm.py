"""Normalization."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

from resnetc.ops.base import Op, OpError, ParameterSpec, Role, require_map, vector
from resnetc.shapes import DType, TensorType


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
    def place(  # type: ignore[override]
        cls,
        operands: tuple[TensorType, ...],
        *,
        eps: float = 1e-5,
        momentum: float = 0.1,
        gamma: float = 1.0,
    ) -> Self:
        if eps <= 0:
            raise OpError(f"`eps` must be above 0, not {eps}", "eps")
        if not 0 <= momentum <= 1:
            raise OpError(f"`momentum` must lie between 0 and 1, not {momentum}", "momentum")
        channels, _, _ = require_map(operands[0], cls.name)
        return cls(channels, eps, momentum, gamma)

    def result(self, *operands: TensorType) -> TensorType:
        return _per_channel(self, self.channels, operands[0])

    def parameters(self) -> tuple[ParameterSpec, ...]:
        per_channel = vector(self.channels)
        return (
            ParameterSpec("weight", per_channel, Role.SCALE),
            ParameterSpec("bias", per_channel, Role.SHIFT),
            ParameterSpec("running_mean", per_channel, Role.MEAN),
            ParameterSpec("running_var", per_channel, Role.VARIANCE),
            ParameterSpec("num_batches_tracked", TensorType((), DType.I64), Role.COUNTER),
        )

    def elementwise_flops(self, operands: tuple[TensorType, ...], output: TensorType) -> int:
        return 2 * output.elements


@dataclass(frozen=True)
class ChannelAffine(Op):
    """`x * weight[c] + bias[c]`: what is left of a batch norm that no convolution precedes."""

    name: ClassVar[str] = "channel_affine"
    gradient_needs_operands: ClassVar[bool] = True
    channels: int

    def result(self, *operands: TensorType) -> TensorType:
        return _per_channel(self, self.channels, operands[0])

    def parameters(self) -> tuple[ParameterSpec, ...]:
        per_channel = vector(self.channels)
        return (
            ParameterSpec("weight", per_channel, Role.SCALE),
            ParameterSpec("bias", per_channel, Role.SHIFT),
        )

    def elementwise_flops(self, operands: tuple[TensorType, ...], output: TensorType) -> int:
        return 2 * output.elements


def _per_channel(op: Op, expected: int, operand: TensorType) -> TensorType:
    channels, _, _ = require_map(operand, op.name)
    if channels != expected:
        raise OpError(f"`{op.name}` is over {expected} channels, but {channels} arrive")
    return operand
