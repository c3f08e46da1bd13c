"""Nothing is ever half-written."""

from __future__ import annotations

import errno
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from resnetc import atomic
from resnetc.atomic import replacing, replacing_folder, write_text, write_together
from resnetc.diagnostics import RunError


def test_a_file_appears_whole(tmp_path: Path) -> None:
    target = tmp_path / "new" / "a.txt"
    write_text(target, "text")
    assert target.read_text() == "text"
    assert [p.name for p in target.parent.iterdir()] == ["a.txt"]


def test_a_pipe_and_a_device_are_written_to_and_stay(tmp_path: Path) -> None:
    pipe, device = tmp_path / "pipe", tmp_path / "device"
    os.mkfifo(pipe)
    with ThreadPoolExecutor(1) as thread:
        read = thread.submit(pipe.read_text)
        write_text(pipe, "all of it")
        assert read.result(timeout=60) == "all of it"
    assert pipe.is_fifo()
    device.symlink_to("/dev/full")
    with pytest.raises(RunError, match="device: the disk is full"):
        write_text(device, "a byte too many")
    assert device.is_symlink()
    assert Path("/dev/full").is_char_device()
    assert sorted(tmp_path.iterdir()) == [device, pipe]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_an_interrupted_write_leaves_the_old_file(
    tmp_path: Path, error: type[BaseException]
) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(error), replacing(target) as file:
        file.write(b"half of the n")
        raise error
    assert target.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_a_full_disk_is_said_plainly_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(atomic.os, "fsync", full)
    with pytest.raises(RunError, match=r"a\.txt: the disk is full; nothing was changed"):
        write_text(target, "new")
    assert target.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.parametrize("old", [True, False])
@pytest.mark.parametrize("full_at", [1, 2])
def test_files_that_belong_together_are_changed_together(
    full_at: int, old: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [tmp_path / "net.safetensors", tmp_path / "net.py"]
    if old:
        write_together(dict.fromkeys(files, b"old"))
    calls: list[int] = []

    def full(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == full_at:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(atomic.os, "fsync", full)
    said = f"{files[full_at - 1].name}: the disk is full; nothing was changed"
    with pytest.raises(RunError, match=said):
        write_together(dict.fromkeys(files, b"new"))
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == (
        {file.name: b"old" for file in files} if old else {}
    )
    write_together(dict.fromkeys(files, b"new"))
    assert {p.read_bytes() for p in tmp_path.iterdir()} == {b"new"}
    assert {p.stat().st_mode & 0o777 for p in tmp_path.iterdir()} == {0o644}


@pytest.mark.parametrize("links", [True, False])
def test_a_rename_that_fails_brings_all_files_back(
    links: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [tmp_path / "net.safetensors", tmp_path / "new.safetensors", tmp_path / "net.py"]
    for file in (files[0], files[2]):
        file.write_bytes(b"old")
    rename = Path.replace

    def failing(self: Path, other: Path) -> Path:
        if other == files[2]:
            raise PermissionError(errno.EACCES, "no")
        return rename(self, other)

    def linkless(*_: object) -> None:
        raise OSError(errno.EPERM, "no links")

    if not links:
        monkeypatch.setattr(atomic.os, "link", linkless)
    monkeypatch.setattr(Path, "replace", failing)
    with pytest.raises(RunError, match=r"net\.py: cannot write here"):
        write_together(dict.fromkeys(files, b"new"))
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == {
        files[0].name: b"old",
        files[2].name: b"old",
    }


def test_a_folder_replaces_a_folder_whole(tmp_path: Path) -> None:
    target = tmp_path / "checkpoint"
    for content in ("one", "two"):
        with replacing_folder(target) as folder:
            (folder / f"{content}.txt").write_text(content)
    assert [p.name for p in target.iterdir()] == ["two.txt"]
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint"]


def test_an_interrupted_folder_leaves_the_old_one(tmp_path: Path) -> None:
    target = tmp_path / "checkpoint"
    with replacing_folder(target) as folder:
        (folder / "old.txt").write_text("old")
    with pytest.raises(KeyboardInterrupt), replacing_folder(target) as folder:
        (folder / "new.txt").write_text("half")
        raise KeyboardInterrupt
    assert [p.name for p in target.iterdir()] == ["old.txt"]
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint"]


def test_a_folder_that_cannot_be_renamed_into_place_brings_the_old_one_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "checkpoint"
    with replacing_folder(target) as folder:
        (folder / "old.txt").write_text("old")
    rename = Path.replace

    def failing(self: Path, other: Path) -> Path:
        if self.suffix == ".part":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return rename(self, other)

    monkeypatch.setattr(Path, "replace", failing)
    with pytest.raises(RunError, match="the disk is full"), replacing_folder(target):
        pass
    assert [p.name for p in target.iterdir()] == ["old.txt"]


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(RunError, match="cannot write here"):
        write_text(tmp_path / "file" / "a.txt", "text")
