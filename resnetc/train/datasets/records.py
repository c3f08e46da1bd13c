"""What a loaded data set is."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from resnetc.diagnostics import RunError
from resnetc.train.datasets.decoding import decode


@dataclass(frozen=True)
class TensorImages:
    """A small set, held whole: `pixels` uint8 [N, C, H, W], `labels` int64 [N]."""

    pixels: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        if len(self.pixels) != len(self.labels):
            raise ValueError(f"{len(self.pixels)} images and {len(self.labels)} labels")

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def shape(self) -> tuple[int, ...]:
        """Channels, height and width of every image."""
        return tuple(self.pixels.shape[1:])

    def image(self, index: int) -> Tensor:
        """One image, uint8 [C, H, W]."""
        return self.pixels[index]

    def part(self, indices: Tensor) -> TensorImages:
        return TensorImages(self.pixels[indices], self.labels[indices])

    @cached_property
    def fingerprint(self) -> str:
        digest = hashlib.sha256(repr(tuple(self.pixels.shape)).encode())
        digest.update(self.pixels.contiguous().numpy().data)
        digest.update(self.labels.contiguous().numpy().data)
        return digest.hexdigest()


@dataclass(frozen=True)
class FileImages:
    """Image files of any size, read when they are needed; decoded to RGB. `labels` is int64 [N].

    `mark` is part of the fingerprint: what else tells these files from others of their names.
    """

    paths: tuple[Path, ...]
    labels: Tensor
    mark: str = ""

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def shape(self) -> None:
        """Images differ in size."""
        return None

    def image(self, index: int) -> Tensor:
        """One image, uint8 [3, H, W]. Raises RunError that names a file that is no image."""
        path = self.paths[index]
        try:
            return decode(np.fromfile(path, dtype=np.uint8))
        except OSError as error:
            why = error.strerror or error
            raise RunError(f"{path}: this image cannot be read: {why}") from error
        except Exception as error:  # Pillow's readers may raise anything for a damaged file
            raise RunError(f"{path}: this image cannot be read: {error}") from error

    def part(self, indices: Tensor) -> FileImages:
        paths = tuple(self.paths[i] for i in indices.tolist())
        return FileImages(paths, self.labels[indices], self.mark)

    @cached_property
    def fingerprint(self) -> str:
        """Of the files' names and labels; their contents are not read."""
        digest = hashlib.sha256(self.mark.encode())
        for path, label in zip(self.paths, self.labels.tolist(), strict=True):
            digest.update(f"{path.parent.name}/{path.name}\0{label}\n".encode())
        return digest.hexdigest()


Images = TensorImages | FileImages


@dataclass(frozen=True)
class ImageData:
    """A data set: images to train on and images to be judged by, and the classes' names.

    `where` says in words where it was found. `real` is false for made-up images.
    """

    name: str
    train: Images
    test: Images
    classes: tuple[str, ...]
    where: str
    real: bool = True

    @cached_property
    def fingerprint(self) -> str:
        """Identity of the data, for resuming."""
        both = self.train.fingerprint + self.test.fingerprint
        return hashlib.sha256(both.encode()).hexdigest()


@dataclass(frozen=True)
class Wanted:
    """What a loader may need of the network: its input (C, H, W) and number of classes."""

    input_shape: tuple[int, ...]
    classes: int


def label_tensor(values: object) -> Tensor:
    """Labels as int64."""
    return torch.as_tensor(values, dtype=torch.int64)
