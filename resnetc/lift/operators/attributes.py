"""What several rows of the table read off a node."""

from __future__ import annotations

from collections.abc import Callable

from resnetc.lift.model import Constant, Operation
from resnetc.lift.reading import Reading
from resnetc.lift.refusal import LiftError
from resnetc.shapes import Size

Reader = Callable[[Reading, Operation], None]
"""A row of the table: adds to a reading what a node becomes."""


def pair(operation: Operation, name: str, default: int = 1) -> Size:
    """An attribute of two numbers, for height and width."""
    given = operation.attributes.get(name, [default, default])
    if len(given) != 2:
        raise LiftError(f"{operation}: only windows of two dimensions are lifted")
    return given[0], given[1]


def wanted(bias: Constant | None) -> Constant | None:
    """A bias, unless an exporter made it up: a computed one that is zero."""
    if bias is not None and bias.name is None and not bias.array.any():
        return None
    return bias


def short(number: float) -> float:
    """A float32 as it was written: 9.999999747378752e-06 is 1e-5."""
    return float(f"{number:.6g}")
