"""ONNX files on the disk: one file, or a model and a data file that always belong together."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING

from resnetc.atomic import replacing, start_writeback
from resnetc.backends.onnx.model import Skeleton
from resnetc.backends.onnx.stream import (
    INLINE_BELOW,
    StreamedModel,
    evaluated,
    page_from,
)
from resnetc.backends.onnx.wire import metadata_bytes

if TYPE_CHECKING:
    from resnetc.backends.onnx.stream import Piece, Weights

Late = Callable[[], Mapping[str, str]]
"""Facts for the metadata that are known once all arrays have been read."""
BEGIN_AT = 2 << 20
"""Bytes that are worth to let the disk begin with."""
_PIECES = 1000
"""Pieces that are written in one call; POSIX demands no more than 16, Linux takes 1,024."""


def model_in_memory(model: StreamedModel, weights: Weights) -> bytes:
    """The bytes of a file that holds everything."""
    buffer = io.BytesIO()
    for pieces in model.pieces(evaluated(model.stretches, weights)):
        buffer.writelines(pieces)
    return buffer.getvalue()


def write_inline(path: Path, model: StreamedModel, weights: Weights, late: Late) -> None:
    """Write one file that holds everything, and what is known once all arrays are read."""
    with replacing(path) as file:
        _write(file, model.pieces(evaluated(model.stretches, weights)))
        file.write(metadata_bytes(late()))


def write_external(path: Path, skeleton: Skeleton, weights: Weights, late: Late) -> Path:
    """Write the model and its data file `<name>.data`; returns the data file's path.

    Two files cannot be renamed in one step, and a model beside another's weights is silently
    wrong. So new data never takes the old data's name while a model refers to it: it gets a name
    of its own, the model is replaced by one that refers to that, and only then does the data
    take the plain name. Wherever this stops, the model that is there has its own weights.
    """
    plain = path.with_name(f"{path.name}.data")
    data = _unused_data_file(path) if plain.exists() else plain
    small = _write_data(data, skeleton, weights)
    try:
        _write_model(path, skeleton, data.name, small, late)
    except BaseException:
        if not (path.exists() and data.name.encode() in path.read_bytes()):
            data.unlink()
        raise
    if data != plain:
        if _give_name(data, plain):
            _write_model(path, skeleton, plain.name, small, late)
            data = plain
        else:
            plain.unlink()
    for stale in _numbered_data_files(path):
        if stale != data:
            stale.unlink()
    return data


def _write_data(data: Path, skeleton: Skeleton, weights: Weights) -> list[memoryview]:
    """Write the data file, which no model refers to yet; returns the arrays that are not in it."""
    small: list[memoryview] = []

    def portions() -> Iterator[list[Piece]]:
        end = 0
        for arrays in evaluated(skeleton.initializers, weights):
            pieces: list[Piece] = []
            for array in arrays:
                if len(array) < INLINE_BELOW:
                    small.append(array)
                    continue
                start = page_from(end)
                pieces += bytes(start - end), array
                end = start + len(array)
            yield pieces

    with replacing(data) as file:
        _write(file, portions())
    return small


def _write_model(
    path: Path, skeleton: Skeleton, data: str, small: Iterable[memoryview], late: Late
) -> None:
    model = StreamedModel(skeleton, data)
    with replacing(path) as file:
        _write(file, model.pieces([small]))
        file.write(metadata_bytes(late()))


def _write(file: IO[bytes], portions: Iterable[Iterable[Piece]]) -> None:
    """Write pieces one after another, many in a call; the disk begins with each at once.

    Not in a thread beside: while one computes arrays, the other's copies into the system's memory
    took longer than both did in turn.
    """
    written = begun = 0
    for pieces in portions:
        waiting = [*pieces]
        for start in range(0, len(waiting), _PIECES):
            written += _write_together(file.fileno(), waiting[start : start + _PIECES])
        if written - begun >= BEGIN_AT:
            start_writeback(file.fileno(), begun, written - begun)
            begun = written
    file.seek(0, os.SEEK_END)


def _write_together(handle: int, pieces: Sequence[Piece]) -> int:
    """Write pieces in one call; returns their size. The system may take a part, and says how
    much."""
    size = sum(map(len, pieces))
    written = os.writev(handle, pieces)
    if written < size:
        for piece in pieces:
            left = memoryview(piece)[written:]
            written = max(written - len(piece), 0)
            while left:
                left = left[os.write(handle, left) :]
    return size


def _give_name(data: Path, plain: Path) -> bool:
    """Make `plain` a second name of the file `data`; False where the file system has no links."""
    link = data.with_suffix(".link")
    link.unlink(missing_ok=True)
    try:
        os.link(data, link)
        link.replace(plain)
    except OSError:
        return False
    finally:
        link.unlink(missing_ok=True)
    return True


def _unused_data_file(path: Path) -> Path:
    number = 1
    while (data := path.with_name(f"{path.name}.{number}.data")).exists():
        number += 1
    return data


def _numbered_data_files(path: Path) -> list[Path]:
    """Data files that an interrupted write has left, or that :func:`write_external` made."""
    candidates = path.parent.iterdir()
    prefix, suffix = f"{path.name}.", ".data"
    return [
        file
        for file in candidates
        if file.name.startswith(prefix)
        and file.name.endswith(suffix)
        and file.name.removeprefix(prefix).removesuffix(suffix).isdigit()
    ]
