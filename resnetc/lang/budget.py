"""What one compilation may spend: this is why every program ends, and soon.

A text that nobody vouches for may spend what is written here, which bounds its compilation to
about a second. Who asks for more, asks for a multiple: `with times(3): load(...)`.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from contextvars import ContextVar

from resnetc.diagnostics import Span
from resnetc.lang.mistake import Abandon, Mistake
from resnetc.lang.values import Record

MAX_LIST = 10_000
MAX_ITEMS = 100_000
"""Items of a list together with those of the lists inside it."""
MAX_LIST_DEPTH = 16
MAX_STRING = 4_096
MAX_STEPS = 200_000
"""Expressions evaluated and list items touched, tenfold the calls, and the layers placed."""
MAX_FILE_STEPS = 600_000
"""Of the networks of a file together, after which no other is begun."""
CALL = 10
"""Steps that the call of a function counts."""
PLACE = 15
"""Steps that placing a layer counts, beside two for each of its parameters."""
COPY = 2
"""Steps that a layer or block counts which is copied with the block it stands in."""
OPEN = 5
"""Steps that opening a block or a `seq` counts."""
MAX_LEVELS = 200
"""Expressions, functions and bodies inside each other at one time."""

SPENT = frozenset({"E0601", "E0602", "E0603"})
"""Codes of what ends a compilation because it has spent what it may."""
TOO_MUCH = SPENT | {"E0604"}
"""Those, and that of a program that goes too deep."""


_TIMES: ContextVar[int] = ContextVar("times", default=1)
MORE = "if you trust the file, `resnetc --budget 2 ...` allows it twice as much"


@contextlib.contextmanager
def times(factor: int) -> Iterator[None]:
    """Let compilations take `factor` times as many steps, layers and parameters meanwhile."""
    before = _TIMES.set(factor)
    try:
        yield
    finally:
        _TIMES.reset(before)


def file_steps() -> int:
    """Steps that the networks of a file may take together."""
    return _TIMES.get() * MAX_FILE_STEPS


class Budget:
    """Counts what has been spent. What would be too much is refused before it is done."""

    def __init__(self) -> None:
        self.times = _TIMES.get()
        self.most_steps = self.times * MAX_STEPS
        self.steps = 0
        self.levels = 0

    def spend(self, span: Span, steps: int = 1) -> None:
        """Count work: a step for an expression, for an item of a list."""
        self.steps += steps
        if self.steps > self.most_steps:
            said = f"stopped after {self.most_steps:,} steps of evaluation"
            raise Abandon("E0603", said, span, help=MORE)

    def enter(self, span: Span) -> None:
        """Go one level deeper; the caller counts `levels` down again when it leaves."""
        if self.levels >= MAX_LEVELS:
            raise Abandon("E0604", f"stopped {MAX_LEVELS} levels deep", span)
        self.levels += 1

    def length(self, count: int, span: Span) -> None:
        """Refuse a list of this length; to be called before one is made."""
        if count > MAX_LIST:
            raise Mistake("E0605", f"a list may hold {MAX_LIST:,} items, not {count:,}", span)
        self.spend(span, max(0, count))

    def value(self, value: object, span: Span) -> None:
        """Count a value that is made, copied, compared or shown; refuse an oversized list."""
        if not isinstance(value, list | Record):
            return
        total, depth = _extent(_items(value))
        if total > MAX_ITEMS:
            raise Mistake("E0605", f"the lists in this list hold over {MAX_ITEMS:,} items", span)
        if depth > MAX_LIST_DEPTH:
            raise Mistake("E0605", f"lists are nested over {MAX_LIST_DEPTH} deep", span)
        self.spend(span, total)

    def string(self, length: int, span: Span) -> None:
        """Refuse a string of this length."""
        if length > MAX_STRING:
            raise Mistake("E0605", f"a string may hold {MAX_STRING:,} characters", span)


def _extent(items: Sequence[object]) -> tuple[int, int]:
    """Items and depth of a list whose inner lists are within the budget; stops counting above."""
    total, depth = len(items), 1
    for item in items:
        if isinstance(item, list | Record):
            inner, levels = _extent(_items(item))
            total, depth = total + inner, max(depth, levels + 1)
            if total > MAX_ITEMS:
                break
    return total, depth


def _items(value: list[object] | Record) -> Sequence[object]:
    return list(value.cells.values()) if isinstance(value, Record) else value


@contextlib.contextmanager
def room() -> Iterator[None]:
    """Stack enough for the deepest program that the budget allows.

    A level takes up to a dozen of Python's frames, so that its usual limit of 1,000 is too low.
    """
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(before, 1_000 + 16 * MAX_LEVELS))
    try:
        yield
    finally:
        sys.setrecursionlimit(before)
