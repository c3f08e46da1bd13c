"""Guesses which word was meant."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from functools import lru_cache

_LONGEST = 64
"""Letters of a word that is compared letter by letter."""


def suggest(word: str, known: Iterable[str]) -> str | None:
    """The known word the user most likely meant, if one is close; small and capital letters are
    alike.

    Of equally close ones the one that begins most alike, then the first by name.
    """
    return _closest(word, tuple(known))


def is_typo(word: str, meant: str) -> bool:
    """Whether one word is the other beyond reasonable doubt: but for small and capital letters,
    or for a slip in a long word.

    A short word with one letter changed is as likely another word (`elu` and `gelu`), and so is a
    word with another number (`conv1d` and `conv2d`).
    """
    word, meant = word.casefold(), meant.casefold()
    if re.findall(r"\d+", word) != re.findall(r"\d+", meant):
        return False
    slips = min(2, (min(len(word), len(meant)) - 1) // 4)
    if word == meant or abs(len(word) - len(meant)) > slips or len(word) > _LONGEST:
        return word == meant
    return _slips(word, meant) <= slips


def _slips(word: str, meant: str) -> int:
    """Letters left out, put in, mistaken or swapped with their neighbour between two words."""
    before: list[int] = []
    row = list(range(len(meant) + 1))
    for i, letter in enumerate(word, start=1):
        above = row
        row = [i]
        for j, wanted in enumerate(meant, start=1):
            cost = min(above[j] + 1, row[-1] + 1, above[j - 1] + (letter != wanted))
            if i > 1 and j > 1 and word[i - 2 : i] == meant[j - 1] + meant[j - 2]:
                cost = min(cost, before[j - 2] + 1)
            row.append(cost)
        before = above
    return row[-1]


@lru_cache(maxsize=256)
def _closest(word: str, candidates: tuple[str, ...]) -> str | None:
    # A mistake in a block comes up again wherever the block is placed.
    word = word.casefold()
    folded: dict[str, list[str]] = {}
    for candidate in candidates:
        folded.setdefault(candidate.casefold(), []).append(candidate)
    close = difflib.get_close_matches(word, folded, n=5, cutoff=0.7)
    close += [c for c in folded if len(c) > 2 and word.startswith(c)]
    likeness = difflib.SequenceMatcher(b=word)

    def unlikeness(candidate: str) -> tuple[float, int, str]:
        likeness.set_seq1(candidate)
        pairs = enumerate(zip(word, candidate, strict=False))
        apart = next((i for i, (a, b) in pairs if a != b), len(candidate))
        return -likeness.ratio(), -apart, candidate

    best = min(close, key=unlikeness, default=None)
    return None if best is None else min(folded[best])
