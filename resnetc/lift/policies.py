"""The shortcuts of a network as one policy, where there is one."""

from __future__ import annotations

import copy
from dataclasses import dataclass

from resnetc.lift.tree import Body, Expr, Term, bodies, walk
from resnetc.lift.writing import write_body

_PROJECTION = "conv(1x1, output.channels, stride=stride)"
_SEQ = "downsample: seq {{ {} }}"


@dataclass(frozen=True)
class Policy:
    """A shortcut policy by name, and its declaration where the prelude has none like it."""

    name: str
    declaration: str = ""


def choose_policy(tree: Body, *, has_norm: bool) -> Policy | None:
    """Take the shortcuts out of residuals for one policy that makes them all.

    Those that it does not make become plain sums again. None where no residual needs one.
    """
    residuals = [t for t in walk(tree) if t.word == "residual" and len(t.bodies) == 2]
    projected = [_pattern(t) for t in residuals if t.bodies[1]]
    if not projected:
        policy, wanted, everywhere = None, "", False
    else:
        wanted = max(projected, key=projected.count)
        everywhere = len(projected) == len(residuals) and any(
            not t.changes_shape for t in residuals
        )
        policy = _policy(wanted, everywhere=everywhere, has_norm=has_norm)
    for body in list(bodies(tree)):
        for i in range(len(body) - 1, -1, -1):
            if body[i].word == "residual" and len(body[i].bodies) == 2:
                body[i : i + 1] = _settled(body[i], wanted, everywhere=everywhere)
    return policy


def _settled(residual: Term, wanted: str, *, everywhere: bool) -> Body:
    """A residual without its shortcut where the policy makes it, else the sum that it is."""
    shortcut = residual.bodies[1]
    expected = wanted if residual.changes_shape or everywhere else ""
    if (_pattern(residual) if shortcut else "") == expected:
        del residual.bodies[1]
        return [residual]
    add = Term("add", residual.entry, residual.exit, bodies=residual.bodies)
    if "act" in residual.args:
        return [add]
    return [add, Term("act", residual.exit, residual.exit)]


def _pattern(residual: Term) -> str:
    """A shortcut's rows, with what follows from the two tensors written as that."""
    rows = copy.deepcopy(residual.bodies[1])
    before, after = residual.entry.shape, residual.exit.shape
    stride = tuple(-(-a // b) for a, b in zip(before[1:], after[1:], strict=True))
    for term in walk(rows):
        if term.args.get("out") == after[0]:
            term.args["out"] = Expr("output.channels")
        if term.args.get("to") == after[0]:
            term.args["to"] = Expr("output.channels")
        if term.args.get("stride") == stride:
            term.args["stride"] = Expr("stride")
    return write_body(rows)


def _policy(rows: str, *, everywhere: bool, has_norm: bool) -> Policy:
    normed = f"{_PROJECTION} -> norm" if has_norm else _PROJECTION
    if rows == _SEQ.format(normed):
        return Policy("C" if everywhere else "B")
    for sides in ("", ', sides="both"'):
        if rows == f"subsample(stride)\npad_channels(output.channels{sides})" and not everywhere:
            return Policy(f"A({sides[2:]})" if sides else "A")
    guard = "" if everywhere else "[if changed] "
    identity = "" if everywhere else "| [if not changed] identity\n"
    return Policy("projection", f"shortcut projection {{\n{identity}| {guard}{rows}\n}}")
