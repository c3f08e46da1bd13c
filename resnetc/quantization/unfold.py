"""From the weights of a folded graph back to those of the network it was made from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from resnetc.ir import Graph
from resnetc.ir.parameters import NormScale, NormShift, ScaledColumns, ScaledRows, Stored, Value

if TYPE_CHECKING:
    import numpy as np

    Weights = Mapping[str, np.ndarray]


def can_unfold(value: Value) -> bool:
    """Whether a folded parameter may change: whether weights exist that give it whatever it is."""
    if isinstance(value, ScaledRows | ScaledColumns):
        return isinstance(value.weight, Stored) and can_unfold(value.scale)
    if isinstance(value, NormScale):
        return isinstance(value.gamma, Stored)
    if isinstance(value, NormShift):
        return isinstance(value.beta, Stored)
    return isinstance(value, Stored)


def unfold(folded: Graph, changed: Weights, weights: Weights) -> dict[str, np.ndarray]:
    """Weights that folding makes the changed parameters of.

    A norm that has become part of a convolution gets the scale that folds to 1, so the convolution
    holds the changed weight itself; running statistics stay as they are. What is not in `changed`
    keeps its value.
    """
    made = {path: weights[path] for path in weights}
    shifts = []
    for path, parameter in folded.parameters.items():
        value = parameter.value
        if path not in changed:
            continue
        if isinstance(value, NormShift):
            shifts.append((value, changed[path]))
        elif isinstance(value, ScaledRows | ScaledColumns):
            _set(made, value.weight, changed[path])
            assert isinstance(value.scale, NormScale)
            _set(made, value.scale.gamma, _deviation(value.scale, made))
        elif isinstance(value, NormScale):
            _set(made, value.gamma, changed[path] * _deviation(value, made))
        else:
            _set(made, value, changed[path])
    for shift, wanted in shifts:  # once every scale is known
        bias = 0.0 if shift.bias is None else shift.bias.evaluate(made)
        centred = bias - shift.mean.evaluate(made).astype("float64")
        _set(made, shift.beta, wanted - centred * shift.scale.evaluate(made))
    return made


def _set(made: dict[str, np.ndarray], value: Value, array: np.ndarray) -> None:
    assert isinstance(value, Stored)
    made[value.path] = array.astype(made[value.path].dtype)


def _deviation(scale: NormScale, weights: Weights) -> np.ndarray:
    """The deviation that a norm divides by."""
    import numpy as np

    variance = scale.variance.evaluate(weights).astype(np.float64)
    deviation: np.ndarray = np.sqrt(variance + scale.eps)
    return deviation
