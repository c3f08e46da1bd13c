"""What every op says of itself: attributes, arity, shape rule, parameter rule, cost rule."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, ClassVar, Self

from resnetc.shapes import DType, TensorType, Window


class Role(Enum):
    """What a parameter is for: decides initialisation, weight decay and what is a buffer."""

    WEIGHT = "weight"
    BIAS = "bias"
    SCALE = "scale"
    SHIFT = "shift"
    MEAN = "mean"
    VARIANCE = "variance"
    COUNTER = "counter"

    @property
    def trainable(self) -> bool:
        return self not in (Role.MEAN, Role.VARIANCE, Role.COUNTER)


@dataclass(frozen=True, slots=True)
class ParameterSpec:
    """A parameter or buffer an op owns; `name` is the last part of its path.

    An op that is one parameter and nothing else leaves the name empty: its path is the label.
    """

    name: str
    type: TensorType
    role: Role


class OpError(Exception):
    """An op that cannot be placed. `argument` names the argument to blame, None the input."""

    def __init__(
        self,
        message: str,
        argument: str | None = None,
        *,
        code: str = "E0406",
        notes: Sequence[str] = (),
        advice: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.argument = argument
        self.code = code
        self.notes = tuple(notes)
        self.advice = advice


@dataclass(frozen=True)
class Op:
    """Base of all ops. An op is a frozen record of attributes; operands live on the node.

    `name` is the op's one name in the language, in graphs and in emitter tables;
    `arity` is the number of operands, None for any number from one up. A `view` has its operand's
    memory for an output: in inference nothing is computed or written. The last two say what the
    gradient is computed from, and so what a training step holds on to.
    """

    name: ClassVar[str]
    arity: ClassVar[int | None] = 1
    view: ClassVar[bool] = False
    gradient_needs_operands: ClassVar[bool] = False
    gradient_needs_output: ClassVar[bool] = False

    def fan(self, weight: TensorType, *, out: bool) -> float:
        """Numbers of the input that one of the output is connected to, through `weight`.

        With `out`, numbers of the output that one of the input is connected to; a matrix has the
        fan in there too, as nothing need follow it.
        """
        return math.prod(weight.shape[1:])

    @property
    def initial_scale(self) -> float:
        """What parameters of role SCALE hold at first."""
        return 1.0

    @classmethod
    def check(cls, **arguments: Any) -> None:
        """Raise OpError for arguments of a call that fit no operand; `place` does so by itself."""

    @classmethod
    def place(cls, operands: tuple[TensorType, ...], **arguments: Any) -> Self:
        """The op for these operands, from the arguments of a call in the language.

        Defaults that depend on the input are filled in here. Raises OpError when the arguments
        do not fit the operands.
        """
        return cls(**arguments)

    def result(self, *operands: TensorType) -> TensorType:
        """Type of the output. Raises OpError when the operands do not fit."""
        raise NotImplementedError

    def parameters(self) -> tuple[ParameterSpec, ...]:
        """What the op owns, in state_dict order."""
        return ()

    def macs(self, output: TensorType) -> int:
        """Multiply-accumulates per sample: convolutions and matrix products only."""
        return 0

    def elementwise_flops(self, operands: tuple[TensorType, ...], output: TensorType) -> int:
        """Floating-point operations per sample that are not part of a multiply-accumulate."""
        return 0

    def windows(self, operand: TensorType) -> tuple[Window, Window]:
        """What an output element sees of the operand's height and width."""
        return Window(), Window()

    def gradient_state(self, output: TensorType) -> int:
        """Bytes per sample a training step holds beside operands and output: a pool's indices."""
        return 0


def require_map(operand: TensorType, who: str) -> tuple[int, int, int]:
    """Channels, height and width of a feature map, or an OpError."""
    if len(operand.shape) != 3:
        found = f"a vector of {operand}" if len(operand.shape) == 1 else str(operand)
        raise OpError(
            f"`{who}` needs a feature map CxHxW, but the tensor here is {found}",
            code="E0409",
            advice="place it before `flatten`",
        )
    channels, height, width = operand.shape
    return channels, height, width


def require_positive(value: int, argument: str) -> None:
    """Refuse an argument below 1."""
    if value < 1:
        raise OpError(f"`{argument}` must be at least 1, not {value}", argument)


def require_eps(eps: float) -> None:
    """Refuse what would not keep a variance away from zero."""
    if eps <= 0:
        raise OpError(f"`eps` must be above 0, not {eps}", "eps")


def divisors(count: int) -> str:
    """What a number can be divided by, for advice."""
    return ", ".join(str(d) for d in range(2, min(count, 4096) + 1) if count % d == 0) or "1 only"


def require_column(operand: TensorType, who: str) -> int:
    """Channels of a Cx1x1 map, or an OpError."""
    channels, height, width = require_map(operand, who)
    if (height, width) != (1, 1):
        raise OpError(
            f"`{who}` needs a map Cx1x1, but the tensor here is {operand}",
            code="E0409",
            advice="place `gap` before it",
        )
    return channels


def whole_map(operand: TensorType) -> tuple[Window, Window]:
    """The windows of an op whose every output element sees the whole map."""
    _, height, width = operand.shape
    return Window(height, height), Window(width, width)


def vector(length: int, dtype: DType = DType.F32) -> TensorType:
    """The type of a vector."""
    return TensorType((length,), dtype)
