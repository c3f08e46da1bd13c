"""Blocks: what stands in several places and differs by numbers alone, written once.

Modules are grouped by skeleton. What is equal at all places of a group stays a number; what follows
from another number, or from the channels that come in, is written so; what is left over is a
parameter.
"""

from __future__ import annotations

import copy
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from resnetc.lift.tree import Body, Expr, Skeleton, Term, Value, is_hole, skeleton, walk

_MODULES = ("seq", "group")
_FACTORS = range(2, 17)


@dataclass
class Block:
    """A declaration: its parameters with their type and default, and its body."""

    name: str
    parameters: list[Parameter]
    body: Body
    is_sequence: bool


@dataclass
class Parameter:
    """What a block is placed with. `default` is None where every place must say it."""

    name: str
    type: str
    values: list[Value]
    default: Value = None


@dataclass
class Naming:
    """The names of blocks so far; no two are the same."""

    taken: set[str] = field(default_factory=set)

    def unique(self, name: str) -> str:
        """`name`, or with a number behind it."""
        number, chosen = 1, name
        while chosen in self.taken:
            number += 1
            chosen = f"{name}{number}"
        self.taken.add(chosen)
        return chosen


def extract_block(tree: Body, naming: Naming) -> Block | None:
    """Make the smallest module that stands in several places a block; None where there is none."""
    groups: dict[Skeleton, list[Term]] = defaultdict(list)
    for term in walk(tree):
        if term.word in _MODULES and _layers(term) > 1:
            groups[(term.word, skeleton(term.bodies[0]))].append(term)
    repeated = _outermost([places for places in groups.values() if len(places) > 1])
    if not repeated:
        return None
    places = min(repeated, key=lambda found: sum(1 for _ in found[0].walk()))
    return _block(places, naming)


def _outermost(groups: Sequence[list[Term]]) -> list[list[Term]]:
    """Groups without those that stand once in every module of another group."""
    inside = [{id(t) for place in places for t in walk(place.bodies[0])} for places in groups]
    return [
        places
        for places in groups
        if not any(
            len(around) == len(places) and all(id(place) in held for place in places)
            for around, held in zip(groups, inside, strict=True)
        )
    ]


def _layers(term: Term) -> int:
    """Layers with parameters, and calls, in a term."""
    return sum(t.owns or t.is_call for t in term.walk())


def _block(places: Sequence[Term], naming: Naming) -> Block:
    first = places[0]
    name = naming.unique(_name(places))
    body = copy.deepcopy(first.bodies[0])
    parameters = _generalize(body, [place.bodies[0] for place in places], places)
    parameters.sort(key=lambda p: p.default is not None)
    is_sequence = first.word == "seq"
    for i, place in enumerate(places):
        place.word, place.bodies, place.is_call = name, [], True
        place.args = {
            p.name: p.values[i] for p in parameters if p.default is None or p.values[i] != p.default
        }
    return Block(name, parameters, body, is_sequence)


# -------------------------------------------------------------------------------- parameters


def _generalize(body: Body, instances: Sequence[Body], places: Sequence[Term]) -> list[Parameter]:
    """Write a body's numbers as what they are at all of its places."""
    incoming = [place.entry.shape[0] for place in places]
    parameters: list[Parameter] = []
    columns = zip(walk(body), zip(*map(walk, instances), strict=True), strict=True)
    for term, versions in columns:
        for name in list(term.args):
            values = [version.args[name] for version in versions]
            if is_hole(values[0]) and any(value != values[0] for value in values):
                term.args[name] = _expression(name, values, incoming, parameters)
        if any(version.times != term.times for version in versions):
            times = [version.times for version in versions]
            term.times = _expression("depth", times, incoming, parameters)
    return parameters


def _expression(
    name: str, values: list[Value], incoming: list[int], parameters: list[Parameter]
) -> Expr:
    """What makes the values at all places; a new parameter where nothing does."""
    for parameter in parameters:
        if parameter.values == values and not (name == "stride" and parameter.type != "int"):
            return Expr(parameter.name)
    if all(isinstance(value, int) for value in values):
        known = [(p.name, p.values) for p in parameters if p.name.startswith("width")]
        for written, numbers in (*known, ("input.channels", incoming)):
            if found := _multiple(values, written, numbers):
                return found
    return _parameter(name, values, parameters)


def _multiple(values: list[int], written: str, numbers: list[int]) -> Expr | None:
    if values == numbers:
        return Expr(written)
    for factor in _FACTORS:
        if values == [factor * number for number in numbers]:
            return Expr(f"{factor} * {written}")
        if [factor * value for value in values] == numbers:
            return Expr(f"{written} // {factor}")
    return None


def _parameter(name: str, values: list[Value], parameters: list[Parameter]) -> Expr:
    stem = {"out": "width", "to": "width"}.get(name, name.rstrip("0123456789"))
    taken = {parameter.name for parameter in parameters}
    chosen = next(n for i in range(1, 99) if (n := stem if i == 1 else f"{stem}{i}") not in taken)
    square = all(isinstance(value, tuple) and value[0] == value[1] for value in values)
    if square and name != "kernel":
        values = [value[0] for value in values]
    kind = "size" if isinstance(values[0], tuple) else "int"
    default = 1 if name in ("stride", "groups", "dilation") and 1 in values else None
    parameters.append(Parameter(chosen, kind, values, default))
    return Expr(chosen)


# -------------------------------------------------------------------------------------- names


def _name(places: Sequence[Term]) -> str:
    """After the word that the labels of its places begin with; else after what it does."""
    stems = {re.sub(r"[\W\d].*", "", place.label or "").rstrip("_") for place in places}
    if len(stems) == 1 and (stem := stems.pop()):
        return stem if stem not in ("conv", "layer", "block", "act", "norm") else f"{stem}_unit"
    return _by_structure(places[0].bodies[0])


def _by_structure(body: Body) -> str:
    terms = list(walk(body))
    words = {term.word for term in terms}
    kernels = [t.args["kernel"] for t in terms if "kernel" in t.args and not _is_pool(t)]
    if "residual" in words:
        if "depthwise" in words or any(t.args.get("groups") == "here.channels" for t in terms):
            return "inverted_residual"
        usual = {((3, 3), (3, 3)): "basic", ((1, 1), (3, 3), (1, 1)): "bottleneck"}
        return usual.get(tuple(kernels), "residual_unit")
    for word, name in (("concat", "mixed"), ("mul", "channel_gate")):
        if word in words:
            return name
    return "conv_unit" if len(kernels) == 1 else "unit"


def _is_pool(term: Term) -> bool:
    return term.word in ("maxpool", "avgpool", "blur_pool")


# ------------------------------------------------------------------------------------ repeats


def fold_repeats(tree: Body) -> None:
    """Calls of one block in a row become one that is repeated."""
    for term in list(walk(tree)):
        term.bodies = [_folded(body, term) for body in term.bodies]
        if term.word == "seq" and len(term.bodies[0]) == 1:
            only = term.bodies[0][0]
            if term.label is not None and only.label is None and only.times is not None:
                _become(term, only)
    tree[:] = _folded(tree, None)


def _become(seq: Term, call: Term) -> None:
    """`layer1: seq { unit(64) * 3 }` is `layer1: unit(64) * 3`."""
    seq.word, seq.args, seq.bodies = call.word, call.args, []
    seq.times, seq.is_call = call.times, True


def _folded(body: Body, around: Term | None) -> Body:
    in_sequence = around is not None and around.word == "seq"
    named = around is not None and around.label is not None
    folded: Body = []
    waiting = list(body)
    while waiting:
        run = _run(waiting) if in_sequence else _labelled_run(waiting)
        # A stage of one unit: its label still holds the unit by number.
        stage = in_sequence and named and len(body) == 1 and _is_unit(body[0])
        if run > 1 or stage:
            folded.append(_repeat(waiting[:run], numbered=in_sequence))
        else:
            folded.append(waiting[0])
        del waiting[:run]
    return folded


def _is_unit(term: Term) -> bool:
    """Whether a term is a call of a block, not repeated yet."""
    return term.is_call and term.times is None


def _run(body: Sequence[Term]) -> int:
    """How many calls from the first on are of one block and, but for a first stride, equal."""
    if not _is_unit(body[0]) or body[0].label is not None:
        return 1
    run = 1
    while run < len(body) and body[run].label is None and _goes_on(body, run):
        run += 1
    return run


def _labelled_run(body: Sequence[Term]) -> int:
    """The same for calls labelled by consecutive numbers behind one word."""
    if not _is_unit(body[0]) or (start := _numbered(body[0])) is None:
        return 1
    stem, number = start
    run = 1
    while run < len(body) and _numbered(body[run]) == (stem, number + run) and _goes_on(body, run):
        run += 1
    return run


def _goes_on(body: Sequence[Term], at: int) -> bool:
    first, second, term = body[0], body[1], body[at]
    same = term.word == first.word and _is_unit(term) and term.args == second.args
    return same and _without_stride(term) == _without_stride(first)


def _without_stride(term: Term) -> dict[str, Value]:
    return {name: value for name, value in term.args.items() if name != "stride"}


def _numbered(term: Term) -> tuple[str, int] | None:
    found = re.fullmatch(r"(.*\D)(0|[1-9][0-9]*)", term.label or "")
    return (found[1], int(found[2])) if found else None


def _repeat(run: Sequence[Term], *, numbered: bool) -> Term:
    first, last = run[0], run[-1]
    call = copy.copy(last)
    call.entry = first.entry
    if first.args != last.args:
        a, b = (_stride(term) for term in (first, last))
        condition = "first" if numbered else "i == 0"
        call.args = last.args | {"stride": Expr(f"if {condition} then {a} else {b}")}
    if numbered:
        call.times = len(run)
        return call
    start = _numbered(first)
    assert start is not None
    stem, number = start
    call.label = f"{stem}{{i + {number}}}" if number else f"{stem}{{i}}"
    return Term("for", first.entry, last.exit, bodies=[[call]], times=len(run))


def _stride(call: Term) -> str:
    value = call.args.get("stride", 1)
    return f"{value[0]}x{value[1]}" if isinstance(value, tuple) else str(value)


def join_labels(tree: Body) -> None:
    """A module that holds one layer and nothing else is a part of that layer's label."""
    for term in walk(tree):
        while term.word == "group" and len(term.bodies[0]) == 1 and term.label is not None:
            only = term.bodies[0][0]
            if only.label is None or only.times is not None:
                break
            only.label, only.entry = f"{term.label}.{only.label}", term.entry
            term.__dict__.update(only.__dict__)


def blocks_of(tree: Body, naming: Naming) -> Iterator[Block]:
    """All blocks of a tree, inner ones first; the tree then calls them."""
    fold_repeats(tree)
    while (block := extract_block(tree, naming)) is not None:
        fold_repeats(tree)
        yield block
    join_labels(tree)
