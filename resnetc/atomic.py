"""Everything on disk is written beside its place and renamed: nothing is half-written."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import IO

from resnetc.diagnostics import RunError

FULL = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "files may not become so large here",
}
"""Errors that say that there is no room, in words."""
_REFUSALS = (
    *(errno.EACCES, errno.EPERM, errno.EROFS),
    *(errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG),
)
"""Errors that say something about the place, not about us; EEXIST: a file where a folder goes."""


@contextlib.contextmanager
def replacing(path: Path, *, durable: bool = True) -> Iterator[IO[bytes]]:
    """A binary file that takes the place of `path` when the block ends without an error.

    Until then, and after any error or interrupt, what stood at `path` is untouched. The folder is
    made when it is missing. Without `durable` that holds for a process that dies, and not for a
    machine: for one of very many files that are sent to the disk together, by `settle`. A device
    or a pipe is written to as it is. Raises RunError in plain words when the disk refuses.
    """
    if _is_stream(path):
        with _plainly(path), path.open("wb") as file:
            yield file
        return
    with _plainly(path), _beside(path) as beside:
        with beside.open("wb") as file:
            yield file
            file.flush()
            if durable:
                os.fsync(file.fileno())
        beside.replace(path)


def _is_stream(path: Path) -> bool:
    """Whether this is neither file nor folder: what is renamed over a device takes it from all."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def write_together(contents: Mapping[Path, bytes]) -> None:
    """Write files that belong together: all of them, or none is changed.

    Each is whole on the disk before the first is renamed; they are renamed in this order, and what
    stood there comes back should a rename fail. Raises RunError in plain words when the disk
    refuses.
    """
    with contextlib.ExitStack() as stack:
        parts = {}
        for path, content in contents.items():
            with _plainly(path):
                parts[path] = stack.enter_context(_beside(path))
                with parts[path].open("wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
        _rename_all(parts)


@contextlib.contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """An empty file beside `path`, which is gone when the block ends unless it was renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    beside = Path(name)
    try:
        os.close(handle)
        beside.chmod(0o644)
        yield beside
    finally:
        beside.unlink(missing_ok=True)


def _rename_all(parts: Mapping[Path, Path]) -> None:
    """Rename files into their places, or none of them."""
    with contextlib.ExitStack() as stack:
        kept = {path: stack.enter_context(_beside(path)) for path in parts if path.exists()}
        for path, old in kept.items():
            with _plainly(path):
                _keep(path, old)
        renamed: list[Path] = []
        try:
            for path, part in parts.items():
                with _plainly(path):
                    part.replace(path)
                renamed.append(path)
        except BaseException:
            for path in renamed:
                kept[path].replace(path) if path in kept else path.unlink()
            raise


def _keep(path: Path, old: Path) -> None:
    """Make `old` a second name of a file, or a copy where the file system has no links."""
    old.unlink()
    try:
        os.link(path, old)
    except OSError:
        shutil.copy2(path, old)


def start_writeback(handle: int, offset: int, length: int) -> None:
    """Let the disk begin with a part of a file that is still being written, and do not wait.

    The disk would have nothing to do until the end otherwise. Errors are told by the sync that
    follows; where a system has no such call nothing happens.
    """
    if (call := _sync_file_range()) is not None:
        call(handle, offset, length, _SYNC_FILE_RANGE_WRITE)


_SYNC_FILE_RANGE_WRITE = 2


@cache
def _sync_file_range() -> Callable[[int, int, int, int], object] | None:
    """The C library's function, which Python's `os` does not have."""
    try:
        found = ctypes.CDLL(None).sync_file_range
    except (OSError, AttributeError, TypeError):
        return None
    found.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
    return found


@contextlib.contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """A new folder that takes the place of `path`, whole, when the block ends without an error.

    A folder that stood there is moved aside before the rename and removed after it.
    """
    with _plainly(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part"))
        try:
            yield beside
            for file in beside.rglob("*"):
                if file.is_file():
                    _sync(file)
            _sync(beside)
            beside.chmod(0o755)
            _swap(beside, path)
            _sync(path.parent)
        finally:
            shutil.rmtree(beside, ignore_errors=True)


def settle(beside: Path, path: Path) -> None:
    """Rename a folder that is whole, `beside` its place, to `path`, once all of it is on the disk.

    Nothing may stand at `path`. Raises RunError in plain words when the disk refuses.
    """
    with _plainly(path):
        os.sync()  # one call for any number of files
        beside.rename(path)
        _sync(path.parent)


def _swap(beside: Path, path: Path) -> None:
    """Rename a folder into place; one that stands there comes back if that fails."""
    old = path.with_name(f".{path.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if path.exists():
        path.replace(old)
    try:
        beside.replace(path)
    except OSError:
        if old.exists():
            old.replace(path)
        raise
    shutil.rmtree(old, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text, whole or not at all."""
    with replacing(path) as file:
        file.write(text.encode())


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def _plainly(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise RunError(f"{path}: {FULL[error.errno]}; nothing was changed") from error
        if error.errno in _REFUSALS:
            raise RunError(f"{path}: cannot write here: {error.strerror}") from error
        raise
