"""Where `use` looks for a module, and how far a link may lead.

A project is what lies below its root: the nearest folder, from that of the compiled file upwards,
that holds a `pyproject.toml` or a `.git`; without one it is the file's own folder.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from resnetc import resources

MARKS = ("pyproject.toml", ".git")


@dataclass(frozen=True)
class Place:
    """A folder to look in; what is found there lies, behind all links, below `bounds`."""

    folder: Path
    bounds: Path

    def allows(self, path: Path) -> bool:
        """Whether a file found here may be read."""
        return path.resolve().is_relative_to(self.bounds.resolve())


def project_root(folder: Path) -> Path:
    """The root of the project that a folder is in, written from where the folder is."""
    absolute = folder.resolve()
    root = next((f for f in (absolute, *absolute.parents) if _is_marked(f)), absolute)
    if root == absolute:
        return folder
    return root if folder.is_absolute() else Path(os.path.relpath(root))


def _is_marked(folder: Path) -> bool:
    return any((folder / mark).exists() for mark in MARKS)


def shipped() -> Place:
    """The specs that come with the compiler."""
    return Place(resources.specs(), resources.specs())


def beside(folder: Path, root: Path) -> Place:
    """The folder of an importing file, which may be one of the shipped ones."""
    inside = folder.resolve().is_relative_to(resources.specs().resolve())
    return Place(folder, resources.specs() if inside else root)


def places(folder: Path, root: Path) -> list[Place]:
    """Where a module is looked for, the nearest place first: beside the compiled file, from the
    root of its project, among the shipped specs."""
    own = dict.fromkeys([folder, root])
    return [*(Place(each, root) for each in own), shipped()]
