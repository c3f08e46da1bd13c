"""Class folders packed once, so that a run does not decode more pixels than it will use.

An image whose shorter side is too long is resized, bilinear and antialiased, and becomes a JPEG;
any other is kept byte for byte. The result is class folders again: opening and reading a file is a
hundredth of what decoding it takes, so files that hold many images would win nothing.
"""

from __future__ import annotations

import hashlib
import io
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import torch
import torchvision
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as images_of

from resnetc.atomic import replacing
from resnetc.diagnostics import ResnetcError, RunError, UsageError
from resnetc.train.datasets.decoding import decode
from resnetc.train.datasets.folders import read_folders
from resnetc.train.datasets.packed import Corrupt, Manifest, PackSettings, read_manifest
from resnetc.train.datasets.records import FileImages, ImageData
from resnetc.train.datasets.staging import Entry, Staging, staging
from resnetc.train.feed import leave_signals_to_the_parent
from resnetc.train.plainly import said_plainly
from resnetc.version import __version__

_NAMED = 20
"""Corrupt images that an error names."""
_CHUNK = 8
"""Images that a worker packs between two reports."""


@dataclass(frozen=True)
class Progress:
    """How far a pack is: `done` of `total` images, of which `before` were from an earlier start;
    `corrupt` is the image that has just been found to be."""

    done: int
    total: int
    before: int
    seconds: float
    corrupt: Corrupt | None = None


Say = Callable[[Progress], object]


def pack(
    source: Path,
    to: Path,
    settings: PackSettings,
    *,
    workers: int = 0,
    skip_corrupt: bool = False,
    say: Say = lambda progress: None,
) -> Manifest:
    """Pack the class folders of `source` (train/CLASS/IMAGE, val/CLASS/IMAGE) into a folder `to`.

    It is there when it is whole, and not before. A pack that was stopped, at any moment, goes on
    when it is started again; one that is whole with these settings is left alone. Every image is
    decoded; where some cannot be, they are left out with `skip_corrupt`, and without it nothing is
    finished: RunError, which names them. Raises MissingError where there is no such folder.
    """
    whole = _already(to, settings)
    if whole is not None:
        return whole
    data = read_folders("folder", source)
    _refuse_overlap(source, to)
    names = _names(source, data)
    with staging(to, {"source": str(source.resolve()), **asdict(settings)}) as stage:
        work = _Work(source, stage.folder, settings, names)
        done, corrupt = _pack_all(work, stage, workers, say)
        if corrupt and not skip_corrupt:
            raise RunError(_complaint(corrupt))
        entries = [done[name] for name in names if name in done]
        manifest = _manifest(work, data, entries, corrupt)
        for part in (names[0], names[-1]):  # of the training images, and of the others
            if _part(part) not in manifest.images:
                raise RunError(f"{source / _part(part)}: no image in it can be read")
        for name in data.classes:  # one that is left without images is a class all the same
            (stage.folder / "train" / name).mkdir(parents=True, exist_ok=True)
        manifest.write(stage.folder)
        stage.finish(entries, to)
    return manifest


def _already(to: Path, settings: PackSettings) -> Manifest | None:
    """The pack that stands in the place, if it is the one that is asked for."""
    if not to.exists():
        return None
    found = read_manifest(to) if to.is_dir() else None
    if found is None:
        raise UsageError(f"{to} is there already, and no packed data set; name another folder")
    if found.settings != settings:
        raise UsageError(
            f"{to} is packed already, to a shorter side of {found.settings.short_side} and quality "
            f"{found.settings.quality}; name another folder"
        )
    return found


def _refuse_overlap(source: Path, to: Path) -> None:
    inner, outer = to.resolve(), source.resolve()
    if inner == outer or outer in inner.parents or inner in outer.parents:
        raise UsageError(f"{to} and {source} lie in each other; pack to a folder of its own")


def _names(source: Path, data: ImageData) -> tuple[str, ...]:
    """All images by their path in the source, those to train on first."""
    paths = [
        path
        for part in (data.train, data.test)
        if isinstance(part, FileImages)
        for path in part.paths
    ]
    names = tuple(path.relative_to(source).as_posix() for path in paths)
    known = set(names)
    for name in names:
        if not _is_jpeg(name) and _as_jpeg(name) in known:
            raise RunError(f"{source}: {name}, once packed, would be {_as_jpeg(name)}; rename one")
    return names


def _part(name: str) -> str:
    """ "train", or what the others' folder is called."""
    return name.partition("/")[0]


def _is_jpeg(name: str) -> bool:
    return name.lower().endswith((".jpg", ".jpeg"))


def _as_jpeg(name: str) -> str:
    return name if _is_jpeg(name) else f"{name}.jpg"


# ------------------------------------------------------------------------------------- one image


class _Work(Dataset[Any]):
    """Packs the n-th image when it is asked for it; in a worker process where there are any. What
    goes wrong is handed over as a value: torch would wrap what a worker raises in a traceback."""

    def __init__(
        self, source: Path, into: Path, settings: PackSettings, names: tuple[str, ...]
    ) -> None:
        self.source, self.into, self.settings, self.names = source, into, settings, names

    def __getitem__(self, index: int) -> Entry | Corrupt | ResnetcError:
        try:
            return self._packed(self.names[index])
        except ResnetcError as error:
            return error
        except OSError as error:
            return RunError(f"{self.source / self.names[index]}: {error.strerror or error}")

    def _packed(self, name: str) -> Entry | Corrupt:
        path = self.source / name
        time_ns = path.stat().st_mtime_ns
        before = np.fromfile(path, dtype=np.uint8)
        try:
            pixels = decode(before)
        except Exception as error:  # Pillow's readers may raise anything for a damaged file
            return Corrupt(name, " ".join(str(error).split()))
        resized = min(pixels.shape[-2:]) > self.settings.short_side
        after = memoryview(smaller(pixels, self.settings)) if resized else before.data
        packed = _as_jpeg(name) if resized else name
        with replacing(self.into / packed, durable=False) as file:
            file.write(after)
        return Entry(
            name,
            packed,
            resized,
            time_ns,
            source_bytes=before.nbytes,
            source_hash=hashlib.sha256(before.data).hexdigest(),
            bytes=after.nbytes,
            hash=hashlib.sha256(after).hexdigest(),
        )


def smaller(pixels: Tensor, settings: PackSettings) -> bytes:
    """An image, uint8 [3, H, W], as a JPEG with the shorter side that is asked for."""
    bilinear = v2.InterpolationMode.BILINEAR
    resized = images_of.resize(
        pixels, [settings.short_side], interpolation=bilinear, antialias=True
    )
    held = io.BytesIO()
    image = Image.fromarray(resized.permute(1, 2, 0).contiguous().numpy())
    image.save(held, "JPEG", quality=settings.quality)
    return held.getvalue()


# ------------------------------------------------------------------------------------ all images


def _pack_all(
    work: _Work, stage: Staging, workers: int, say: Say
) -> tuple[dict[str, Entry], list[Corrupt]]:
    """What is packed, by name, and what is corrupt."""
    done = stage.done(work.source)
    todo = [index for index, name in enumerate(work.names) if name not in done]
    done = {name: done[name] for name in work.names if name in done}
    corrupt: list[Corrupt] = []
    before, began = len(done), time.monotonic()
    for result in _results(work, todo, workers):
        found = None
        if isinstance(result, Entry):
            stage.record(result)
            done[result.name] = result
        elif isinstance(result, Corrupt):
            corrupt.append(found := result)
        else:
            raise result
        seen = len(done) + len(corrupt)
        say(Progress(seen, len(work.names), before, time.monotonic() - began, found))
    return done, corrupt


def _results(
    work: _Work, todo: Sequence[int], workers: int
) -> Iterator[Entry | Corrupt | ResnetcError]:
    loader: DataLoader[Any] = DataLoader(
        work,
        sampler=todo,
        batch_size=_CHUNK,
        collate_fn=list,
        num_workers=workers,
        worker_init_fn=leave_signals_to_the_parent,
    )
    with said_plainly():
        for results in loader:
            yield from results


def _complaint(corrupt: Sequence[Corrupt]) -> str:
    named = [str(each) for each in corrupt[:_NAMED]]
    if len(corrupt) > _NAMED:
        named.append(f"and {len(corrupt) - _NAMED} more")
    count = "1 image" if len(corrupt) == 1 else f"{len(corrupt)} images"
    return "\n".join(
        [
            f"{count} cannot be read:",
            *(f"  {line}" for line in named),
            "the others are packed; mend or remove these, or leave them out with --skip-corrupt, "
            "and start again: it goes on from here",
        ]
    )


def _manifest(
    work: _Work, data: ImageData, entries: Sequence[Entry], corrupt: Sequence[Corrupt]
) -> Manifest:
    before, after = hashlib.sha256(), hashlib.sha256()
    images: dict[str, int] = {}
    for entry in entries:
        before.update(f"{entry.name}\0{entry.source_hash}\n".encode())
        after.update(f"{entry.packed}\0{entry.hash}\n".encode())
        part = _part(entry.name)
        images[part] = images.get(part, 0) + 1
    resized = sum(entry.resized for entry in entries)
    return Manifest(
        source=str(work.source.resolve()),
        settings=work.settings,
        images=images,
        classes=len(data.classes),
        kept=len(entries) - resized,
        resized=resized,
        source_bytes=sum(entry.source_bytes for entry in entries),
        bytes=sum(entry.bytes for entry in entries),
        source_hash=before.hexdigest(),
        hash=after.hexdigest(),
        skipped=tuple(corrupt),
        versions=_versions(),
    )


def _versions() -> dict[str, str]:
    return {
        "resnetc": __version__,
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "pillow": PIL.__version__,
    }
