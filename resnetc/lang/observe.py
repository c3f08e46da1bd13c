"""What an onlooker sees of an elaboration: the rows, as they are placed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from resnetc.diagnostics import Span
from resnetc.lang.record import PlacedOp
from resnetc.lang.site import Flowing


@dataclass(frozen=True, slots=True)
class Row:
    """One step of a row, placed: where it is written, in which module, what flows after it, and
    the ops that it made. A step is seen once for every time its body runs."""

    span: Span
    path: str
    here: Flowing
    ops: tuple[PlacedOp, ...]


Observer = Callable[[Row], None]
