"""What goes wrong in the middle of a run is said by name, and what was kept is gone on from."""

from __future__ import annotations

import multiprocessing
import resource
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from quick_runs import QUICK, equal, weights_of
from tiny_networks import spec_file, tiny

from resnetc.cli.main import run
from resnetc.diagnostics import RunError
from resnetc.train import checkpoint as checkpoints
from resnetc.train import train
from resnetc.train.checkpoint import Checkpoint, found, newest
from resnetc.train.endings import DivergedError
from resnetc.train.plainly import said_plainly
from resnetc.train.processes import World
from resnetc.train.state import State, snapshot
from resnetc.train.trainer import Trainer


def _at_checkpoint(monkeypatch: pytest.MonkeyPatch, step: int, event: Callable[[], None]) -> None:
    """Let something happen right before the checkpoint of a step is written."""
    whole = checkpoints.write

    def write(folder: Path, checkpoint: Checkpoint) -> Path:
        if checkpoint.step == step:
            event()
        return whole(folder, checkpoint)

    monkeypatch.setattr(checkpoints, "write", write)


# ------------------------------------------------------------------------------ images in folders


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for part, count in (("train", 8), ("val", 2)):
        for name in ("ant", "bee", "cat"):
            (root / part / name).mkdir(parents=True)
            for i in range(count):
                pixels = rng.integers(0, 256, (10, 12, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(root / part / name / f"{i}.png")
    return root


def _train(spec: Path, data: Path, out: Path, *more: str) -> int:
    asked = ["train", f"{spec}:tiny", "--data", f"folder:{data}", "--out", str(out)]
    asked += ["--iterations", "24", "--batch", "4", "--checkpoint-every", "4", "--deterministic"]
    return run([*asked, "--threads", "1", "--device", "cpu", "--quiet", *more])


@pytest.fixture(scope="module")
def undisturbed(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run that nothing happens to."""
    folder = tmp_path_factory.mktemp("undisturbed")
    assert _train(spec_file(folder), photos, folder / "run", "--workers", "0") == 0
    return folder / "run"


def _corrupt(root: Path) -> None:
    for path in (root / "train" / "bee").iterdir():
        path.write_bytes(path.read_bytes()[:40])


def _vanish(root: Path) -> None:
    shutil.rmtree(root / "train" / "bee")


def _kill_a_reader(root: Path) -> None:
    multiprocessing.active_children()[0].kill()


@pytest.mark.parametrize(
    ("event", "workers", "said"),
    [
        (_corrupt, "0", "png: this image cannot be read"),
        (_corrupt, "1", "png: this image cannot be read"),
        (_vanish, "0", "No such file or directory"),
        (_kill_a_reader, "1", "a process that reads images was killed"),
    ],
    ids=["corrupt", "corrupt in a worker", "folder gone", "worker killed"],
)
def test_images_that_fail_end_the_run_and_it_goes_on_when_they_are_back(
    event: Callable[[Path], None],
    workers: str,
    said: str,
    photos: Path,
    undisturbed: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    spec, data, out = spec_file(tmp_path), tmp_path / "photos", tmp_path / "run"
    shutil.copytree(photos, data)
    _at_checkpoint(monkeypatch, 8, lambda: event(data))  # one lies there already
    assert _train(spec, data, out, "--workers", workers) == 1
    monkeypatch.undo()
    error = capsys.readouterr().err
    assert "Traceback" not in error
    assert said in error
    if event is not _kill_a_reader:
        assert f"{data / 'train' / 'bee'}/" in error
    kept = newest(out / "checkpoints", pytest.fail)
    assert kept is not None
    assert f"goes on from {out / 'checkpoints'}/step-{kept.step:08d} with the same command" in error
    assert not (out / "weights.safetensors").exists()
    shutil.rmtree(data)
    shutil.copytree(photos, data)
    assert _train(spec, data, out, "--workers", "0", "--resume") == 0
    assert equal(weights_of(out), weights_of(undisturbed))


# --------------------------------------------------------------------------------- a disk's end


def _full_metrics(out: Path) -> None:
    """Every byte written there is one too many."""
    (out / "metrics.csv").unlink()
    (out / "metrics.csv").symlink_to("/dev/full")


def _small_files(out: Path) -> None:
    """The system lets no file become larger than this."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (700, resource.RLIM_INFINITY))


@pytest.mark.parametrize(
    ("event", "said", "kept"),
    [
        (_full_metrics, "metrics.csv: the disk is full", 20),
        (_small_files, "step-00000020: files may not become so large here", 10),
        (shutil.rmtree, "checkpoints: this folder has gone; no checkpoint", None),
    ],
    ids=["full", "limited", "folder gone"],
)
def test_a_disk_that_takes_no_more_ends_the_run_and_it_goes_on_when_it_does(
    event: Callable[[Path], None],
    said: str,
    kept: int | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    net, out = tiny(tmp_path), tmp_path / "run"
    options = replace(QUICK, out=out, iterations=30, log_every=5, checkpoint_every=10)
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    _at_checkpoint(monkeypatch, 20, lambda: event(out))
    try:
        with pytest.raises(RunError) as ended:
            train(net, options)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        monkeypatch.undo()
    assert said in str(ended.value)
    steps = [path.name for path in found(out / "checkpoints")]
    if kept is None:
        assert not out.exists()
        return
    assert steps[0] == f"step-{kept:08d}"
    assert f"goes on from {out / 'checkpoints' / steps[0]}" in str(ended.value)
    assert not list((out / "checkpoints").glob(".*"))
    if event is _full_metrics:
        (out / "metrics.csv").unlink()
    train(net, replace(options, resume=True))
    train(net, replace(options, out=tmp_path / "whole"))
    assert equal(weights_of(out), weights_of(tmp_path / "whole"))
    files = [(tmp_path / name / "metrics.csv").read_text().count("\n") for name in ("run", "whole")]
    assert files[0] == files[1]


# --------------------------------------------------------------------------------- divergence

WILD = "schedule=[warmup(lr=0.01, iterations=6)]"
"""Six steps that are small, and the optimizer's rate from there on."""


def _finite(checkpoint: Checkpoint) -> bool:
    parts = (checkpoint.weights, checkpoint.optimizer)
    return all(bool(torch.isfinite(t).all()) for part in parts for t in part.values())


@pytest.mark.parametrize(("log_every", "every", "keep"), [(1000, 1, 1), (1, 4, 1), (1000, 5, 3)])
def test_a_training_that_diverges_leaves_the_last_good_checkpoint(
    log_every: int,
    every: int,
    keep: int,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    spec, out = f"{spec_file(tmp_path)}:plain_tiny", tmp_path / "run"
    asked = ["train", spec, "--data", "digits", "--lr", "1e30", "--override", WILD]
    asked += ["--iterations", "40", "--override", "eval_every=40", "--keep", str(keep)]
    asked += ["--log-every", str(log_every), "--checkpoint-every", str(every), "--device", "cpu"]
    asked += ["--threads", "1", "--out", str(out), "--quiet"]
    assert run(asked) == 1
    error = capsys.readouterr().err
    assert "Traceback" not in error
    kept = newest(out / "checkpoints", pytest.fail)
    assert kept is not None
    assert kept.step >= every * (6 // every)
    assert all(_finite(checkpoints.read(path)) for path in found(out / "checkpoints"))
    assert f"the last good checkpoint is {out}/checkpoints/step-{kept.step:08d}" in error
    assert "diverged" in error
    assert "smaller --lr" in error
    assert not (out / "weights.safetensors").exists()
    assert run([*asked, "--resume"]) == 1  # from there it goes the same way
    assert "comes here again" in capsys.readouterr().err


def test_a_training_that_diverges_at_once_says_that_there_is_no_checkpoint(tmp_path: Path) -> None:
    options = replace(QUICK, out=tmp_path / "run", lr=1e30, checkpoint_every=1000, log_every=1)
    with pytest.raises(RunError, match=r"at iteration [1-4]; no checkpoint was written"):
        train(tiny(tmp_path, "plain_tiny"), options)


def test_moments_that_are_not_finite_are_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second moment of infinity makes every step 0: weights stay finite, and stay."""
    save = Trainer._save

    def poisoned(self: Trainer) -> None:
        if self.state.step == 4:
            moments: Any = next(iter(self.state.optimizer.state.values()))
            moments["exp_avg_sq"].fill_(float("inf"))
        save(self)

    monkeypatch.setattr(Trainer, "_save", poisoned)
    options = replace(QUICK, out=tmp_path / "run", checkpoint_every=2, iterations=8)
    with pytest.raises(DivergedError, match=r"iteration 4; the last good .*/step-00000002;"):
        train(tiny(tmp_path), replace(options, overrides=("optimizer=adamw",)))


class _Other(World):
    """A process that is well, beside one that is not."""

    def any(self, flag: int) -> int:
        assert flag == 0
        return 1


def test_processes_diverge_together(tmp_path: Path) -> None:
    seen: list[State] = []

    class Noting(Trainer):
        def _save(self) -> None:
            seen.append(self.state)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("resnetc.train.runs.Trainer", Noting)
        train(tiny(tmp_path), replace(QUICK, out=tmp_path / "run", iterations=1))
    device = torch.device("cpu")
    assert snapshot(seen[0], World(), device, {}).step == 1
    with pytest.raises(DivergedError):
        snapshot(seen[0], _Other(), device, {})


def test_the_best_checkpoint_outlives_those_that_follow(tmp_path: Path) -> None:
    """An explosion that stays finite is kept, as the newest; what was good before is, too."""
    tensor = {"w": torch.ones(1)}
    for step, error in enumerate((0.5, 0.1, 0.9, 0.9, 0.9), 1):
        checkpoints.write(tmp_path, Checkpoint(tensor, {}, {}, {"step": step, "error": error}))
        checkpoints.prune(tmp_path, keep=1)
    assert [path.name[-1] for path in found(tmp_path)] == ["5", "2"]


# ------------------------------------------------------------------------------ torch's errors


def test_a_batch_too_small_for_a_batch_norm_is_said_plainly(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="larger --batch"):
        train(tiny(tmp_path, "pointed"), replace(QUICK, out=tmp_path / "run", batch=1))


def test_torchs_own_errors_are_said_plainly_or_passed_on() -> None:
    with pytest.raises(RunError, match="smaller --batch"), said_plainly():
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
    with pytest.raises(RunError, match="fewer --workers"), said_plainly():
        raise RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed")
    with pytest.raises(RuntimeError, match="a bug"), said_plainly():
        raise RuntimeError("a bug")
