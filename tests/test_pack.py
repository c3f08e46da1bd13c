"""`resnetc data pack`: class folders packed once, however often it is stopped."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.v2 import functional as images_of

from resnetc.cli.main import run
from resnetc.diagnostics import RunError, UsageError
from resnetc.train.datasets import packing
from resnetc.train.datasets import staging as staging_module
from resnetc.train.datasets.folders import read_folders
from resnetc.train.datasets.packed import MANIFEST, PackSettings
from resnetc.train.datasets.packing import Progress, pack, smaller

SMALL = PackSettings(short_side=16, quality=95)
LARGE_JPEG, LARGE_PNG, SMALL_PNG = "train/cat/b.jpg", "train/cat/a.png", "train/ant/c.png"
TEST_JPEG = "val/cat/d.JPEG"


def _photograph(path: Path, height: int, width: int, seed: int = 0) -> None:
    small = np.random.default_rng(seed).integers(0, 256, (3, 4, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC).save(path)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Four images, of which one is small enough, and a class without images."""
    root = tmp_path / "raw"
    _photograph(root / LARGE_JPEG, 40, 60, seed=1)
    _photograph(root / LARGE_PNG, 50, 30, seed=2)
    _photograph(root / SMALL_PNG, 16, 20, seed=3)
    _photograph(root / TEST_JPEG, 33, 33, seed=4)
    (root / "train" / "empty").mkdir()
    return root


def _tree(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


class _Counter:
    """Counts the images that are really read."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        self._decode = packing.decode
        monkeypatch.setattr(packing, "decode", self)

    def __call__(self, data: np.ndarray) -> torch.Tensor:
        self.count += 1
        return self._decode(data)


def test_a_packed_set_is_the_set_with_smaller_images(source: Path, tmp_path: Path) -> None:
    to = tmp_path / "packed"
    manifest = pack(source, to, SMALL)
    before, after = read_folders("folder", source), read_folders("folder", to)
    assert after.classes == before.classes == ("ant", "cat", "empty")
    assert after.train.labels.tolist() == before.train.labels.tolist() == [0, 1, 1]
    assert (to / SMALL_PNG).read_bytes() == (source / SMALL_PNG).read_bytes()
    assert [p.name for p in after.train.paths] == ["c.png", "a.png.jpg", "b.jpg"]
    shapes = [tuple(after.train.image(i).shape) for i in range(3)]
    assert shapes == [(3, 16, 20), (3, 26, 16), (3, 16, 24)]
    assert after.test.image(0).shape == (3, 16, 16)
    assert manifest.images == {"train": 3, "val": 1}
    assert (manifest.kept, manifest.resized, manifest.skipped) == (1, 3, ())
    assert manifest.bytes == sum(map(len, _tree(to).values())) - (to / MANIFEST).stat().st_size
    assert "shorter side of 16" in after.where
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_an_image_is_resized_as_torchvision_does_and_kept_by_a_good_jpeg(source: Path) -> None:
    pixels = read_folders("folder", source).train.image(2)
    wanted = images_of.resize(pixels, [16], antialias=True)
    found = packing.decode(np.frombuffer(bytearray(smaller(pixels, SMALL)), dtype=np.uint8))
    assert (found.int() - wanted.int()).abs().float().mean() < 6
    worse = packing.decode(
        np.frombuffer(bytearray(smaller(pixels, PackSettings(16, 5))), dtype=np.uint8)
    )
    assert (worse.int() - wanted.int()).abs().float().mean() > 6


@pytest.mark.parametrize("stop_after", [1, 2, 3])
def test_a_stopped_pack_goes_on_and_ends_the_same(
    source: Path, tmp_path: Path, stop_after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    pack(source, tmp_path / "whole", SMALL)
    monkeypatch.setattr(packing, "_CHUNK", 1)

    def stop(now: Progress) -> None:
        if now.done == stop_after:
            raise KeyboardInterrupt

    to = tmp_path / "packed"
    with pytest.raises(KeyboardInterrupt):
        pack(source, to, SMALL, say=stop)
    assert not to.exists()
    counter = _Counter(monkeypatch)
    told: list[Progress] = []
    pack(source, to, SMALL, say=told.append)
    assert _tree(to) == _tree(tmp_path / "whole")
    assert counter.count == 4 - stop_after
    assert {now.before for now in told} == {stop_after}


@pytest.mark.slow
def test_a_pack_that_is_killed_again_and_again_ends_the_same(tmp_path: Path) -> None:
    source, to = tmp_path / "raw", tmp_path / "packed"
    for number in range(60):
        _photograph(source / f"train/cat/{number}.jpg", 300, 400, seed=number)
    _photograph(source / TEST_JPEG, 33, 33)
    asked = ["data", "pack", str(source), "--to", str(to), "--short-side", "200", "--workers", "2"]
    journal = tmp_path / ".packed.packing" / "journal.jsonl"
    for lines in (1, 20, 45):
        process = subprocess.Popen([sys.executable, "-m", "resnetc", *asked, "--quiet"])
        while process.poll() is None:
            if journal.exists() and journal.read_bytes().count(b"\n") >= lines:
                process.kill()
                break
            time.sleep(0.005)
        assert process.wait() == -signal.SIGKILL
        assert not to.exists()
    pack(source, to, PackSettings(200), workers=2)
    pack(source, tmp_path / "whole", PackSettings(200))
    assert _tree(to) == _tree(tmp_path / "whole")


def test_what_a_kill_tore_or_the_user_changed_is_packed_anew(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    to, left = tmp_path / "packed", tmp_path / ".packed.packing"

    def stop(now: Progress) -> None:
        if now.done == now.total:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pack(source, to, SMALL, say=stop)
    journal = left / "journal.jsonl"
    lines = journal.read_text().splitlines()
    journal.write_text("\n".join(lines[:-1]) + "\n" + lines[-1][:20])  # the test image's
    (left / "images" / SMALL_PNG).write_bytes(b"cut")
    (left / "images" / "train" / "cat" / ".b.jpg.x.part").write_bytes(b"a stranger")
    _photograph(source / LARGE_PNG, 44, 44, seed=9)
    counter = _Counter(monkeypatch)
    pack(source, to, SMALL)
    assert counter.count == 3
    pack(source, tmp_path / "anew", SMALL)
    assert _tree(to) == _tree(tmp_path / "anew")


def test_workers_pack_the_same(source: Path, tmp_path: Path) -> None:
    pack(source, tmp_path / "alone", SMALL)
    pack(source, tmp_path / "two", SMALL, workers=2)
    assert _tree(tmp_path / "two") == _tree(tmp_path / "alone")


def test_corrupt_images_are_named_and_nothing_is_left_out_unasked(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, content in (("x.jpg", b"\xff\xd8\xff\xe0 cut"), ("y.png", b"")):
        (source / "train" / "cat" / name).write_bytes(content)
    to = tmp_path / "packed"
    asked = ["data", "pack", str(source), "--to", str(to), "--short-side", "16", "--workers", "0"]
    assert run(asked) == 1
    said = capsys.readouterr().err
    assert "2 images cannot be read:" in said
    assert "train/cat/x.jpg: " in said
    assert "train/cat/y.png: " in said
    assert "Traceback" not in said
    assert not to.exists()
    assert run([*asked, "--skip-corrupt", "--json"]) == 0
    told = capsys.readouterr()
    manifest = json.loads(told.out)
    assert [each["image"] for each in manifest["skipped"]] == ["train/cat/x.jpg", "train/cat/y.png"]
    assert "6 of 6 images" in told.err
    assert "6 of 6 images looked at, 2 of them corrupt" in told.err
    assert "4 from before" in told.err
    assert len(read_folders("folder", to).train) == 3


def test_a_corrupt_image_that_was_mended_is_taken(source: Path, tmp_path: Path) -> None:
    (source / LARGE_JPEG).write_bytes(b"no image")
    with pytest.raises(RunError, match="1 image cannot be read"):
        pack(source, tmp_path / "packed", SMALL)
    _photograph(source / LARGE_JPEG, 40, 60)
    assert pack(source, tmp_path / "packed", SMALL).images["train"] == 3


def test_a_part_without_an_image_that_can_be_read_is_no_set(source: Path, tmp_path: Path) -> None:
    (source / TEST_JPEG).write_bytes(b"no image")
    with pytest.raises(RunError, match="val: no image in it can be read"):
        pack(source, tmp_path / "packed", SMALL, skip_corrupt=True)


def test_a_full_disk_stops_a_pack_that_goes_on_later(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise RunError("the disk is full")

    to = tmp_path / "packed"
    with monkeypatch.context() as patched:
        patched.setattr(packing, "replacing", full)
        with pytest.raises(RunError, match="the disk is full"):
            pack(source, to, SMALL)
    assert not to.exists()
    assert pack(source, to, SMALL).images == {"train": 3, "val": 1}


def test_a_file_that_may_not_be_read_is_not_taken_for_a_corrupt_image(
    source: Path, tmp_path: Path
) -> None:
    (source / LARGE_JPEG).unlink()
    (source / LARGE_JPEG).symlink_to(tmp_path / "nothing")
    with pytest.raises(RunError, match=r"b\.jpg: No such file"):
        pack(source, tmp_path / "packed", SMALL, skip_corrupt=True)


def test_a_whole_pack_is_left_alone_and_another_is_not_written_over(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    to = tmp_path / "packed"
    first = pack(source, to, SMALL)
    counter = _Counter(monkeypatch)
    assert pack(source, to, SMALL) == first
    assert counter.count == 0
    with pytest.raises(UsageError, match="packed already, to a shorter side of 16 and quality 95"):
        pack(source, to, PackSettings(16, 90))
    (tmp_path / "other").mkdir()
    with pytest.raises(UsageError, match="is there already, and no packed data set"):
        pack(source, tmp_path / "other", SMALL)


def test_an_unfinished_pack_with_other_settings_is_not_mixed_in(
    source: Path, tmp_path: Path
) -> None:
    (source / LARGE_JPEG).write_bytes(b"no image")
    with pytest.raises(RunError):
        pack(source, tmp_path / "packed", SMALL)
    with pytest.raises(UsageError, match="left by a pack with quality 95, not 50"):
        pack(source, tmp_path / "packed", PackSettings(16, 50))


def test_two_processes_do_not_pack_the_same(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(staging_module, "_PATIENCE", 0.0)
    plan = {"source": str(source.resolve()), "short_side": 16, "quality": 95}
    with (
        staging_module.staging(tmp_path / "packed", plan),
        pytest.raises(RunError, match="another process is packing it"),
    ):
        pack(source, tmp_path / "packed", SMALL)


@pytest.mark.parametrize("where", ["", "inside", ".."])
def test_a_pack_does_not_lie_in_its_source(source: Path, where: str) -> None:
    with pytest.raises(UsageError, match=r"lie in each other|is there already"):
        pack(source, source / where, SMALL)


def test_two_images_that_would_become_one_are_refused(source: Path, tmp_path: Path) -> None:
    _photograph(source / f"{LARGE_PNG}.jpg", 20, 20)
    with pytest.raises(RunError, match=r"would be train/cat/a\.png\.jpg; rename one"):
        pack(source, tmp_path / "packed", SMALL)


def test_a_packed_set_is_another_set_to_a_run(source: Path, tmp_path: Path) -> None:
    (source / LARGE_PNG).unlink()  # its name would change
    pack(source, tmp_path / "one", SMALL)
    pack(source, tmp_path / "two", PackSettings(16, 50))
    sets = [read_folders("folder", path) for path in (source, tmp_path / "one", tmp_path / "two")]
    assert len({data.fingerprint for data in sets}) == 3
    part = sets[1].train.part(torch.arange(2))
    assert part.fingerprint == sets[1].train.fingerprint


def test_a_packed_set_that_was_changed_says_so(source: Path, tmp_path: Path) -> None:
    to = tmp_path / "packed"
    pack(source, to, SMALL)
    (to / LARGE_JPEG).unlink()
    with pytest.raises(RunError, match=r"holds 3 images, and pack\.json says 4"):
        read_folders("folder", to)
    (to / MANIFEST).write_text("{}")
    with pytest.raises(RunError, match="not the manifest of a packed data set"):
        read_folders("folder", to)
    (to / MANIFEST).write_text('{"format": 2}')
    with pytest.raises(RunError, match="of format 2, and known here is 1"):
        read_folders("folder", to)


@pytest.mark.parametrize(("side", "quality"), [(0, 90), (10, 0), (10, 101)])
def test_settings_that_make_no_sense_are_refused(side: int, quality: int) -> None:
    with pytest.raises(UsageError):
        PackSettings(side, quality)


def test_a_folder_that_is_not_there_is_missing(tmp_path: Path) -> None:
    assert run(["data", "pack", str(tmp_path / "no"), "--to", str(tmp_path / "packed")]) == 4
    assert list(tmp_path.iterdir()) == []


# ----------------------------------------------------------------------------------------- info


def test_info_says_what_folders_are(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pack(source, tmp_path / "packed", SMALL)
    assert run(["data", "info", f"folder:{tmp_path / 'packed'}", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["images"] == {"train": 3, "test": 1}
    assert found["images_of_a_class"] == {"fewest": 0, "most": 2}
    assert found["shorter_side"] == {"least": 16, "median": 16, "most": 16}
    assert found["formats"] == {"JPEG": 2, "PNG": 1}
    assert found["packed"] == {"short_side": 16, "quality": 95, "from": str(source)}
    assert run(["data", "info", f"folder:{source}"]) == 0
    told = capsys.readouterr().out
    assert "shorter side       least 16, median 30, most 40" in told
    assert "packed" not in told


def test_info_says_what_a_set_of_one_shape_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["data", "info", "digits"]) == 0
    told = capsys.readouterr().out
    assert "train 1,437, test 360" in told
    assert "1x8x8" in told
    assert "10: 0, 1, 2" in told


def test_info_names_a_file_that_is_no_image(
    source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (source / LARGE_JPEG).write_bytes(b"no image")
    assert run(["data", "info", f"folder:{source}"]) == 1
    assert "b.jpg: this image cannot be read" in capsys.readouterr().err
