"""Where a packed data set grows until it is whole, and goes on growing after a kill.

It is a folder beside the one it will become. Every image in it is written whole; a journal has a
line for each, with what it was made of, so that going on repeats nothing and keeps nothing stale.
"""

from __future__ import annotations

import errno
import fcntl
import json
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from resnetc.atomic import settle, write_text
from resnetc.diagnostics import RunError, UsageError

_PLAN = "plan.json"
_JOURNAL = "journal.jsonl"
_PATIENCE = 10.0
"""Seconds. The workers of a pack that was killed hold the lock for five, until they notice."""


@dataclass(frozen=True)
class Entry:
    """An image that is packed: `name` in the source, `packed` in the result, both relative.

    `time` is when the source was last changed, in nanoseconds; the hashes are SHA-256 of both
    files.
    """

    name: str
    packed: str
    resized: bool
    time: int
    source_bytes: int
    source_hash: str
    bytes: int
    hash: str


class Staging:
    """An unfinished pack. `folder` holds its images."""

    def __init__(self, root: Path, journal: IO[str]) -> None:
        self.folder = root / "images"
        self._root, self._journal = root, journal

    def done(self, source: Path) -> dict[str, Entry]:
        """What is packed already, by name, of sources that have not changed since."""
        return {e.name: e for e in self._entries() if self._stands(e, source)}

    def record(self, entry: Entry) -> None:
        """Note an image that lies in `folder` now."""
        self._journal.write(json.dumps(asdict(entry)) + "\n")
        self._journal.flush()

    def finish(self, entries: Iterable[Entry], path: Path) -> None:
        """Have the folder, with these images and whatever stands at its top, take its place."""
        expected = {self.folder / entry.packed for entry in entries}
        for file in self.folder.glob("*/**/*"):
            if file.is_file() and file not in expected:
                file.unlink()
        settle(self.folder, path)
        shutil.rmtree(self._root, ignore_errors=True)

    def _entries(self) -> Iterator[Entry]:
        self._journal.seek(0)
        for line in self._journal:
            try:
                yield Entry(**json.loads(line))
            except (ValueError, TypeError):
                continue  # the line at which a kill cut the journal

    def _stands(self, entry: Entry, source: Path) -> bool:
        try:
            before, after = (source / entry.name).stat(), (self.folder / entry.packed).stat()
        except OSError:
            return False
        same = (before.st_mtime_ns, before.st_size) == (entry.time, entry.source_bytes)
        return same and after.st_size == entry.bytes


@contextmanager
def staging(path: Path, plan: dict[str, Any]) -> Iterator[Staging]:
    """The unfinished pack that will become `path`, new or as it was left, for this process alone.

    Raises UsageError where one of another plan was left, RunError where another process packs.
    """
    root = path.with_name(f".{path.name}.packing")
    root.mkdir(parents=True, exist_ok=True)
    with (root / _JOURNAL).open("a+", encoding="utf-8") as journal:
        _lock(journal, path)
        _agree(root, path, plan)
        (root / "images").mkdir(exist_ok=True)
        yield Staging(root, journal)


def _lock(journal: IO[str], path: Path) -> None:
    until = time.monotonic() + _PATIENCE
    while True:
        try:
            return fcntl.flock(journal, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                raise
            if time.monotonic() > until:
                raise RunError(f"{path}: another process is packing it") from error
            time.sleep(0.1)


def _agree(root: Path, path: Path, plan: dict[str, Any]) -> None:
    """Hold the plan against the one that was left, or leave it."""
    file = root / _PLAN
    if not file.exists():
        write_text(file, json.dumps(plan))
        return
    left = json.loads(file.read_text(encoding="utf-8"))
    for key, value in plan.items():
        if left.get(key) != value:
            raise UsageError(
                f"{path}: {root} was left by a pack with {key} {left.get(key)}, not {value}: go on "
                "with that, or remove the folder"
            )
