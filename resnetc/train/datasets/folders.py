"""ImageNet and any folder of classes: PATH/train/CLASS/IMAGE and PATH/val/CLASS/IMAGE."""

from __future__ import annotations

from pathlib import Path

from resnetc.diagnostics import MissingError, RunError
from resnetc.train.datasets.records import FileImages, ImageData, Wanted, label_tensor

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".gif"})
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
    return _load("imagenet", path)


def load_folder(path: Path | None, wanted: Wanted) -> ImageData:
    """Any images in folders by class."""
    if path is None:
        raise MissingError("folder needs a path", _LAYOUT.format("folder"))
    return _load("folder", path)


def _load(name: str, root: Path) -> ImageData:
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
    train = _images(root / "train", classes)
    test = _images(validation, classes)
    return ImageData(name, train, test, classes, where=str(root))


def _class_folders(folder: Path) -> tuple[str, ...]:
    classes = tuple(sorted(entry.name for entry in folder.iterdir() if entry.is_dir()))
    if not classes:
        raise RunError(f"{folder}: holds no folders of classes")
    return classes


def _images(folder: Path, classes: tuple[str, ...]) -> FileImages:
    paths: list[Path] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        here = folder / name
        found = (
            sorted(p for p in here.rglob("*") if p.suffix.lower() in SUFFIXES)
            if here.is_dir()
            else []
        )
        paths += found
        labels += [label] * len(found)
    if not paths:
        raise RunError(f"{folder}: holds no images ({', '.join(sorted(SUFFIXES))})")
    return FileImages(tuple(paths), label_tensor(labels))
