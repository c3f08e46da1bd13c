"""Ops of several operands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from resnetc.ops.base import Op, OpError, require_map
from resnetc.shapes import TensorType


@dataclass(frozen=True)
class Add(Op):
    """Sum of equal shapes; nothing is broadcast."""

    name: ClassVar[str] = "add"
    arity: ClassVar[int | None] = None

    def result(self, *operands: TensorType) -> TensorType:
        if any(operand != operands[0] for operand in operands):
            shapes = " and ".join(map(str, dict.fromkeys(operands)))
            raise OpError(f"`add` needs equal shapes, but its branches are {shapes}", code="E0401")
        return operands[0]

    def elementwise_flops(self, operands: tuple[TensorType, ...], output: TensorType) -> int:
        return (len(operands) - 1) * output.elements


@dataclass(frozen=True)
class Mul(Op):
    """Product of maps; a Cx1x1 operand scales whole channels."""

    name: ClassVar[str] = "mul"
    gradient_needs_operands: ClassVar[bool] = True
    arity: ClassVar[int | None] = None

    def result(self, *operands: TensorType) -> TensorType:
        full = max(operands, key=lambda operand: operand.elements)
        gate = (*full.shape[:1], *(1 for _ in full.shape[1:]))
        for operand in operands:
            if operand.shape not in (full.shape, gate):
                message = f"`mul` needs equal shapes or a gate Cx1x1, but has {full} and {operand}"
                raise OpError(message, code="E0401")
        return full

    def elementwise_flops(self, operands: tuple[TensorType, ...], output: TensorType) -> int:
        return (len(operands) - 1) * output.elements


@dataclass(frozen=True)
class Concat(Op):
    """Channels of all operands, in order; height and width must agree."""

    name: ClassVar[str] = "concat"
    arity: ClassVar[int | None] = None

    def result(self, *operands: TensorType) -> TensorType:
        maps = [require_map(operand, self.name) for operand in operands]
        if any(found[1:] != maps[0][1:] for found in maps):
            shapes = " and ".join(map(str, dict.fromkeys(operands)))
            raise OpError(f"`concat` needs maps of one size, but has {shapes}", code="E0401")
        channels = sum(found[0] for found in maps)
        return TensorType((channels, *maps[0][1:]), operands[0].dtype)
