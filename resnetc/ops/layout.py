"""Ops that move elements about, and the graph's inputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self

from resnetc.ops.base import (
    Op,
    OpError,
    divisors,
    require_map,
    require_positive,
    whole_map,
)
from resnetc.shapes import Size, TensorType, Window


@dataclass(frozen=True)
class Input(Op):
    """An input of the network; it has no operands and says its own type."""

    name: ClassVar[str] = "input"
    arity: ClassVar[int | None] = 0
    type: TensorType

    def result(self, *operands: TensorType) -> TensorType:
        return self.type


@dataclass(frozen=True)
class Flatten(Op):
    """CxHxW to a vector, channels slowest (torch.flatten(x, 1))."""

    name: ClassVar[str] = "flatten"
    view: ClassVar[bool] = True

    def result(self, *operands: TensorType) -> TensorType:
        return TensorType((operands[0].elements,), operands[0].dtype)

    def windows(self, operand: TensorType) -> tuple[Window, Window]:
        return whole_map(operand) if len(operand.shape) == 3 else (Window(), Window())


@dataclass(frozen=True)
class Subsample(Op):
    """Every `stride`-th pixel, from the first: `x[:, :, ::s, ::s]` (shortcut option A)."""

    name: ClassVar[str] = "subsample"
    stride: Size

    @classmethod
    def check(cls, *, stride: Size, **_: Any) -> None:  # type: ignore[override]
        require_positive(min(stride), "stride")

    @classmethod
    def place(cls, operands: tuple[TensorType, ...], *, stride: Size) -> Self:  # type: ignore[override]
        require_map(operands[0], cls.name)
        cls.check(stride=stride)
        return cls(stride)

    def result(self, *operands: TensorType) -> TensorType:
        channels, height, width = require_map(operands[0], self.name)
        extents = (-(-height // self.stride[0]), -(-width // self.stride[1]))
        return TensorType((channels, *extents), operands[0].dtype)

    def windows(self, operand: TensorType) -> tuple[Window, Window]:
        return Window(stride=self.stride[0]), Window(stride=self.stride[1])


@dataclass(frozen=True)
class PadChannels(Op):
    """Zero channels around the input's, up to `to` (shortcut option A).

    `before` counts the zero channels that come first: 0 in fb.resnet.torch's form of option A;
    with `sides="both"` half of the new channels, as widely used CIFAR code does.
    """

    name: ClassVar[str] = "pad_channels"
    to: int
    before: int = 0

    @classmethod
    def place(  # type: ignore[override]
        cls, operands: tuple[TensorType, ...], *, to: int, sides: str = "after"
    ) -> Self:
        channels, _, _ = require_map(operands[0], cls.name)
        if to < channels:
            raise OpError(
                f"option A cannot shrink channels: {channels} arrive and {to} are wanted",
                "to",
                code="E0402",
                notes=("option A pads with zeros; it needs output.channels >= input.channels",),
                advice="use a projection here: `residual(shortcut=B)`",
            )
        return cls(to, (to - channels) // 2 if sides == "both" else 0)

    def result(self, *operands: TensorType) -> TensorType:
        _, height, width = require_map(operands[0], self.name)
        return TensorType((self.to, height, width), operands[0].dtype)


@dataclass(frozen=True)
class SliceChannels(Op):
    """Channels from `start` up to, not including, `stop`."""

    name: ClassVar[str] = "slice_channels"
    view: ClassVar[bool] = True
    start: int
    stop: int

    @classmethod
    def check(cls, *, start: int, **_: Any) -> None:  # type: ignore[override]
        if start < 0:
            raise OpError(f"`start` must be at least 0, not {start}", "start")

    @classmethod
    def place(cls, operands: tuple[TensorType, ...], *, start: int, stop: int) -> Self:  # type: ignore[override]
        channels = operands[0].shape[0]
        cls.check(start=start)
        if not start < stop <= channels:
            raise OpError(
                f"`stop` must lie above `start` and within {channels} channels, not be {stop}",
                "stop",
            )
        return cls(start, stop)

    def result(self, *operands: TensorType) -> TensorType:
        channels, *size = operands[0].shape
        if self.stop > channels:
            raise OpError(f"channel {self.stop - 1} is asked for of {channels}")
        return TensorType((self.stop - self.start, *size), operands[0].dtype)


@dataclass(frozen=True)
class ChannelShuffle(Op):
    """Channels of `groups` groups taken in turn, one of each (Zhang et al. 2017).

    As torch.nn.ChannelShuffle: channel `g * n + i` of G groups of n becomes channel `i * G + g`.
    """

    name: ClassVar[str] = "channel_shuffle"
    groups: int

    @classmethod
    def check(cls, *, groups: int, **_: Any) -> None:  # type: ignore[override]
        require_positive(groups, "groups")

    @classmethod
    def place(cls, operands: tuple[TensorType, ...], *, groups: int) -> Self:  # type: ignore[override]
        channels, _, _ = require_map(operands[0], cls.name)
        cls.check(groups=groups)
        if channels % groups:
            raise OpError(
                f"{channels} channels cannot be split into {groups} groups",
                "groups",
                advice=f"{channels} is divisible by {divisors(channels)}",
            )
        return cls(groups)

    def order(self, channels: int) -> list[int]:
        """For every output channel the input channel it is."""
        each = channels // self.groups
        return [group * each + i for i in range(each) for group in range(self.groups)]

    def result(self, *operands: TensorType) -> TensorType:
        return operands[0]


@dataclass(frozen=True)
class Pad(Op):
    """`by` pixels of a constant around a map, rows above and below, columns left and right."""

    name: ClassVar[str] = "pad"
    by: Size
    value: float = 0.0

    @classmethod
    def check(cls, *, by: Size, **_: Any) -> None:  # type: ignore[override]
        if min(by) < 0:
            raise OpError(f"`by` must be at least 0, not {min(by)}", "by")

    @classmethod
    def place(cls, operands: tuple[TensorType, ...], *, by: Size, value: float = 0.0) -> Self:  # type: ignore[override]
        require_map(operands[0], cls.name)
        cls.check(by=by)
        return cls(by, value)

    def result(self, *operands: TensorType) -> TensorType:
        channels, height, width = require_map(operands[0], self.name)
        extents = (height + 2 * self.by[0], width + 2 * self.by[1])
        return TensorType((channels, *extents), operands[0].dtype)

    def windows(self, operand: TensorType) -> tuple[Window, Window]:
        return Window(start=-self.by[0]), Window(start=-self.by[1])
