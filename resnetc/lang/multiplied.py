"""How few lines come to so many layers: blocks inside blocks, each placed several times."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, is_dataclass

from resnetc.diagnostics import Span
from resnetc.lang import syntax as s

_SHOWN = 6
"""Blocks and factors that are shown of a longer chain."""


@dataclass(frozen=True, slots=True)
class Entered:
    """A block or policy that is being elaborated: its call, what was called, and how often repeats
    and loops around the call place it."""

    call: s.Call
    decl: s.Block | s.Shortcut
    times: int


def multiplied(name: str, network: s.Network, entered: Sequence[Entered]) -> str | None:
    """The chain of blocks from a network down and how often each places the next, in one line;
    None where nothing is placed more than once."""
    blocks = [each.decl for each in entered if isinstance(each.decl, s.Block)]
    placed = [each for each in entered if isinstance(each.decl, s.Block)]
    bodies = [network.body, *(block.body for block in blocks)]
    factors = [
        max(_calls(body, each.call.name), each.times)
        for body, each in zip(bodies, placed, strict=False)
    ]
    many = [str(factor) for factor in factors if factor > 1]
    if not many:
        return None
    chain = _shortened([name, *(block.name for block in blocks)])
    total, last = math.prod(factors), blocks[-1].name
    product = f"{' x '.join(_shortened(many))} = {total:,}" if len(many) > 1 else f"{total:,}"
    return f"{' -> '.join(chain)} places {product} of `{last}`"


def _calls(node: object, name: str) -> int:
    """How often a body calls something of this name."""
    if isinstance(node, tuple):
        return sum(_calls(item, name) for item in node)
    if not is_dataclass(node) or isinstance(node, Span | type | s.Expr):
        return 0
    own = isinstance(node, s.Call) and node.name == name
    return own + sum(_calls(getattr(node, field.name), name) for field in fields(node))


def _shortened(words: list[str]) -> list[str]:
    half = _SHOWN // 2
    return words if len(words) <= _SHOWN else [*words[:half], "...", *words[-half + 1 :]]
