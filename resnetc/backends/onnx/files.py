"""ONNX files on the disk: one file, or a model and a data file that always belong together."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from resnetc.atomic import replacing
from resnetc.backends.onnx.model import Skeleton
from resnetc.backends.onnx.wire import Place, WireModel, metadata_bytes, write_array

if TYPE_CHECKING:
    import numpy as np

    Weights = Mapping[str, np.ndarray]

Late = Callable[[], Mapping[str, str]]
"""Facts for the metadata that are known once all arrays have been read."""
INLINE_BELOW = 1024
"""Bytes. Smaller arrays stay in the model's file: shape inference reads axes and pads there."""
ALIGNMENT = 4096
"""The page size, so that a runtime can map each array (onnx.proto, `external_data`)."""


def write_inline(path: Path, model: WireModel, weights: Weights, late: Late) -> None:
    """Write one file that holds everything, and what is known once all arrays are read."""
    with replacing(path) as file:
        model.write(file, weights)
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
    _write_pair(path, data, skeleton, weights, late)
    if data != plain:
        if _give_name(data, plain):
            _write_model(path, skeleton, weights, place_arrays(skeleton, plain.name), late)
            data = plain
        else:
            plain.unlink()
    for stale in _numbered_data_files(path):
        if stale != data:
            stale.unlink()
    return data


def place_arrays(skeleton: Skeleton, file: str) -> dict[str, Place]:
    """Where each array of at least 1 KiB lies in the data file, each at the start of a page."""
    places: dict[str, Place] = {}
    end = 0
    for each in skeleton.initializers:
        if each.bytes >= INLINE_BELOW:
            offset = -(-end // ALIGNMENT) * ALIGNMENT
            places[each.parameter.path] = Place(file, offset, each.bytes)
            end = offset + each.bytes
    return places


def _write_pair(path: Path, data: Path, skeleton: Skeleton, weights: Weights, late: Late) -> None:
    """Write a data file that nothing refers to yet, then the model that does."""
    places = place_arrays(skeleton, data.name)
    with replacing(data) as file:
        for each in skeleton.initializers:
            if (place := places.get(each.parameter.path)) is not None:
                file.seek(place.offset)
                write_array(file, each, weights)
    try:
        _write_model(path, skeleton, weights, places, late)
    except BaseException:
        if not (path.exists() and data.name.encode() in path.read_bytes()):
            data.unlink()
        raise


def _write_model(
    path: Path, skeleton: Skeleton, weights: Weights, places: Mapping[str, Place], late: Late
) -> None:
    with replacing(path) as file:
        WireModel(skeleton, places).write(file, weights)
        file.write(metadata_bytes(late()))


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
