"""What each code means, with a program that is wrong in that way and one that is right.

The one source of `resnetc explain E0401` and of docs/diagnostics.md: the Markdown files in
`codes/`, one for each family of codes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

_FOLDER = Path(__file__).parent / "codes"
_ENTRY = re.compile(
    r"^## (?P<code>[EW]\d{4}) (?P<meaning>.+)\n(?P<text>(?:(?!```)(?!## ).*\n)*)"
    r"```rnet wrong(?P<bare> without edition)?(?:, (?P<scene>.+))?\n"
    r"(?P<wrong>(?:(?!```).*\n)*)```\n\s*"
    r"```rnet right\n(?P<right>(?:(?!```).*\n)*)```\n",
    re.M,
)


@dataclass(frozen=True)
class Entry:
    """A code: what it means in a sentence, more if there is more to say, and two programs.

    `scene` tells what the wrong program needs beside its text to be wrong, such as other files;
    it is empty where the text is enough.
    """

    code: str
    meaning: str
    text: str
    wrong: str
    right: str
    scene: str


@dataclass(frozen=True)
class Family:
    """Codes that belong together, and what is to be said of them all."""

    title: str
    text: str
    entries: tuple[Entry, ...]


@lru_cache(maxsize=1)
def families() -> tuple[Family, ...]:
    """All codes, in order."""
    return tuple(_family(path.read_text(encoding="utf-8")) for path in sorted(_FOLDER.glob("*.md")))


def entries() -> dict[str, Entry]:
    """All codes by themselves."""
    return {entry.code: entry for family in families() for entry in family.entries}


def _family(text: str) -> Family:
    head, _, _ = text.partition("\n## ")
    title, _, about = head.partition("\n")
    found = tuple(_entry(match) for match in _ENTRY.finditer(text))
    return Family(title.removeprefix("# "), about.strip(), found)


def _entry(match: re.Match[str]) -> Entry:
    return Entry(
        match["code"],
        match["meaning"],
        match["text"].strip(),
        match["wrong"] if match["bare"] else _whole(match["wrong"]),
        _whole(match["right"]),
        match["scene"] or "",
    )


def _whole(program: str) -> str:
    """A program of the catalogue as a file."""
    return program if program.startswith("rnet ") else f"rnet 1\n\n{program}"
