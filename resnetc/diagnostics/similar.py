"""Guesses which word was meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from functools import lru_cache


def suggest(word: str, known: Iterable[str]) -> str | None:
    """The known word the user most likely meant, if one is close.

    Of equally close ones the one that begins most alike, then the first by name.
    """
    return _closest(word, tuple(known))


@lru_cache(maxsize=256)
def _closest(word: str, candidates: tuple[str, ...]) -> str | None:
    # A mistake in a block comes up again wherever the block is placed.
    close = difflib.get_close_matches(word, candidates, n=5, cutoff=0.7)
    close += [c for c in candidates if len(c) > 2 and word.startswith(c)]
    likeness = difflib.SequenceMatcher(b=word)

    def unlikeness(candidate: str) -> tuple[float, int, str]:
        likeness.set_seq1(candidate)
        pairs = enumerate(zip(word, candidate, strict=False))
        apart = next((i for i, (a, b) in pairs if a != b), len(candidate))
        return -likeness.ratio(), -apart, candidate

    return min(close, key=unlikeness, default=None)
