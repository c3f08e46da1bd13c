"""Data sets: one row each. `--data NAME` or `--data NAME:PATH` names one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from resnetc.diagnostics import UsageError, suggest
from resnetc.train.datasets import cifar, digits, fashion_mnist, folders, synthetic
from resnetc.train.datasets.records import FileImages, ImageData, Images, TensorImages, Wanted

DATA_SETS: dict[str, Callable[[Path | None, Wanted], ImageData]] = {
    "digits": digits.load,
    "fashion_mnist": fashion_mnist.load,
    "cifar10": cifar.load_cifar10,
    "cifar100": cifar.load_cifar100,
    "imagenet": folders.load_imagenet,
    "folder": folders.load_folder,
    "synthetic": synthetic.load,
}
"""Loaders by name, the names `recipes.DATA_SETS` admits in a spec. A loader raises MissingError
where the set is not here and RunError where it is damaged."""


def split_reference(reference: str) -> tuple[str, Path | None]:
    """The set's name and the path, if one was given. Raises UsageError for an unknown set."""
    name, colon, path = reference.partition(":")
    name = name.replace("-", "_")
    if name not in DATA_SETS:
        close = suggest(name, DATA_SETS)
        meant = f"; did you mean `{close}`?" if close else "."
        raise UsageError(f"no data set `{name}`{meant} Known are {', '.join(DATA_SETS)}.")
    if colon and not path:
        raise UsageError(f"--data {reference}: a path is missing behind the colon")
    return name, Path(path).expanduser() if path else None


def open_data(reference: str, wanted: Wanted) -> ImageData:
    """Load the set that `NAME` or `NAME:PATH` means."""
    name, path = split_reference(reference)
    return DATA_SETS[name](path, wanted)


__all__ = [
    "DATA_SETS",
    "FileImages",
    "ImageData",
    "Images",
    "TensorImages",
    "Wanted",
    "open_data",
    "split_reference",
]
