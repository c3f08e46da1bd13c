"""What the fields of records may hold, said where the fields are declared.

A field's type says it: `lr: Annotated[float, Within(0, low_open=True)]`. A record whose fields must
agree with each other says that in a method `clashes`. Whoever fills a record checks it against
both: the compiler at the place where a value is written, the trainer what it was asked for.
"""

from __future__ import annotations

import dataclasses
import math
import re
import types
import typing
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any, Protocol, runtime_checkable

# -------------------------------------------------------------------------------------- of one


class Rule(Protocol):
    """What a value must do; as text it stands behind "it must"."""

    def holds(self, value: Any) -> bool: ...


@dataclass(frozen=True)
class Within:
    """A finite number from `low` to `high`, without an end that is open."""

    low: float
    high: float = math.inf
    low_open: bool = False
    high_open: bool = False

    def holds(self, value: float) -> bool:
        above = self.low < value if self.low_open else self.low <= value
        below = value < self.high if self.high_open else value <= self.high
        return above and below and math.isfinite(value)

    def __str__(self) -> str:
        if self.high < math.inf:
            left, right = "(["[not self.low_open], ")]"[not self.high_open]
            return f"lie in {left}{self.low:g}, {self.high:g}{right}"
        if self.low_open:
            return f"be above {self.low:g}"
        return f"be at least {self.low:g}" if self.low else "not be negative"


@dataclass(frozen=True)
class Ascending:
    """Numbers none of which is smaller than the one before it."""

    def holds(self, value: Sequence[float]) -> bool:
        return list(value) == sorted(value)

    def __str__(self) -> str:
        return "not descend"


@dataclass(frozen=True)
class Shaped:
    """A string of a form; `as_in` is one such."""

    pattern: str
    as_in: str

    def holds(self, value: str) -> bool:
        return re.fullmatch(self.pattern, value) is not None

    def __str__(self) -> str:
        return f'be as "{self.as_in}"'


Positive = Annotated[int, Within(1)]
"""A count of at least one."""
Natural = Annotated[int, Within(0)]
"""A count that may be none."""
AboveZero = Annotated[float, Within(0, low_open=True)]
NotNegative = Annotated[float, Within(0)]
Share = Annotated[float, Within(0, 1)]
"""A part of a whole, or a probability."""
SomeShare = Annotated[float, Within(0, 1, low_open=True)]
"""A part of a whole that is not nothing."""
ShareBelowOne = Annotated[float, Within(0, 1, high_open=True)]
"""A part that is not the whole."""
Interval = Annotated[tuple[Positive, Positive], Ascending()]
"""The least and the most of a count."""


def broken(value: object, wanted: Any) -> Rule | None:
    """The rule that a field's type sets for the whole of a value and that the value breaks."""
    if typing.get_origin(wanted) is not Annotated:
        return None
    return next((rule for rule in wanted.__metadata__ if not rule.holds(value)), None)


def bare(wanted: Any) -> Any:
    """A type without the rules that it sets for the whole of a value."""
    return wanted.__origin__ if typing.get_origin(wanted) is Annotated else wanted


@lru_cache(maxsize=64)
def hints(record: type) -> dict[str, Any]:
    """Types of a record's fields, with their rules."""
    return typing.get_type_hints(record, include_extras=True)


def options(wanted: Any) -> tuple[Any, ...]:
    """The types that a field may hold, in order."""
    union = typing.get_origin(wanted) in (types.UnionType, typing.Union)
    return typing.get_args(wanted) if union else (wanted,)


def rules(wanted: Any) -> Iterator[str]:
    """What a field's type demands of its values, in words, and of the items of those."""
    for option in options(wanted):
        if typing.get_origin(option) is Annotated:
            yield from map(str, option.__metadata__)
        if typing.get_origin(bare(option)) is tuple:
            yield from dict.fromkeys(
                f"each {rule}" for item in typing.get_args(bare(option)) for rule in rules(item)
            )


# --------------------------------------------------------------------------------- of several


@dataclass(frozen=True)
class Clash:
    """A field that does not go with the others of its record, and why; with `idle` the record can
    be, but the field has no effect in it."""

    field: str
    why: str
    idle: bool = False


@runtime_checkable
class Agreeing(Protocol):
    """A record whose fields must agree with each other."""

    def clashes(self) -> Iterator[Clash]:
        """What does not go together, if anything."""
        ...


def clashes(record: object) -> Iterator[Clash]:
    """What does not go together in a record, not in those inside it."""
    if isinstance(record, Agreeing):
        yield from record.clashes()


# ------------------------------------------------------------------------------ a whole record


@dataclass(frozen=True)
class Fault:
    """What is wrong in a record: under which of its fields, and in words. With `idle` it is only
    that something would have no effect, which is a mistake of whoever asked for it."""

    field: str
    why: str
    idle: bool = False


def faults(record: Any, owner: str = "") -> Iterator[Fault]:
    """All that is wrong in a record and in the records that it holds.

    `owner` is how a message begins that speaks of one of its fields, as `step's `.
    """
    kind: type = type(record)
    for name, wanted in hints(kind).items():
        value = getattr(record, name)
        for why in _wrong(value, wanted, f"{owner}{name}"):
            yield Fault(name, why)
        for each in value if isinstance(value, tuple) else (value,):
            if dataclasses.is_dataclass(each):
                word = getattr(each, "word", name)
                yield from (
                    dataclasses.replace(fault, field=name) for fault in faults(each, f"{word}'s ")
                )
    for clash in clashes(record):
        yield Fault(clash.field, unfit(clash, owner), clash.idle)


def unfit(clash: Clash, owner: str = "") -> str:
    """A clash as a sentence."""
    if clash.idle:
        return f"{owner}{clash.field} would have no effect: {clash.why}"
    return clash.why


def _wrong(value: object, wanted: Any, name: str) -> Iterator[str]:
    """Rules that a value breaks, or one of its items."""
    if value is None:
        return
    for option in options(wanted):
        if (rule := broken(value, option)) is not None:
            yield f"{name} is {shown(value)}; it must {rule}"
        inner = typing.get_args(bare(option))
        if isinstance(value, tuple) and typing.get_origin(bare(option)) is tuple:
            for item in value:
                yield from _wrong(item, inner[0], f"an item of {name}")


def shown(value: object) -> str:
    """A value of a record in a message."""
    return str(list(value)) if isinstance(value, tuple) else str(value)
