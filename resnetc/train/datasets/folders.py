"""ImageNet and any folder of classes: PATH/train/CLASS/IMAGE and PATH/val/CLASS/IMAGE."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from resnetc.diagnostics import MissingError, RunError
from resnetc.train.datasets.packed import MANIFEST, Manifest, read_manifest
from resnetc.train.datasets.records import FileImages, ImageData, Wanted, label_tensor

SUFFIXES = (".gif", ".jpeg", ".jpg", ".png", ".webp")
_VALIDATION = ("val", "validation", "test")
_LAYOUT = (
    "lay it out as PATH/train/CLASS/IMAGE and PATH/val/CLASS/IMAGE and name it: --data {}:PATH"
)


def load_imagenet(path: Path | None, wanted: Wanted) -> ImageData:
    """ImageNet (ILSVRC 2012) in folders; any other number of classes than 1,000 is taken too."""
    if path is None:
        raise MissingError(
            "imagenet has no default place",
            "fetch ILSVRC2012 from https://image-net.org (it asks for an account), "
            + _LAYOUT.format("imagenet"),
        )
    return read_folders("imagenet", path)


def load_folder(path: Path | None, wanted: Wanted) -> ImageData:
    """Any images in folders by class."""
    if path is None:
        raise MissingError("folder needs a path", _LAYOUT.format("folder"))
    return read_folders("folder", path)


def read_folders(name: str, root: Path) -> ImageData:
    """The images below `root/train` and `root/val`, by class, and a packed set's mark on them.

    Raises MissingError where there are no such folders, RunError for what is in them.
    """
    validation = next((root / v for v in _VALIDATION if (root / v).is_dir()), root / "val")
    for folder in (root / "train", validation):
        if not folder.is_dir():
            raise MissingError(
                f"{name} is not here: there is no folder {folder}", _LAYOUT.format(name)
            )
    classes = _class_folders(root / "train")
    others = set(_class_folders(validation)) - set(classes)
    if others:
        raise RunError(f"{validation}: {sorted(others)[0]} is no class of {root / 'train'}")
    parts = [_images(folder, classes) for folder in (root / "train", validation)]
    where = str(root)
    packed = read_manifest(root)
    if packed is not None:
        parts = _as_packed(root, packed, parts)
        where += f", packed to a shorter side of {packed.settings.short_side}"
    return ImageData(name, parts[0], parts[1], classes, where=where)


def _as_packed(root: Path, packed: Manifest, parts: list[FileImages]) -> list[FileImages]:
    """The parts of a packed set, told apart from the images they were made of."""
    found, wanted = sum(map(len, parts)), sum(packed.images.values())
    if found != wanted:
        raise RunError(
            f"{root}: holds {found:,} images, and {MANIFEST} says {wanted:,}; pack it again"
        )
    return [replace(part, mark=packed.hash) for part in parts]


def _class_folders(folder: Path) -> tuple[str, ...]:
    classes = tuple(sorted(entry.name for entry in folder.iterdir() if entry.is_dir()))
    if not classes:
        raise RunError(f"{folder}: holds no folders of classes")
    return classes


def _images(folder: Path, classes: tuple[str, ...]) -> FileImages:
    paths: list[Path] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        found = _image_files(folder / name)
        paths += found
        labels += [label] * len(found)
    if not paths:
        raise RunError(f"{folder}: holds no images ({', '.join(SUFFIXES)})")
    return FileImages(tuple(paths), label_tensor(labels))


def _image_files(folder: Path) -> list[Path]:
    """All below a folder, in order; by os.walk, which looks at a million files in half the
    time that `Path.rglob` takes."""
    return sorted(
        Path(where, name)
        for where, _, names in os.walk(folder)
        for name in names
        if name.lower().endswith(SUFFIXES)
    )
