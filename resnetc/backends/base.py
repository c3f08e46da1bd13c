"""What all backends share: how they are found, and how an emitter table is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from resnetc.diagnostics import InternalError
from resnetc.ops import OPS, Op

T = TypeVar("T")


def complete_table(
    backend: str, table: Mapping[type[Op], T], refused: Mapping[type[Op], str]
) -> Mapping[type[Op], T]:
    """The table itself, once every op has either an emitter or a stated reason for having none.

    Raises InternalError that names every op without either.
    """
    missing = [op.name for op in OPS.values() if op not in table and op not in refused]
    if missing:
        raise InternalError(f"the {backend} backend has no emitter for {', '.join(missing)}")
    return table


Emitter = Callable[..., None]
