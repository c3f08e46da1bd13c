"""Arithmetic on numbers and lists, every result within the language's range; conditions."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable

from resnetc.diagnostics import Help, Span, is_typo, suggest
from resnetc.lang import syntax as s
from resnetc.lang.budget import Budget
from resnetc.lang.convert import checked
from resnetc.lang.mistake import Mistake
from resnetc.lang.values import MAX_INT, Comparison, Range, Word, is_finite, type_name

METRICS = ("train_error",)
"""What a condition of a recipe may compare."""
COMPARE: dict[str, Callable[[float, float], bool]] = {
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}
_COMPUTE: dict[str, Callable[[float, float], float]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
    "//": lambda a, b: a // b,
    "mod": lambda a, b: a % b,
    "**": lambda a, b: a**b,
}


def arithmetic(expr: s.Binary, left: int | float, right: int | float) -> object:
    """`left operator right`; refused before it is computed where it would be out of range."""
    operator = expr.operator
    if operator in COMPARE:
        return COMPARE[operator](left, right)
    if operator == "..":
        if isinstance(left, int) and isinstance(right, int):
            return Range(left, right)
        raise Mistake("E0307", "a range needs two ints", expr.span)
    if operator in ("/", "//", "mod") and right == 0:
        raise Mistake("E0308", "division by zero", expr.right.span)
    if operator == "**":
        _check_power(expr, left, right)
    try:
        return finite(_COMPUTE[operator](left, right), expr.span)
    except OverflowError:
        raise Mistake("E0309", "the result is out of range", expr.span) from None


def condition(expr: s.Binary, metric: Word, right: object) -> Comparison:
    """`train_error < 80%`, of which the left side may be misspelt."""
    if metric.name not in METRICS:
        close = suggest(metric.name, METRICS)
        where, advice = metric.name_span, None
        if close:
            sure = is_typo(metric.name, close)
            advice = Help(f"did you mean `{close}`?", where, close, sure=sure)
        note = f"a condition compares {', '.join(METRICS)}"
        message = f"there is no `{metric.name}`"
        raise Mistake("E0201", message, where, notes=(note,), help=advice)
    number = checked(right, s.TypeExpr(expr.right.span, "ratio"), expr.right.span)
    if expr.operator not in COMPARE or not isinstance(number, float):
        raise Mistake("E0307", f"a condition compares `{metric.name}` by < or >", expr.span)
    return Comparison(metric.name, expr.operator, float(number))


def join_lists(expr: s.Binary, left: list[object], right: object, budget: Budget) -> list[object]:
    """`list + list` and `list * int`, sized before they are made."""
    if expr.operator == "+" and isinstance(right, list):
        size = len(left) + len(right)
    elif expr.operator == "*" and isinstance(right, int):
        size = len(left) * right
    else:
        shown = f"{type_name(left)} and {type_name(right)}"
        raise Mistake("E0307", f"`{expr.operator}` cannot take {shown}", expr.span)
    budget.length(size, expr.span)
    joined = left + right if isinstance(right, list) else left * int(right)
    budget.value(joined, expr.span)
    return joined


def _check_power(expr: s.Binary, base: float, exponent: float) -> None:
    """Refuse a power that would be out of range before it is computed."""
    if base == 0 and exponent < 0:
        raise Mistake("E0308", "division by zero", expr.span)
    if base < 0 and not float(exponent).is_integer():
        raise Mistake("E0309", "a root of a negative number is not a number here", expr.span)
    if base and abs(base) != 1 and exponent * math.log2(abs(base)) > 1023:
        raise Mistake("E0309", "the result is out of range", expr.span)


def finite(value: object, span: Span) -> object:
    """The value, or a Mistake when it is a number out of range."""
    if isinstance(value, s.Percent):
        value = float(value)
    if not is_finite(value):
        most = f"floats reach {sys.float_info.max:.3g}"
        if isinstance(value, int):
            most = f"ints reach {MAX_INT}"
        raise Mistake("E0309", f"the result is out of range ({most})", span)
    return value
