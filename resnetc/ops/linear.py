"""Matrix products."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from resnetc.ops.base import Op, OpError, ParameterSpec, Role, require_map, require_positive, vector
from resnetc.shapes import TensorType


@dataclass(frozen=True)
class Linear(Op):
    """Matrix product with a weight `OxI`, as torch.nn.Linear; takes a vector.

    On a map the language's `linear` is a :class:`PixelLinear`.
    """

    name: ClassVar[str] = "linear"
    gradient_needs_operands: ClassVar[bool] = True
    in_features: int
    out_features: int
    bias: bool = True

    @classmethod
    def check(cls, *, out: int, **_: Any) -> None:  # type: ignore[override]
        require_positive(out, "out")

    @classmethod
    def place(  # type: ignore[override]
        cls, operands: tuple[TensorType, ...], *, out: int, bias: bool = True
    ) -> Linear:
        cls.check(out=out)
        kind = PixelLinear if len(operands[0].shape) == 3 else Linear
        return kind(operands[0].shape[0], out, bias)

    def result(self, *operands: TensorType) -> TensorType:
        if len(operands[0].shape) != 1:
            raise OpError(f"`linear` needs a vector, but the tensor here is {operands[0]}")
        self._require_features(operands[0].shape[0])
        return TensorType((self.out_features,), operands[0].dtype)

    def _require_features(self, features: int) -> None:
        if features != self.in_features:
            raise OpError(f"this linear layer takes {self.in_features} features, not {features}")

    def parameters(self) -> tuple[ParameterSpec, ...]:
        shape = (self.out_features, self.in_features)
        weight = ParameterSpec("weight", TensorType(shape), Role.WEIGHT)
        bias = ParameterSpec("bias", vector(self.out_features), Role.BIAS)
        return (weight, bias) if self.bias else (weight,)

    def macs(self, output: TensorType) -> int:
        return self.in_features * self.out_features

    def elementwise_flops(self, operands: tuple[TensorType, ...], output: TensorType) -> int:
        return output.elements if self.bias else 0


@dataclass(frozen=True)
class PixelLinear(Linear):
    """The matrix product over the channels, at every pixel of a map by itself.

    What torch.nn.Linear does to a map whose channels stand last; a 1x1 convolution but for the
    weight's shape.
    """

    name: ClassVar[str] = "pixel_linear"

    def result(self, *operands: TensorType) -> TensorType:
        channels, height, width = require_map(operands[0], self.name)
        self._require_features(channels)
        return TensorType((self.out_features, height, width), operands[0].dtype)

    def macs(self, output: TensorType) -> int:
        return self.in_features * output.elements
