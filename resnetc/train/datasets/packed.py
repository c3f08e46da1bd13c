"""What stands beside the images of a packed data set: how it was made, and of what."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from resnetc.atomic import write_text
from resnetc.diagnostics import RunError, UsageError

MANIFEST = "pack.json"
_FORMAT = 1


@dataclass(frozen=True)
class PackSettings:
    """`short_side`: pixels that the shorter side of an image has at most. `quality`: of the JPEG
    an image becomes that was resized, 1 to 100. Raises UsageError for others."""

    short_side: int = 480
    quality: int = 90

    def __post_init__(self) -> None:
        if self.short_side < 1:
            raise UsageError(f"a shorter side has at least one pixel, not {self.short_side}")
        if not 1 <= self.quality <= 100:
            raise UsageError(f"a JPEG's quality is 1 to 100, not {self.quality}")


@dataclass(frozen=True)
class Corrupt:
    """An image that cannot be read, by its path in the data set, and why."""

    image: str
    error: str

    def __str__(self) -> str:
        return f"{self.image}: {self.error}"


@dataclass(frozen=True)
class Manifest:
    """A packed set.

    `images` counts them by part, and `kept` and `resized` by what was done to them; `skipped` are
    the corrupt ones that were left out. Sizes are in bytes. `source_hash` is of the names and
    contents that were packed, `hash` of those that came of it.
    """

    source: str
    settings: PackSettings
    images: dict[str, int]
    classes: int
    kept: int
    resized: int
    source_bytes: int
    bytes: int
    source_hash: str
    hash: str
    skipped: tuple[Corrupt, ...]
    versions: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def write(self, folder: Path) -> None:
        document = {"format": _FORMAT, **self.to_json()}
        write_text(folder / MANIFEST, json.dumps(document, indent=2) + "\n")


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest of a packed set, None for a folder that is none. Raises RunError for one that
    is damaged, or of a format that is not known here."""
    path = folder / MANIFEST
    if not path.is_file():
        return None
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        number = fields.pop("format")
        if number != _FORMAT:
            raise RunError(f"{path}: is of format {number}, and known here is {_FORMAT}")
        fields["settings"] = PackSettings(**fields["settings"])
        fields["skipped"] = tuple(Corrupt(**each) for each in fields["skipped"])
        return Manifest(**fields)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise RunError(f"{path}: not the manifest of a packed data set: {error}") from error
