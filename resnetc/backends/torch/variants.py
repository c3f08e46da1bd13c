"""Instances of a block that differ in optional parts: with a projection or without, say.

A part is optional when the rest of the block goes on with the part's input where the part is
missing. `families` sorts the programs of one block into groups that one class can write.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from resnetc.backends.torch.programs import Path, Program, Step
from resnetc.backends.torch.terms import Shape

Cut = tuple[int, int]
"""A half-open range of a program's steps."""

_LONGEST = 200
"""Longer programs are compared as wholes only: looking for parts takes quadratic time."""


@dataclass
class Family:
    """Programs that have the steps of `base`, each without some of the cuts."""

    base: Program
    cuts: list[Cut] = field(default_factory=list)
    instances: dict[int, tuple[Cut, ...]] = field(default_factory=dict)

    def members_in(self, cut: Cut) -> tuple[Path, ...]:
        """Members that only a cut's steps call."""
        steps = self.base.steps[slice(*cut)]
        return tuple(step.member for step in steps if step.member is not None)

    def admits(self, cuts: tuple[Cut, ...]) -> bool:
        """Whether these cuts leave the known ones whole."""
        return all(
            new == old or new[1] <= old[0] or old[1] <= new[0] for new in cuts for old in self.cuts
        )


def families(programs: list[Program]) -> list[Family]:
    """Group programs by what one class can write; instances are places in the list."""
    alike: dict[Shape, list[int]] = {}
    for place, program in enumerate(programs):
        alike.setdefault(program.shape(), []).append(place)
    found: list[Family] = []
    # The longest come first: a shorter one is a longer one with parts cut out.
    for places in sorted(alike.values(), key=lambda p: -len(programs[p[0]].steps)):
        family, cuts = _home(found, programs[places[0]])
        family.cuts += [cut for cut in cuts if cut not in family.cuts]
        family.cuts.sort()
        family.instances.update(dict.fromkeys(places, cuts))
    return sorted(found, key=lambda family: min(family.instances))


def _home(found: list[Family], program: Program) -> tuple[Family, tuple[Cut, ...]]:
    for family in found:
        cuts = _cuts(family.base, program)
        if cuts is not None and family.admits(cuts):
            return family, cuts
    found.append(Family(program))
    return found[-1], ()


def _cuts(base: Program, other: Program) -> tuple[Cut, ...] | None:
    """Which parts of `base` are missing in `other`; None where that is not the difference."""
    if base.inputs != other.inputs or len(base.steps) > _LONGEST:
        return None
    value = {place: place for place in range(len(base.inputs))}
    cuts: list[Cut] = []
    at = there = 0
    while at < len(base.steps):
        if _same_step(base, at, other, there, value):
            value.update(zip(base.steps[at].results, other.steps[there].results, strict=True))
            at, there = at + 1, there + 1
            continue
        stop = _bypass(base, at, other, there, value)
        if stop is None:
            return None
        cuts.append((at, stop))
        at = stop
    same_ends = tuple(value.get(output) for output in base.outputs) == other.outputs
    whole = there == len(other.steps) and same_ends
    return tuple(cuts) if whole and _same_members(base, other, cuts) else None


def _same_step(base: Program, at: int, other: Program, there: int, value: dict[int, int]) -> bool:
    """Whether a step of each does the same to the same values; also at both ends."""
    if at == len(base.steps) or there == len(other.steps):
        return at == len(base.steps) and there == len(other.steps)
    mine, theirs = base.steps[at], other.steps[there]
    operands = tuple(value.get(operand) for operand in mine.operands)
    return mine.call() == theirs.call() and operands == theirs.operands


def _bypass(
    base: Program, at: int, other: Program, there: int, value: dict[int, int]
) -> int | None:
    """End of the shortest part from `at` on that can be left out so that the next steps agree.

    The part must read one value and make one that is read after it; readers get the former.
    """
    for stop in range(at + 1, len(base.steps) + 1):
        part = base.steps[at:stop]
        ends = _ends(base, part, stop)
        if ends is None:
            continue
        entry, leaving = ends
        bypassed = {**value, leaving: value[entry]}
        if entry in value and _same_step(base, stop, other, there, bypassed):
            value.update(bypassed)
            return stop
    return None


def _ends(base: Program, part: tuple[Step, ...], stop: int) -> tuple[int, int] | None:
    """The one value a part reads and the one it leaves behind, if it is so."""
    made = {result for step in part for result in step.results}
    entries = {o for step in part for o in step.operands if o not in made}
    later = {o for step in base.steps[stop:] for o in step.operands} | set(base.outputs)
    leaving = made & later
    simple = all(step.member is None or len(step.member) == 1 for step in part)
    if not simple or len(entries) != 1 or len(leaving) != 1 or leaving != {part[-1].results[0]}:
        return None
    return entries.pop(), leaving.pop()


def _same_members(base: Program, other: Program, cuts: list[Cut]) -> bool:
    missing = {step.member for cut in cuts for step in base.steps[slice(*cut)]}
    kept = [member for member in base.members if member.path not in missing]
    if any(member.path[:1] in missing for member in kept):
        return False
    return [member.shape() for member in kept] == [member.shape() for member in other.members]
