"""Parameters of a graph, and how each one's array is had from the weights a user brings.

A user's weights are named by parameter path (the torch state_dict's keys). A pass that changes
what a parameter holds, such as folding a batch norm, does not touch arrays: it gives the
parameter a new `Value`, a small expression over the original paths, evaluated one parameter at a
time when an artefact is written.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Literal

from resnetc.diagnostics import RunError
from resnetc.ops import Role
from resnetc.shapes import DType, TensorType

if TYPE_CHECKING:
    import numpy as np

    Weights = Mapping[str, np.ndarray]


@dataclass(frozen=True, slots=True)
class Value:
    """How to compute an array from the user's weights."""

    def sources(self) -> Iterator[str]:
        """Paths in the user's weights that the value needs."""
        raise NotImplementedError

    @property
    def by_rows(self) -> bool:
        """Whether each row (along the first axis) comes of that row of the sources alone: then of
        arrays that are laid end to end come the results, end to end."""
        return False

    def evaluate(self, weights: Weights) -> np.ndarray:
        """The array, in at least the precision of its sources; sums and products in float64."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Stored(Value):
    """An array as the user brings it."""

    path: str

    def __repr__(self) -> str:
        # What a dataclass would say, without its guard against cycles: a graph's hash asks often.
        return f"Stored(path={self.path!r})"

    def sources(self) -> Iterator[str]:
        yield self.path

    @property
    def by_rows(self) -> bool:
        return True

    def evaluate(self, weights: Weights) -> np.ndarray:
        return weights[self.path]


@dataclass(frozen=True, slots=True)
class Constant(Value):
    """The same number everywhere."""

    number: float
    shape: tuple[int, ...]

    def sources(self) -> Iterator[str]:
        return iter(())

    def evaluate(self, weights: Weights) -> np.ndarray:
        import numpy as np

        return np.full(self.shape, self.number, np.float32)


@dataclass(frozen=True, slots=True)
class Numbers(Value):
    """A vector of these numbers; of one alone, repeated."""

    numbers: tuple[float, ...]
    length: int

    def sources(self) -> Iterator[str]:
        return iter(())

    def evaluate(self, weights: Weights) -> np.ndarray:
        import numpy as np

        return np.broadcast_to(np.asarray(self.numbers, np.float64), (self.length,))


@dataclass(frozen=True, slots=True)
class NormScale(Value):
    """`gamma / sqrt(var + eps)`: the factor a batch norm applies in inference, per channel."""

    gamma: Value
    variance: Value
    eps: float

    def sources(self) -> Iterator[str]:
        yield from self.gamma.sources()
        yield from self.variance.sources()

    @property
    def by_rows(self) -> bool:
        return self.gamma.by_rows and self.variance.by_rows

    def evaluate(self, weights: Weights) -> np.ndarray:
        return norm_scale(self.gamma.evaluate(weights), self.variance.evaluate(weights), self.eps)


def norm_scale(gamma: np.ndarray, variance: np.ndarray, eps: float) -> np.ndarray:
    """What :class:`NormScale` is of these arrays, in float64."""
    import numpy as np

    scale: np.ndarray = gamma / np.sqrt(variance.astype(np.float64) + eps)
    return scale


@dataclass(frozen=True, slots=True)
class NormShift(Value):
    """`beta + (bias - mean) * scale`: what a batch norm adds in inference, per channel."""

    beta: Value
    mean: Value
    scale: Value
    bias: Value | None = None

    def sources(self) -> Iterator[str]:
        for value in (self.beta, self.mean, self.scale, self.bias):
            if value is not None:
                yield from value.sources()

    @property
    def by_rows(self) -> bool:
        values = (self.beta, self.mean, self.scale, self.bias)
        return all(value.by_rows for value in values if value is not None)

    def evaluate(self, weights: Weights) -> np.ndarray:
        beta, mean = self.beta.evaluate(weights), self.mean.evaluate(weights)
        bias = 0.0 if self.bias is None else self.bias.evaluate(weights)
        return norm_shift(beta, mean, self.scale.evaluate(weights), bias)


def norm_shift(
    beta: np.ndarray, mean: np.ndarray, scale: np.ndarray, bias: np.ndarray | float
) -> np.ndarray:
    """What :class:`NormShift` is of these arrays, in float64."""
    import numpy as np

    shift: np.ndarray = beta + (bias - mean.astype(np.float64)) * scale
    return shift


@dataclass(frozen=True, slots=True)
class ScaledRows(Value):
    """A weight whose first axis (output channels) is multiplied by a vector."""

    weight: Value
    scale: Value

    def sources(self) -> Iterator[str]:
        yield from self.weight.sources()
        yield from self.scale.sources()

    @property
    def by_rows(self) -> bool:
        return self.weight.by_rows and self.scale.by_rows

    def evaluate(self, weights: Weights) -> np.ndarray:
        return scaled_rows(self.weight.evaluate(weights), self.scale.evaluate(weights))


def scaled_rows(weight: np.ndarray, scale: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """A weight whose first axis is multiplied by a vector: in `out`, or in a new array."""
    import numpy as np

    product: np.ndarray
    if out is None:
        product = np.empty(weight.shape, np.promote_types(weight.dtype, np.float32))
    else:
        product = out
    # Each product is taken in float64 and rounded once; numpy casts in small blocks, so no
    # float64 copy of the whole weight ever exists.
    rows = scale.reshape(-1, *(1,) * (weight.ndim - 1))
    np.multiply(weight, rows, out=product, dtype=np.float64, casting="same_kind")
    return product


@contextlib.contextmanager
def computing(error: Literal["raise", "ignore"]) -> Iterator[None]:
    """What numpy does meanwhile where a number is too large, or none; and it casts few numbers at a
    time. Its own 8,192 do not stay in a processor's fastest cache: that takes up to twice as long.
    """
    import numpy as np

    with np.errstate(over=error, divide=error, invalid=error):
        before = np.setbufsize(_BLOCK)
        try:
            yield
        finally:
            np.setbufsize(before)


_BLOCK = 512


@dataclass(frozen=True, slots=True)
class ScaledColumns(Value):
    """A transposed convolution's weight `IxO/gxKHxKW`, every output channel times its number."""

    weight: Value
    scale: Value
    groups: int

    def sources(self) -> Iterator[str]:
        yield from self.weight.sources()
        yield from self.scale.sources()

    def evaluate(self, weights: Weights) -> np.ndarray:
        import numpy as np

        weight = self.weight.evaluate(weights)
        inside, outside, *kernel = weight.shape
        grouped = weight.reshape(self.groups, inside // self.groups, outside, *kernel)
        scale = self.scale.evaluate(weights).astype(np.float64)
        product: np.ndarray = grouped * scale.reshape(self.groups, 1, outside, 1, 1)
        return product.reshape(weight.shape)


@dataclass(frozen=True, slots=True)
class Standardized(Value):
    """A weight whose filters have been brought to mean 0 and variance 1 (Qiao et al. 2019)."""

    weight: Value
    eps: float

    def sources(self) -> Iterator[str]:
        yield from self.weight.sources()

    def evaluate(self, weights: Weights) -> np.ndarray:
        import numpy as np

        weight = self.weight.evaluate(weights).astype(np.float64)
        mean = weight.mean(axis=(1, 2, 3), keepdims=True)
        variance = weight.var(axis=(1, 2, 3), keepdims=True)
        standard: np.ndarray = (weight - mean) / np.sqrt(variance + self.eps)
        return standard


@dataclass(frozen=True, slots=True)
class Selection(Value):
    """A 1x1 convolution's weight that copies input channel `i` to output channel `before + i`."""

    channels: int
    to: int
    before: int

    def sources(self) -> Iterator[str]:
        return iter(())

    def evaluate(self, weights: Weights) -> np.ndarray:
        import numpy as np

        return np.eye(self.to, self.channels, -self.before, np.float32)[:, :, None, None]


@dataclass(frozen=True, slots=True)
class Parameter:
    """One array a node owns. `path` is its name on every backend.

    Of a `shared` one there may be several owners, all of the same value: a layer that is reused.
    """

    path: str
    type: TensorType
    role: Role
    value: Value
    shared: bool = False

    def array(self, weights: Weights) -> np.ndarray:
        """The array, contiguous and in the parameter's own element type.

        Raises RunError when finite weights give a number that the element type cannot hold.
        """
        import numpy as np

        # What overflows is looked at below; what is not a number to begin with is passed on.
        with computing("ignore"):
            exact = self.value.evaluate(weights)
            array = np.asarray(exact, numpy_dtype(self.type.dtype), order="C")
        if array.dtype.kind in "iu" or (array is exact and isinstance(self.value, Stored)):
            return array
        if not np.isfinite(array).all() and self._sources_are_finite(weights):
            largest = float(np.abs(exact).max())
            limit = "65504" if self.type.dtype is DType.F16 else "3.4e38"
            raise RunError(
                f"{self.path} holds {largest:.4g}, but {self.type.dtype.value} ends at {limit}"
            )
        return array

    def _sources_are_finite(self, weights: Weights) -> bool:
        import numpy as np

        return all(np.isfinite(weights[path]).all() for path in self.value.sources())


@cache
def numpy_dtype(dtype: DType) -> np.dtype:
    """numpy's dtype; bfloat16 and float8 are ml_dtypes'."""
    import numpy as np

    if dtype in (DType.BF16, DType.F8):
        import ml_dtypes

        lent: np.dtype = np.dtype(getattr(ml_dtypes, dtype.value))
        return lent
    named: np.dtype = np.dtype(dtype.value)
    return named
