"""Arrays of many parameters at once.

A batch norm of 64 channels is computed in the time that numpy takes to be called, and a deep
network has thousands. So norms are laid end to end, computed as one, and taken apart: element by
element the same numbers. Copies of a block are computed as one for the same reason.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from resnetc.ir.parameters import (
    NormScale,
    NormShift,
    Parameter,
    ScaledRows,
    Stored,
    Value,
    computing,
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
    try:
        return _arrays(parameters, weights)
    except FloatingPointError:
        # Something is not finite; whose mistake that is, each finds out by itself.
        return [each.array(weights) for each in parameters]


def arrays_of_copies(
    parameters: Sequence[Parameter], weights: Weights, path: str, paths: Sequence[str]
) -> list[np.ndarray]:
    """The same of copies of a block: `parameters` are those of the block at `path`, and of each
    comes an array with one axis more in front, for the blocks at `paths`."""
    import numpy as np

    if len(paths) > 1 and all(each.type.shape and each.value.by_rows for each in parameters):
        with contextlib.suppress(FloatingPointError):
            joined = _arrays(parameters, _Moved(weights, path, paths))
            return [
                array.reshape(len(paths), *each.type.shape)
                for each, array in zip(parameters, joined, strict=True)
            ]
    copies = [
        arrays_together(
            [_moved(each, path, to) for each in parameters], _Moved(weights, path, [to])
        )
        for to in paths
    ]
    if len(copies) == 1:
        return [array[np.newaxis] for array in copies[0]]
    return [np.stack(arrays) for arrays in zip(*copies, strict=True)]


def _arrays(parameters: Sequence[Parameter], weights: Weights) -> list[np.ndarray]:
    """The arrays; raises FloatingPointError where a number is too large, or none."""
    with computing("raise"):
        told = [each.value for each in parameters if each.type.dtype not in _SILENT]
        computed = _Computed(told, weights)
        return [computed.array(each) for each in parameters]


class _Moved(Mapping[str, "np.ndarray"]):
    """Weights of the blocks at `paths`, end to end, by the names that they have at `path`."""

    def __init__(self, weights: Weights, path: str, paths: Sequence[str]) -> None:
        self._weights, self._cut, self._paths = weights, len(path), paths

    def parts(self, path: str) -> list[np.ndarray]:
        """The array of each block, in order."""
        rest = path[self._cut :]
        return [self._weights[each + rest] for each in self._paths]

    def __getitem__(self, path: str) -> np.ndarray:
        parts = self.parts(path)
        return parts[0] if len(parts) == 1 else _joined(parts)

    def __iter__(self) -> Iterator[str]:
        return iter(self._weights)

    def __len__(self) -> int:
        return len(self._weights)


def _moved(parameter: Parameter, path: str, to: str) -> Parameter:
    """The same parameter of another copy, for what is said of it."""
    return parameter if path == to else replace(parameter, path=to + parameter.path[len(path) :])


_SILENT = (DType.BF16, DType.F8)
"""Element types that are not numpy's own: it is not told when a number is too large for them."""


_FEW = 1 << 14
"""Numbers that are copied in the time that it takes to call numpy once more."""


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
        """Each array is multiplied into its place among those of the copies."""
        import numpy as np

        for value in scaled:
            scale = self._known.get(id(value.scale))
            if scale is None:
                continue
            parts = self._parts(value.weight)
            dtype = np.result_type(np.float32, *{part.dtype for part in parts})
            if len(parts) > 1 and parts[0].size < _FEW:
                product = np.concatenate(parts, dtype=dtype)
                scaled_rows(product, scale, product)
            else:
                product = np.empty((sum(map(len, parts)), *parts[0].shape[1:]), dtype)
                end = 0
                for part in parts:
                    start, end = end, end + len(part)
                    scaled_rows(part, scale[start:end], product[start:end])
            self._known[id(value)] = product

    def _parts(self, value: Value) -> list[np.ndarray]:
        """Arrays that are the value's, end to end."""
        if isinstance(value, Stored) and isinstance(self._weights, _Moved):
            return self._weights.parts(value.path)
        return [value.evaluate(self._weights)]

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
