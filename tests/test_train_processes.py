"""Whole processes, one or several: killed, stopped, and gone on with."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from quick_runs import equal, steps_of, weights_of
from tiny_networks import spec_file

from resnetc.cli.main import run
from resnetc.diagnostics import UsageError
from resnetc.train.metrics import read as read_metrics


def _command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "resnetc", *arguments]


_LAUNCHER = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]
_ENV = {**os.environ, "OMP_NUM_THREADS": "1"}


def _overrides(*texts: str) -> list[str]:
    return [word for text in texts for word in ("--override", text)]


@pytest.mark.parametrize(
    "overrides", [(), ("mix=[mixup, cutmix]", "ema=ema(decay=0.9)")], ids=["paper", "modern"]
)
def test_a_killed_run_goes_on_bit_for_bit(overrides: tuple[str, ...], tmp_path: Path) -> None:
    """SIGKILL leaves no time to tidy up."""
    spec = f"{spec_file(tmp_path)}:tiny"
    common = ["--iterations", "200", "--batch", "32", "--threads", "1", "--deterministic"]
    common += ["--checkpoint-every", "15", "--quiet", *_overrides(*overrides)]
    out, whole = tmp_path / "cut", tmp_path / "whole"
    process = subprocess.Popen(_command("train", spec, "--out", str(out), *common), env=_ENV)
    deadline = time.monotonic() + 60
    while not list(out.glob("checkpoints/step-*/state.json")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert not (out / "weights.safetensors").exists()
    for arguments in (["--out", str(out), "--resume"], ["--out", str(whole)]):
        command = _command("train", spec, *arguments, *common)
        subprocess.run(command, env=_ENV, check=True, timeout=120, capture_output=True)
    assert equal(weights_of(out), weights_of(whole))
    assert not list(out.glob("checkpoints/.*"))


def _torchrun(tmp_path: Path, processes: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [*_LAUNCHER, str(processes), "-m", "resnetc", *arguments]
    return subprocess.run(
        command, env=_ENV, capture_output=True, text=True, timeout=180, check=False
    )


@pytest.mark.parametrize(
    ("network", "overrides"),
    [("plain_tiny", ()), ("tiny", ("norm_images=15", "precise_norm=60"))],
    ids=["no norms", "norms of 15"],
)
def test_two_processes_train_what_one_does(
    network: str, overrides: tuple[str, ...], tmp_path: Path
) -> None:
    """The shared batch is the whole batch, up to rounding: without batch norms, or where each
    takes its statistics from as many images as a process has."""
    spec = f"{spec_file(tmp_path)}:{network}"
    common = ["--iterations", "20", "--batch", "30", "--threads", "1", "--quiet", "--json"]
    common += _overrides(*overrides)
    assert run(["train", spec, "--out", str(tmp_path / "1"), *common]) == 0
    done = _torchrun(tmp_path, 2, "train", spec, "--out", str(tmp_path / "2"), *common)
    assert done.returncode == 0, done.stderr
    results = [json.loads((tmp_path / n / "report/summary.json").read_text()) for n in ("1", "2")]
    assert json.loads(done.stdout)["test"] == results[1]["test"]
    one, two = weights_of(tmp_path / "1"), weights_of(tmp_path / "2")
    for name in one:
        if not name.endswith("num_batches_tracked"):
            assert torch.allclose(one[name], two[name], atol=1e-5), name
    assert results[0]["test"]["images"] == results[1]["test"]["images"] == 360
    assert results[0]["test"]["loss"] == pytest.approx(results[1]["test"]["loss"], rel=1e-4)
    rows = [read_metrics(tmp_path / n / "metrics.jsonl") for n in ("1", "2")]
    for a, b in zip(*rows, strict=True):
        assert (a.kind, a.step) == (b.kind, b.step)
        if a.kind == "train" or not overrides:  # running averages are one process's own
            assert a.loss == pytest.approx(b.loss, rel=1e-4)


@pytest.mark.slow
def test_two_processes_go_on_bit_for_bit(tmp_path: Path) -> None:
    spec = f"{spec_file(tmp_path)}:dropping"
    common = ["--batch", "32", "--threads", "1", "--quiet", "--deterministic"]
    common += _overrides("mix=[mixup, cutmix]", "ema=ema(decay=0.9)", "precise_norm=64")
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert _torchrun(tmp_path, 2, "train", spec, "--out", str(whole), *common).returncode == 0
    assert _torchrun(tmp_path, 2, "train", spec, "--out", str(cut), *common).returncode == 0
    for step in (30, 40):
        for path in (cut / "checkpoints" / f"step-{step:08d}").iterdir():
            path.unlink()
        (cut / "checkpoints" / f"step-{step:08d}").rmdir()
    (cut / "weights.safetensors").unlink()
    done = _torchrun(tmp_path, 2, "train", spec, "--out", str(cut), *common, "--resume")
    assert done.returncode == 0, done.stderr
    assert "going on from iteration 20" in done.stderr
    assert equal(weights_of(cut), weights_of(whole))
    summaries = [json.loads((p / "report/summary.json").read_text()) for p in (cut, whole)]
    assert summaries[0]["test"] == summaries[1]["test"]


@pytest.mark.slow
def test_two_processes_stop_together_when_asked(tmp_path: Path) -> None:
    spec, out = f"{spec_file(tmp_path)}:tiny", tmp_path / "run"
    arguments = ["train", spec, "--iterations", "100000", "--batch", "8", "--threads", "1"]
    arguments += ["--checkpoint-every", "100", "--out", str(out), "--quiet"]
    process = subprocess.Popen(
        [*_LAUNCHER, "2", "-m", "resnetc", *arguments],
        env=_ENV,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 90
    while not list(out.glob("checkpoints/step-*/state.json")) and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.5)
    process.terminate()
    _, said = process.communicate(timeout=60)
    assert "stopped by SIGTERM at iteration" in said
    (step,) = {
        int(line.split("iteration ")[1].split()[0].replace(",", ""))
        for line in said.splitlines()
        if line.startswith("error: stopped by SIGTERM")
    }
    assert steps_of(out)[-1] == step
    assert step % 10 == 0


def test_a_batch_that_cannot_be_shared_is_refused(tmp_path: Path) -> None:
    from resnetc.train.processes import World

    assert World(0, 4).share(128) == 32
    with pytest.raises(UsageError, match="multiple of 4"):
        World(0, 4).share(130)
