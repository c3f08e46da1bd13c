"""Fashion-MNIST (Xiao, Rasul, Vollgraf 2017): 70,000 grey images of 28x28, ten kinds of clothes.

Four IDX files, gzipped or not, as Debian's `dataset-fashion-mnist` installs them.
"""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path

import numpy as np
import torch

from resnetc.diagnostics import MissingError, RunError
from resnetc.train.datasets.records import ImageData, TensorImages, Wanted, label_tensor

DEFAULT = Path("/usr/share/datasets/fashion-mnist")
REMEDY = (
    "install it with `apt-get install dataset-fashion-mnist`, or name the folder of its four "
    "IDX files: --data fashion_mnist:PATH"
)
CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
_UINT8 = 0x08


def load(path: Path | None, wanted: Wanted) -> ImageData:
    """Both parts from a folder of IDX files."""
    folder = path or DEFAULT
    if not folder.is_dir():
        raise MissingError(f"Fashion-MNIST is not here: there is no folder {folder}", REMEDY)
    train, test = (_part(folder, prefix) for prefix in ("train", "t10k"))
    return ImageData("fashion_mnist", train, test, CLASSES, where=str(folder))


def _part(folder: Path, prefix: str) -> TensorImages:
    images_file = _find(folder, f"{prefix}-images-idx3-ubyte")
    labels_file = _find(folder, f"{prefix}-labels-idx1-ubyte")
    images, labels = read_idx(images_file, 3), read_idx(labels_file, 1)
    if len(images) != len(labels):
        raise RunError(f"{labels_file}: {len(labels)} labels for {len(images)} images")
    if images.shape[1:] != (28, 28):
        raise RunError(f"{images_file}: images of {images.shape[1]}x{images.shape[2]}, not 28x28")
    if labels.size and labels.max() >= len(CLASSES):
        raise RunError(f"{labels_file}: label {labels.max()}; the classes are 0 to 9")
    return TensorImages(torch.from_numpy(images)[:, None], label_tensor(labels.astype(np.int64)))


def _find(folder: Path, name: str) -> Path:
    for candidate in (folder / name, folder / f"{name}.gz"):
        if candidate.is_file():
            return candidate
    raise MissingError(f"{folder}: neither {name} nor {name}.gz is here", REMEDY)


def read_idx(path: Path, dimensions: int) -> np.ndarray:
    """An IDX file of unsigned bytes, its header checked against its length.

    Raises RunError for a file that is damaged or of another kind.
    """
    content = _content(path)
    header = 4 + 4 * dimensions
    if len(content) < header:
        raise RunError(f"{path}: only {len(content)} bytes; not a whole IDX file")
    if content[:4] != bytes((0, 0, _UINT8, dimensions)):
        raise RunError(
            f"{path}: begins with {content[:4].hex()}, an IDX file of bytes in {dimensions} "
            f"dimensions with 0000080{dimensions}"
        )
    shape = tuple(int(n) for n in np.frombuffer(content, ">u4", dimensions, offset=4))
    if len(content) - header != math.prod(shape):
        raise RunError(
            f"{path}: the header promises {math.prod(shape):,} bytes, "
            f"the file holds {len(content) - header:,}; fetch it again"
        )
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape).copy()


def _content(path: Path) -> bytes:
    if path.suffix != ".gz":
        return path.read_bytes()
    try:
        with gzip.open(path) as file:
            return file.read()
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise RunError(f"{path}: truncated or damaged ({error}); fetch it again") from error
