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


class BlockArrays:
    """What :meth:`Parameter.array` gives of parameters of a block, for each of its copies.

    `parameters` are those of the block at `path`, and its copies are the blocks at `paths`. Norms
    are computed at once, of all copies; what they scale, when it is asked for.
    """

    def __init__(
        self, parameters: Sequence[Parameter], weights: Weights, path: str, paths: Sequence[str]
    ) -> None:
        self._parameters, self._weights = parameters, weights
        self._path, self._paths = path, paths
        self._norms: Mapping[int, np.ndarray] | None = None
        values = [each.value for each in parameters if each.type.dtype not in _SILENT]
        if len(paths) == 1 or (
            len(values) == len(parameters)
            and all(each.type.shape and each.value.by_rows for each in parameters)
        ):
            with contextlib.suppress(FloatingPointError), computing("raise"):
                self._norms = _Norms(values, _Moved(weights, path, paths)).known

    def arrays(self, which: range, copies: range) -> list[np.ndarray]:
        """Of these of the parameters an array each, with one axis more in front for these of the
        copies. Raises RunError as :meth:`Parameter.array` does."""
        import numpy as np

        parameters = self._parameters[which.start : which.stop]
        if self._norms is not None:
            weights = _Moved(self._weights, self._path, self._paths[copies.start : copies.stop])
            with contextlib.suppress(FloatingPointError), computing("raise"):
                return [self._together(each, weights, self._norms, copies) for each in parameters]
        # Something is not finite, or not to be had together: each finds out by itself.
        return [
            np.stack([self._alone(each, self._paths[copy]) for copy in copies])
            for each in parameters
        ]

    def _together(
        self, parameter: Parameter, weights: _Moved, norms: Mapping[int, np.ndarray], copies: range
    ) -> np.ndarray:
        import numpy as np

        def known(value: Value) -> np.ndarray | None:
            array = norms.get(id(value))
            if array is None:
                return None
            size = len(array) // len(self._paths)
            return array[copies.start * size : copies.stop * size]

        value, dtype = parameter.value, parameter.type.dtype
        if dtype in _SILENT:
            return self._alone(parameter, self._paths[copies.start])[np.newaxis]
        array = known(value)
        if array is None and isinstance(value, ScaledRows):
            scale = known(value.scale)
            array = None if scale is None else _scaled(_parts(value.weight, weights), scale)
        if array is None:
            array = value.evaluate(weights)
        whole = np.asarray(array, numpy_dtype(dtype), order="C")
        return whole.reshape(len(copies), *parameter.type.shape)

    def _alone(self, parameter: Parameter, path: str) -> np.ndarray:
        rest = parameter.path[len(self._path) :]
        own = replace(parameter, path=path + rest)  # for what is said of it
        return own.array(_Moved(self._weights, self._path, [path]))


_SILENT = (DType.BF16, DType.F8)
"""Element types that are not numpy's own: it is not told when a number is too large for them."""


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


def _parts(value: Value, weights: _Moved) -> list[np.ndarray]:
    """Arrays that are the value's, end to end."""
    return weights.parts(value.path) if isinstance(value, Stored) else [value.evaluate(weights)]


def _scaled(parts: Sequence[np.ndarray], scale: np.ndarray) -> np.ndarray:
    """Weights with their rows scaled, end to end: each is multiplied into its place."""
    import numpy as np

    dtype = np.result_type(np.float32, *{part.dtype for part in parts})
    if len(parts) > 1 and parts[0].size < _FEW:
        product = np.concatenate(parts, dtype=dtype)
        return scaled_rows(product, scale, product)
    product = np.empty((sum(map(len, parts)), *parts[0].shape[1:]), dtype)
    end = 0
    for part in parts:
        start, end = end, end + len(part)
        scaled_rows(part, scale[start:end], product[start:end])
    return product


_FEW = 1 << 14
"""Numbers that are copied in the time that it takes to call numpy once more."""


class _Norms:
    """The scales and shifts of batch norms that are among some values or in them.

    They are `known` by identity: a convolution's weight and its bias share the scale.
    """

    def __init__(self, values: Sequence[Value], weights: Weights) -> None:
        self._weights = weights
        self.known: dict[int, np.ndarray] = {}
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
        scales = _joined([self.known[id(each.scale)] for each in values])
        bias = _joined(biases) if biases else 0.0
        self._take_apart(alike, betas, norm_shift(_joined(betas), _joined(means), scales, bias))

    def _read(self, values: Iterable[Value]) -> list[np.ndarray]:
        return [value.evaluate(self._weights) for value in values]

    def _take_apart(
        self, values: Iterable[int], like: Iterable[np.ndarray], joined: np.ndarray
    ) -> None:
        end = 0
        for value, part in zip(values, like, strict=True):
            start, end = end, end + len(part)
            self.known[value] = joined[start:end]


def _joined(parts: Sequence[np.ndarray]) -> np.ndarray:
    import numpy as np

    return np.concatenate(parts)
