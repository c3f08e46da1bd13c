"""What a data set is, for a reader: counts, sizes, where it lies."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

from PIL import Image

from resnetc.diagnostics import RunError
from resnetc.train.datasets import open_data, split_reference
from resnetc.train.datasets.packed import read_manifest
from resnetc.train.datasets.records import FileImages, Images, Wanted

_LOOKED_AT = 1000
"""Files whose sizes are read."""
_ANY = Wanted((3, 224, 224), 1000)
"""Made-up images are made for a network; these are ImageNet's."""


def facts(reference: str) -> dict[str, Any]:
    """What `NAME` or `NAME:PATH` means, in a form for JSON. Raises as `open_data` does."""
    name, path = split_reference(reference)
    data = open_data(reference, _ANY)
    packed = read_manifest(path) if path is not None and path.is_dir() else None
    counts = _counts(data.train, len(data.classes))
    return {
        "name": name,
        "where": data.where,
        "real": data.real,
        "images": {"train": len(data.train), "test": len(data.test)},
        "classes": list(data.classes),
        "images_of_a_class": {"fewest": min(counts), "most": max(counts)},
        **_sizes(data.train),
        "packed": None if packed is None else {**asdict(packed.settings), "from": packed.source},
        "fingerprint": data.fingerprint,
    }


def _counts(images: Images, classes: int) -> list[int]:
    """Training images of each class."""
    held = Counter(images.labels.tolist())
    return [held[label] for label in range(classes)]


def _sizes(images: Images) -> dict[str, Any]:
    """The images' shape where they share one; else what their files' heads say."""
    if not isinstance(images, FileImages):
        return {"shape": "x".join(map(str, images.shape))}
    count = min(len(images), _LOOKED_AT)
    paths = [images.paths[place * len(images) // count] for place in range(count)]
    heads = [_head(path) for path in paths]
    sides = [min(size) for size, _ in heads]
    return {
        "shorter_side": {"least": min(sides), "median": round(median(sides)), "most": max(sides)},
        "formats": dict(Counter(kind for _, kind in heads).most_common()),
        "bytes_of_an_image": round(sum(path.stat().st_size for path in paths) / count),
    }


def _head(path: Path) -> tuple[tuple[int, int], str]:
    """Width and height, and the format, without the pixels."""
    try:
        with Image.open(path) as file:
            return file.size, str(file.format)
    except Exception as error:  # Pillow's readers may raise anything for a damaged file
        raise RunError(f"{path}: this image cannot be read: {error}") from error
