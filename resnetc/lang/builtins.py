"""Functions every spec may call: plain arithmetic on numbers and lists."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any


class Unfit(ValueError):  # noqa: N818 - becomes a Mistake once it is located
    """Values of the right types that a function has no result for; the text says why."""


def _int(value: float) -> int:
    """Towards zero, as a cast."""
    return int(value)


def _sum(values: list[Any]) -> Any:
    return sum(_numbers(values))


def _numbers(values: list[Any]) -> list[Any]:
    if any(isinstance(v, bool) or not isinstance(v, int | float) for v in values):
        raise TypeError
    return values


def _extreme(choose: Callable[..., Any]) -> Callable[..., Any]:
    def pick(*values: Any) -> Any:
        numbers = values[0] if len(values) == 1 and isinstance(values[0], list) else list(values)
        if not numbers:
            raise Unfit("there is no number to choose from")
        return choose(_numbers(numbers))

    return pick


def _enumerate(values: list[Any]) -> list[list[Any]]:
    return [[i, value] for i, value in enumerate(_list(values))]


def _zip(*lists: list[Any]) -> list[list[Any]]:
    if len({len(_list(each)) for each in lists}) > 1:
        raise Unfit(f"the lists are of {' and '.join(str(len(each)) for each in lists)} items")
    return [list(items) for items in zip(*lists, strict=True)]


def _list(values: object) -> list[Any]:
    if not isinstance(values, list):
        raise TypeError
    return values


def _len(values: object) -> int:
    return len(_list(values))


def _log(value: float) -> float:
    if _numbers([value])[0] <= 0:
        raise Unfit("only a number above 0 has a logarithm")
    return math.log(value)


def _sqrt(value: float) -> float:
    if _numbers([value])[0] < 0:
        raise Unfit("a negative number has no square root")
    return math.sqrt(value)


def _abs(value: Any) -> Any:
    return abs(_numbers([value])[0])


def _round(value: Any) -> Any:
    """Half to even, as IEEE rounds."""
    return round(_numbers([value])[0])


def _ceil(value: Any) -> int:
    found: int = math.ceil(_numbers([value])[0])
    return found


def _floor(value: Any) -> int:
    found: int = math.floor(_numbers([value])[0])
    return found


def _key(value: Any) -> tuple[bool, Any]:
    """What tells values apart as `==` does: 1 is 1.0, but not true. Raises TypeError for lists."""
    hash(value)
    return isinstance(value, bool), value


def _unique(values: object) -> list[Any]:
    first: dict[tuple[bool, Any], Any] = {}
    for value in _list(values):
        first.setdefault(_key(value), value)
    return list(first.values())


def _count(values: object, wanted: object) -> int:
    key = _key(wanted)
    return sum(_key(value) == key for value in _list(values))


def _reversed(values: object) -> list[Any]:
    return _list(values)[::-1]


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "abs": _abs,
    "ceil": _ceil,
    "count": _count,
    "enumerate": _enumerate,
    "float": lambda value: float(_numbers([value])[0]),
    "floor": _floor,
    "int": lambda value: _int(_numbers([value])[0]),
    "len": _len,
    "log": _log,
    "max": _extreme(max),
    "min": _extreme(min),
    "reversed": _reversed,
    "round": _round,
    "sqrt": _sqrt,
    "sum": _sum,
    "unique": _unique,
    "zip": _zip,
}
