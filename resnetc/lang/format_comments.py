"""Comments, empty lines and line breaks: what stands between the tokens of a file."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import lark

_COMMENT = re.compile(r"#[^\n]*")


@dataclass(slots=True)
class Surroundings:
    """What stands around a token.

    `before` are the comments on lines of their own above it, each with whether an empty line
    stands above; `blank` says it of the token itself; `after` is the comment behind it.
    """

    before: list[tuple[bool, str]] = field(default_factory=list)
    blank: bool = False
    after: str | None = None


def surroundings(text: str, tokens: Iterable[lark.Token]) -> dict[int, Surroundings]:
    """What stands around each token, by the token's position; the end of the file is one too."""
    found: dict[int, Surroundings] = {}
    previous: Surroundings | None = None
    end = 0
    for start, stop in [*_places(tokens), (len(text), len(text))]:
        here = found[start] = Surroundings()
        at = end
        for match in _COMMENT.finditer(text, end, start):
            comment = match[0].rstrip()
            lines = text.count("\n", at, match.start())
            if previous is not None and lines == 0 and at == end:
                previous.after = comment
            else:
                here.before.append((lines > 1, comment))
            at = match.end()
        here.blank = text.count("\n", at, start) > 1
        previous, end = here, stop
    return found


def _places(tokens: Iterable[lark.Token]) -> Iterator[tuple[int, int]]:
    for token in tokens:
        assert token.start_pos is not None
        assert token.end_pos is not None
        yield token.start_pos, token.end_pos
