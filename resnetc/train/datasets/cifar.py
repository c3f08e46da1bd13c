"""CIFAR-10 and CIFAR-100 (Krizhevsky 2009) from the archives their author offers.

Both versions are read, the binary and the python one, straight from the .tar.gz: members by exact
name, in a stream, nothing extracted. The python version is a pickle; the unpickler here admits
numpy arrays and plain values, and nothing else a pickle could call.
"""

from __future__ import annotations

import io
import pickle
import tarfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from resnetc.diagnostics import MissingError, RunError
from resnetc.train.datasets.records import ImageData, TensorImages, Wanted, label_tensor

_PIXELS = 3 * 32 * 32
_MEMBER_LIMIT = 1 << 28
"""No member of the archives is a fifth of this many bytes."""


@dataclass(frozen=True)
class Version:
    """One archive: its members by part and the names inside them."""

    archive: str
    train: tuple[str, ...]
    test: tuple[str, ...]
    names: str
    label_key: str
    names_key: str
    label_bytes: int

    @property
    def is_binary(self) -> bool:
        return self.archive.endswith("binary.tar.gz")

    @property
    def members(self) -> tuple[str, ...]:
        return (*self.train, *self.test, self.names)


def _cifar10(kind: str, folder: str, suffix: str, names: str) -> Version:
    train = tuple(f"{folder}/data_batch_{i}{suffix}" for i in range(1, 6))
    test = (f"{folder}/test_batch{suffix}",)
    archive = f"cifar-10-{kind}.tar.gz"
    return Version(archive, train, test, f"{folder}/{names}", "labels", "label_names", 1)


def _cifar100(kind: str, folder: str, suffix: str, names: str) -> Version:
    train, test = (f"{folder}/train{suffix}",), (f"{folder}/test{suffix}",)
    archive = f"cifar-100-{kind}.tar.gz"
    names = f"{folder}/{names}"
    return Version(archive, train, test, names, "fine_labels", "fine_label_names", 2)


VERSIONS = {
    "cifar10": (
        _cifar10("binary", "cifar-10-batches-bin", ".bin", "batches.meta.txt"),
        _cifar10("python", "cifar-10-batches-py", "", "batches.meta"),
    ),
    "cifar100": (
        _cifar100("binary", "cifar-100-binary", ".bin", "fine_label_names.txt"),
        _cifar100("python", "cifar-100-python", "", "meta"),
    ),
}
CLASSES = {"cifar10": 10, "cifar100": 100}
IMAGES = {"cifar10": (50_000, 10_000), "cifar100": (50_000, 10_000)}
"""To train on and to test."""
_USES = ("train on", "test")


def load_cifar10(path: Path | None, wanted: Wanted) -> ImageData:
    """CIFAR-10: 50,000 images of 32x32 to train on, 10,000 to test, ten classes."""
    return _load("cifar10", path)


def load_cifar100(path: Path | None, wanted: Wanted) -> ImageData:
    """CIFAR-100: 50,000 images of 32x32 to train on, 10,000 to test, by fine label."""
    return _load("cifar100", path)


def _load(name: str, path: Path | None) -> ImageData:
    archive = _archive(name, path)
    members = _read_members(archive, {m for v in VERSIONS[name] for m in v.members})
    versions = [v for v in VERSIONS[name] if any(m in members for m in v.members)]
    if not versions:
        wanted = " or ".join(v.train[0] for v in VERSIONS[name])
        raise RunError(f"{archive}: not an archive of {name}: it holds no {wanted}")
    version = versions[0]
    missing = [member for member in version.members if member not in members]
    if missing:
        raise RunError(f"{archive}: {', '.join(missing)} is missing; fetch the archive again")
    read = _read_binary if version.is_binary else _read_pickled
    parts = [
        _join([read(members[m], version, f"{archive}: {m}") for m in part])
        for part in (version.train, version.test)
    ]
    names = _class_names(members[version.names], version, f"{archive}: {version.names}")
    if len(names) != CLASSES[name] or any(int(p.labels.max()) >= len(names) for p in parts):
        raise RunError(f"{archive}: its labels are not those of {name}'s {CLASSES[name]} classes")
    where = _where(archive, parts, IMAGES[name])
    return ImageData(name, parts[0], parts[1], names, where=where)


def _where(archive: Path, parts: Sequence[TensorImages], images: tuple[int, int]) -> str:
    """The archive, and how much of the set is in it where that is not all."""
    held = tuple(map(len, parts))
    if held == images:
        return str(archive)
    counts = (
        f"{have:,} of {all_:,} to {use}"
        for have, all_, use in zip(held, images, _USES, strict=True)
    )
    return f"{archive}, a part of the set: {' and '.join(counts)}"


def _archive(name: str, path: Path | None) -> Path:
    files = [version.archive for version in VERSIONS[name]]
    folder = path or Path("data")
    found = [folder] if folder.is_file() else [folder / f for f in files if (folder / f).is_file()]
    if found:
        return found[0]
    looked = str(path) if path else " or ".join(f"data/{file}" for file in files)
    raise MissingError(
        f"{name} is not here: no {looked}",
        f"fetch https://www.cs.toronto.edu/~kriz/{files[0]} and name it: --data {name}:PATH",
    )


def _read_members(archive: Path, wanted: set[str]) -> dict[str, bytes]:
    """The wanted members' contents, read in one pass."""
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(archive, "r|*") as tar:
            for member in tar:
                if member.name not in wanted or not member.isreg():
                    continue
                if member.size > _MEMBER_LIMIT:
                    raise RunError(f"{archive}: {member.name} is implausibly large")
                stream = tar.extractfile(member)
                found[member.name] = stream.read() if stream else b""
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise RunError(f"{archive}: truncated or damaged ({error}); fetch it again") from error
    return found


def _read_binary(content: bytes, version: Version, where: str) -> TensorImages:
    """Records of one or two label bytes (the last is the fine one) and 3,072 bytes of pixels."""
    record = version.label_bytes + _PIXELS
    if not content or len(content) % record:
        raise RunError(f"{where}: {len(content):,} bytes are no whole number of images")
    rows = np.frombuffer(content, np.uint8).reshape(-1, record)
    labels = rows[:, version.label_bytes - 1].astype(np.int64)
    return _images(rows[:, version.label_bytes :], labels)


def _read_pickled(content: bytes, version: Version, where: str) -> TensorImages:
    held = unpickle_arrays(content, where)
    pixels: Any = held.get("data")
    labels = held.get(version.label_key)
    shape: tuple[int, ...] = pixels.shape if isinstance(pixels, np.ndarray) else ()
    if len(shape) != 2 or shape[1] != _PIXELS or not _are_labels(labels, shape[0]):
        raise RunError(f"{where}: not the images and labels of a CIFAR batch")
    return _images(pixels, np.asarray(labels, np.int64))


def _are_labels(labels: Any, images: int) -> bool:
    whole = isinstance(labels, list) and all(isinstance(i, int) and 0 <= i < 256 for i in labels)
    return whole and len(labels) == images > 0


def _images(pixels: np.ndarray, labels: np.ndarray) -> TensorImages:
    shaped = torch.from_numpy(pixels.reshape(-1, 3, 32, 32).copy())
    return TensorImages(shaped, label_tensor(labels))


def _join(parts: Sequence[TensorImages]) -> TensorImages:
    return TensorImages(torch.cat([p.pixels for p in parts]), torch.cat([p.labels for p in parts]))


def _class_names(content: bytes, version: Version, where: str) -> tuple[str, ...]:
    if version.is_binary:
        return tuple(content.decode("ascii", "replace").split())
    names = unpickle_arrays(content, where).get(version.names_key)
    if not isinstance(names, list) or not all(isinstance(name, bytes | str) for name in names):
        raise RunError(f"{where}: not the class names of a CIFAR archive")
    return tuple(n.decode("ascii", "replace") if isinstance(n, bytes) else n for n in names)


# ------------------------------------------------------------------------------- pickles, tamed
# What a pickle may call are the four stand-ins below: numpy's own constructors are never within
# its reach.


class _Element:
    """Stands for `numpy.dtype`: unsigned bytes are all a batch holds."""

    def __init__(self, code: object, *_: object) -> None:
        if code not in ("u1", b"u1"):
            raise pickle.UnpicklingError(f"it holds elements of type {code!r}, not bytes")

    def __setstate__(self, state: object) -> None:
        """Byte order and field names: bytes have none."""


class _Array:
    """Stands for `numpy.ndarray`."""

    def __init__(self, array: np.ndarray | None = None) -> None:
        self.array = array

    def __setstate__(self, state: Any) -> None:
        _, shape, element, fortran, raw = state
        self.array = _bytes_as_array(raw, element, shape, "F" if fortran else "C").array


def _empty_array(kind: object, *_: object) -> _Array:
    """Stands for numpy's `_reconstruct`; the state that follows fills the array in."""
    return _Array()


def _bytes_as_array(raw: Any, element: object, shape: Any, order: Any) -> _Array:
    """Stands for numpy's `_frombuffer`, which protocol 5 uses."""
    if not isinstance(element, _Element) or not isinstance(raw, bytes | bytearray):
        raise pickle.UnpicklingError("its array does not hold bytes")
    return _Array(np.frombuffer(raw, np.uint8).reshape(shape, order=order))


def _latin1(text: str, encoding: str) -> bytes:
    """Stands for `_codecs.encode`: how Python 3 writes bytes into old pickles."""
    return text.encode("latin1")


_ADMITTED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Element,
    ("numpy.core.multiarray", "_reconstruct"): _empty_array,
    ("numpy._core.multiarray", "_reconstruct"): _empty_array,
    ("numpy._core.numeric", "_frombuffer"): _bytes_as_array,
    ("numpy.core.numeric", "_frombuffer"): _bytes_as_array,
    ("_codecs", "encode"): _latin1,
}


class _ArraysOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _ADMITTED:
            return _ADMITTED[module, name]
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no CIFAR batch needs")


def unpickle_arrays(content: bytes, where: str) -> dict[str, Any]:
    """A pickled mapping of plain values and arrays of bytes, its keys as text.

    Raises RunError, naming `where`, for anything else and for what is damaged.
    """
    try:
        held = _ArraysOnly(io.BytesIO(content), encoding="bytes").load()
        if not isinstance(held, dict):
            raise pickle.UnpicklingError("it holds no mapping")
        plain = {k.decode() if isinstance(k, bytes) else str(k): v for k, v in held.items()}
        return {k: v.array if isinstance(v, _Array) else v for k, v in plain.items()}
    except Exception as error:  # a damaged pickle may raise anything
        raise RunError(f"{where}: cannot be unpickled: {error or type(error).__name__}") from error
