"""Finds the data that ships with the package: `grammars/` and `specs/`.

In a wheel they lie inside the package; in a checkout beside it.
"""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).parent


def _shipped(folder: str) -> Path:
    packaged = _PACKAGE / folder
    return packaged if packaged.is_dir() else _PACKAGE.parent / folder


def grammar() -> Path:
    """The grammar of the language."""
    return _shipped("grammars") / "rnet.lark"


def specs() -> Path:
    """The model zoo; the standard library of blocks is its folder `std`."""
    return _shipped("specs")


def paper_tables() -> Path:
    """The paper's tables and recounts (He et al. 2015), as JSON."""
    return specs() / "paper" / "he2015.json"


def published_weights() -> list[Path]:
    """The files of names and shapes of published weights, one for each source."""
    return sorted((specs() / "weights").glob("*.json"))
