"""Which part of one network stands for which part of another: by label, then by likeness."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from difflib import SequenceMatcher

from resnetc.analysis.modules import Module

Pair = tuple[Module | None, Module | None]
"""Parts that stand for each other; None stands for a part that the other network lacks."""

_ALIKE = 0.6
"""Least likeness of two differently labelled parts that are taken for the same one."""


def align(before: Module, after: Module) -> list[Pair]:
    """The children of two modules in pairs: in `after`'s order, what is gone where it stood.

    Children of one label belong together. Where numbered ones are of other kinds in another
    order, rows were inserted or taken out, and the kinds' longest common order decides. What is
    left pairs up when it is of one kind and holds much the same layers.
    """
    matched = dict(_by_label(before, after))
    taken = set(matched.values())
    for old, new in _by_likeness(
        [child for child in before.children.values() if child not in matched],
        [child for child in after.children.values() if child not in taken],
    ):
        matched[old] = new
    return _in_order(list(before.children.values()), list(after.children.values()), matched)


def _by_label(before: Module, after: Module) -> list[tuple[Module, Module]]:
    pairs = []
    for label, old in before.children.items():
        new = after.children.get(label)
        if new is not None and not label.isdigit() and _fit(old, new):
            pairs.append((old, new))
    numbered = [[c for c in m.children.values() if c.label.isdigit()] for m in (before, after)]
    return pairs + _numbered(*numbered)


def _fit(old: Module, new: Module) -> bool:
    """Blocks may change what they are called, layers not what they compute."""
    if old.children and new.children:
        return True
    return old.kind == new.kind


def _numbered(before: Sequence[Module], after: Sequence[Module]) -> list[tuple[Module, Module]]:
    kinds = [[module.kind for module in side] for side in (before, after)]
    shorter = min(map(len, kinds))
    if kinds[0][:shorter] == kinds[1][:shorter]:
        return list(zip(before, after, strict=False))
    matcher = SequenceMatcher(None, kinds[0], kinds[1], autojunk=False)
    return [
        (before[block.a + i], after[block.b + i])
        for block in matcher.get_matching_blocks()
        for i in range(block.size)
    ]


def _by_likeness(before: list[Module], after: list[Module]) -> list[tuple[Module, Module]]:
    pairs = []
    for old in before:
        candidates = [new for new in after if _fit(old, new)]
        best = max(candidates, key=lambda new: _likeness(old, new), default=None)
        if best is not None and _likeness(old, best) >= _ALIKE:
            pairs.append((old, best))
            after = [new for new in after if new is not best]
    return pairs


def _likeness(old: Module, new: Module) -> float:
    """How much of two parts is the same, from 0 to 1: layers by kind and shape."""
    ours, theirs = (
        Counter((node.op.name, node.type.shape) for node in module.layers())
        for module in (old, new)
    )
    return 2 * (ours & theirs).total() / (ours.total() + theirs.total())


def _in_order(
    before: list[Module], after: list[Module], matched: dict[Module, Module]
) -> list[Pair]:
    behind: dict[Module | None, list[Module]] = {None: []}
    anchor: Module | None = None
    for old in before:
        if old in matched:
            anchor = matched[old]
        else:
            behind.setdefault(anchor, []).append(old)
    partner = {new: old for old, new in matched.items()}
    pairs: list[Pair] = [(old, None) for old in behind[None]]
    for new in after:
        pairs.append((partner.get(new), new))
        pairs += [(old, None) for old in behind.get(new, [])]
    return pairs


_MADE = re.compile(r"_\d+$")


def renamed(old: Module, new: Module) -> bool:
    """Whether a label was changed, as far as anyone wrote it: numbers and the names that the
    compiler gives are not labels."""
    if old.label == new.label or old.label.isdigit() or new.label.isdigit():
        return False
    return not all(_MADE.sub("", module.label) == module.kind for module in (old, new))
