"""Arrays of many parameters at once.

A batch norm of 64 channels is computed in the time that numpy takes to be called, and a deep
network has thousands. So norms are laid end to end, computed as one, and taken apart: element by
element the same numbers. The weights that they scale are, too, where they are small.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from resnetc.ir.parameters import (
    NormScale,
    NormShift,
    Parameter,
    ScaledRows,
    Value,
    norm_scale,
    norm_shift,
    numpy_dtype,
    scaled_rows,
)
from resnetc.shapes import DType

if TYPE_CHECKING:
    import numpy as np

    Weights = Mapping[str, np.ndarray]


def arrays_together(parameters: Sequence[Parameter], weights: Weights) -> list[np.ndarray]:
    """What :meth:`Parameter.array` gives of each, in order. Raises RunError as it does."""
    import numpy as np

    try:
        with np.errstate(over="raise", divide="raise", invalid="raise"):
            told = [each.value for each in parameters if each.type.dtype not in _SILENT]
            computed = _Computed(told, weights)
            return [computed.array(each) for each in parameters]
    except FloatingPointError:
        # Something is not finite; whose mistake that is, each finds out by itself.
        return [each.array(weights) for each in parameters]


_SILENT = (DType.BF16, DType.F8)
"""Element types that are not numpy's own: it is not told when a number is too large for them."""


_LARGE = 1 << 17
"""Numbers of a weight that is computed by itself: to copy it would take longer than a call."""


class _Computed:
    """The scales and shifts of batch norms that are among some values or in them, and the weights
    that these scale.

    They are known by identity: a convolution's weight and its bias share the scale.
    """

    def __init__(self, values: Sequence[Value], weights: Weights) -> None:
        self._weights = weights
        self._known: dict[int, np.ndarray] = {}
        scales: dict[float, dict[int, NormScale]] = {}
        shifts: dict[bool, dict[int, NormShift]] = {}
        for value in values:
            scale = value.scale if isinstance(value, ScaledRows | NormShift) else value
            if isinstance(scale, NormScale):
                scales.setdefault(scale.eps, {})[id(scale)] = scale
                if isinstance(value, NormShift):
                    shifts.setdefault(value.bias is None, {})[id(value)] = value
        for alike in scales.values():
            self._compute_scales(alike)
        for biased in shifts.values():
            self._compute_shifts(biased)
        self._compute_weights([value for value in values if isinstance(value, ScaledRows)])

    def array(self, parameter: Parameter) -> np.ndarray:
        """The parameter's array, from what has been computed."""
        import numpy as np

        dtype = parameter.type.dtype
        if dtype in _SILENT:
            return parameter.array(self._weights)
        return np.asarray(self._evaluate(parameter.value), numpy_dtype(dtype), order="C")

    def _evaluate(self, value: Value) -> np.ndarray:
        if (known := self._known.get(id(value))) is not None:
            return known
        return value.evaluate(self._weights)

    def _compute_scales(self, alike: Mapping[int, NormScale]) -> None:
        values = alike.values()
        gammas = self._read([each.gamma for each in values])
        variances = self._read([each.variance for each in values])
        eps = next(iter(values)).eps
        self._take_apart(alike, gammas, norm_scale(_joined(gammas), _joined(variances), eps))

    def _compute_shifts(self, alike: Mapping[int, NormShift]) -> None:
        values = alike.values()
        betas = self._read([each.beta for each in values])
        means = self._read([each.mean for each in values])
        biases = self._read([each.bias for each in values if each.bias is not None])
        scales = _joined([self._known[id(each.scale)] for each in values])
        bias = _joined(biases) if biases else 0.0
        self._take_apart(alike, betas, norm_shift(_joined(betas), _joined(means), scales, bias))

    def _compute_weights(self, scaled: Iterable[ScaledRows]) -> None:
        """Rows of one shape are multiplied as one weight, in the place they are copied to."""
        import numpy as np

        alike: dict[object, dict[int, tuple[np.ndarray, np.ndarray]]] = {}
        for value in scaled:
            scale = self._known.get(id(value.scale))
            if scale is None:
                continue
            weight = value.weight.evaluate(self._weights)
            if weight.size > _LARGE:
                self._known[id(value)] = scaled_rows(weight, scale)
            else:
                alike.setdefault((weight.shape[1:], weight.dtype), {})[id(value)] = weight, scale
        for several in alike.values():
            weights, scales = zip(*several.values(), strict=True)
            rows = np.concatenate(weights, dtype=np.promote_types(weights[0].dtype, np.float32))
            self._take_apart(several, weights, scaled_rows(rows, _joined(scales), rows))

    def _read(self, values: Iterable[Value]) -> list[np.ndarray]:
        return [value.evaluate(self._weights) for value in values]

    def _take_apart(
        self, values: Iterable[int], like: Iterable[np.ndarray], joined: np.ndarray
    ) -> None:
        end = 0
        for value, part in zip(values, like, strict=True):
            start, end = end, end + len(part)
            self._known[value] = joined[start:end]


def _joined(parts: Sequence[np.ndarray]) -> np.ndarray:
    import numpy as np

    return np.concatenate(parts)
