"""Arrays of many parameters at once.

A batch norm of 64 channels is computed in the time that numpy takes to be called, and a deep
network has thousands. So norms are laid end to end, computed as one, and taken apart: element by
element the same numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from resnetc.ir.parameters import NormScale, NormShift, Parameter, ScaledRows, Value, numpy_dtype
from resnetc.shapes import DType

if TYPE_CHECKING:
    import numpy as np

    Weights = Mapping[str, np.ndarray]


def arrays_together(parameters: Sequence[Parameter], weights: Weights) -> list[np.ndarray]:
    """What :meth:`Parameter.array` gives of each, in order. Raises RunError as it does."""
    import numpy as np

    try:
        with np.errstate(over="raise", divide="raise", invalid="raise"):
            norms = _Norms([parameter.value for parameter in parameters], weights)
            return [_array(each, norms, weights) for each in parameters]
    except FloatingPointError:
        # Something is not finite; whose mistake that is, each finds out by itself.
        return [each.array(weights) for each in parameters]


def _array(parameter: Parameter, norms: _Norms, weights: Weights) -> np.ndarray:
    import numpy as np

    if parameter.type.dtype in _SILENT:
        return parameter.array(weights)
    exact = norms.instead_of(parameter.value).evaluate(weights)
    return np.asarray(exact, numpy_dtype(parameter.type.dtype), order="C")


_SILENT = (DType.BF16, DType.F8)
"""Element types that are not numpy's own: it is not told when a number is too large for them."""


@dataclass(frozen=True, slots=True, eq=False)
class _Known(Value):
    """An array that has been computed."""

    array: np.ndarray

    def sources(self) -> Iterator[str]:
        return iter(())

    def evaluate(self, weights: Weights) -> np.ndarray:
        return self.array


class _Norms:
    """The scales and shifts of batch norms that are among some values, or in them.

    They are known by identity: a convolution's weight and its bias share the scale.
    """

    def __init__(self, values: Iterable[Value], weights: Weights) -> None:
        self._weights = weights
        self._known: dict[int, _Known] = {}
        scales: dict[float, dict[int, NormScale]] = {}
        shifts: dict[bool, dict[int, NormShift]] = {}
        for value in values:
            scale = value.scale if isinstance(value, ScaledRows | NormShift) else value
            if isinstance(scale, NormScale):
                scales.setdefault(scale.eps, {})[id(scale)] = scale
            if isinstance(value, NormShift) and isinstance(scale, NormScale):
                shifts.setdefault(value.bias is None, {})[id(value)] = value
        for alike in scales.values():
            self._compute_scales(alike)
        for biased in shifts.values():
            self._compute_shifts(biased)

    def instead_of(self, value: Value) -> Value:
        """A value that gives the same array, from what has been computed."""
        if (known := self._known.get(id(value))) is not None:
            return known
        if isinstance(value, ScaledRows) and (scale := self._known.get(id(value.scale))):
            return ScaledRows(value.weight, scale)
        return value

    def _compute_scales(self, alike: Mapping[int, NormScale]) -> None:
        values = alike.values()
        gammas = self._evaluate([each.gamma for each in values])
        variances = self._evaluate([each.variance for each in values])
        eps = next(iter(values)).eps
        self._take_apart(alike, gammas, NormScale(_joined(gammas), _joined(variances), eps))

    def _compute_shifts(self, alike: Mapping[int, NormShift]) -> None:
        values = alike.values()
        betas = self._evaluate([each.beta for each in values])
        means = self._evaluate([each.mean for each in values])
        biases = self._evaluate([each.bias for each in values if each.bias is not None])
        scales = _joined([self._known[id(each.scale)].array for each in values])
        bias = _joined(biases) if biases else None
        self._take_apart(alike, betas, NormShift(_joined(betas), _joined(means), scales, bias))

    def _evaluate(self, values: Iterable[Value]) -> list[np.ndarray]:
        return [value.evaluate(self._weights) for value in values]

    def _take_apart(self, values: Iterable[int], like: Iterable[np.ndarray], joined: Value) -> None:
        array = joined.evaluate(self._weights)
        end = 0
        for value, part in zip(values, like, strict=True):
            start, end = end, end + part.size
            self._known[value] = _Known(array[start:end])


def _joined(parts: Sequence[np.ndarray]) -> _Known:
    import numpy as np

    return _Known(np.concatenate(parts))
