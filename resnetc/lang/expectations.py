"""`expect params = 25_557_032`, `expect macs <= 4.2e9`: what a network says of itself.

Here an expectation is read and its value's type checked. Whether it holds is found out on the
compiled graph, by `resnetc.analysis.expected`.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum

from resnetc.diagnostics import Help, suggest
from resnetc.lang import syntax as s
from resnetc.lang.mistake import Mistake
from resnetc.lang.values import type_name


class Kind(Enum):
    """What an expectation's value is, in words."""

    COUNT = "int"
    SIZE = "size"
    SHAPE = "shape"
    NAME = "string"


KEYS: Mapping[str, Kind] = {
    "params": Kind.COUNT,
    "buffers": Kind.COUNT,
    "macs": Kind.COUNT,
    "flops": Kind.COUNT,
    "activations": Kind.COUNT,
    "memory": Kind.COUNT,
    "training_memory": Kind.COUNT,
    "depth": Kind.COUNT,
    "receptive_field": Kind.SIZE,
    "output": Kind.SHAPE,
    "weights": Kind.NAME,
    "paper": Kind.NAME,
}
"""What `expect` knows."""

RELATIONS: Mapping[str, tuple[str, Callable[[float, float], bool]]] = {
    "=": ("", operator.eq),
    "<=": ("at most ", operator.le),
    "<": ("less than ", operator.lt),
    ">=": ("at least ", operator.ge),
    ">": ("more than ", operator.gt),
}
"""How a figure may stand to the value: in words, and as a test of the two."""


@dataclass(frozen=True)
class Expectation:
    """One claim of an `expect`, for one network. `value` is of the key's kind."""

    claim: s.Claim
    value: object
    network: str

    @classmethod
    def of(cls, claim: s.Claim, value: object, network: str) -> Expectation:
        """The expectation. Raises Mistake when there is no such key, or the value or the relation
        is not one that the key can have."""
        if claim.name not in KEYS:
            close = suggest(claim.name, KEYS)
            advice = Help(f"known are {', '.join(KEYS)}")
            if close:
                advice = Help(f"did you mean `{close}`?", claim.name_span, close)
            message = f"`expect` knows no `{claim.name}`"
            raise Mistake("E0203", message, claim.name_span, help=advice)
        _check_relation(claim)
        kind = KEYS[claim.name]
        if not _is_of(value, kind, exact=claim.relation == "="):
            message = f"expected {kind.value}, found {type_name(value)}"
            bound = f"a bound may be a float: `{claim.name} <= {claim.value.span.text}`"
            rounded = isinstance(value, float) and kind is Kind.COUNT
            raise Mistake("E0301", message, claim.value.span, help=bound if rounded else None)
        return cls(claim, value, network)


def _check_relation(claim: s.Claim) -> None:
    equality = f"{claim.name} = {claim.value.span.text}"
    advice = Help(f"write `{equality}`", claim.span, equality)
    if claim.relation not in RELATIONS:
        known = ", ".join(f"`{sign}`" for sign in list(RELATIONS)[:-1])
        message = f"an expectation says {known} or `>`, not `{claim.relation}`"
        raise Mistake("E0307", message, claim.span, help=advice)
    kind = KEYS[claim.name]
    if claim.relation != "=" and kind in (Kind.SHAPE, Kind.NAME):
        message = f"`{claim.name}` is a {kind.value}, which `{claim.relation}` cannot compare"
        raise Mistake("E0307", message, claim.span, help=advice)


def _is_of(value: object, kind: Kind, *, exact: bool) -> bool:
    """Whether a value is of a kind; a bound may be a float, such as 4.2e9."""
    number = isinstance(value, int if exact else int | float) and not isinstance(value, bool)
    if kind is Kind.COUNT:
        return number
    if kind is Kind.SIZE:
        return number or (isinstance(value, tuple) and len(value) == 2)
    if kind is Kind.SHAPE:
        return number or isinstance(value, tuple | list)
    return isinstance(value, str)
