"""Processes that do not come, die, hang or fail: the others say so plainly and end."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from several_processes import free_port, together
from tiny_networks import spec_file

from resnetc.cli.train import evaluate as evaluate_verb
from resnetc.cli.train import train as train_verb
from resnetc.train import EvaluateOptions, TrainOptions
from resnetc.train.peers import of_a_peer

HOST = socket.gethostname()
GO_ON = "start all again (a training goes on from its last checkpoint with --resume)"


def _failing(folder: Path, size: int, how: str, rank: int, **options: Any) -> list[str]:
    """What the processes say that did not fail, of a run in which `rank` fails after 12 steps."""
    asked = {"out": str(folder / "run"), "iterations": 40, "batch": 24, "checkpoint_every": 5}
    job = {
        "network": f"{spec_file(folder)}:tiny",
        "options": {**asked, **options},
        "fails": {"rank": rank, "step": 12, "how": how},
    }
    lost = rank if how.startswith("SIG") else None
    began = time.monotonic()
    found = together(folder / "places", size, [job], lost)
    assert time.monotonic() - began < 200, "nobody waits for as long as --peer-timeout"
    newest = max(path.name for path in (folder / "run/checkpoints").glob("step-*"))
    assert newest == "step-00000010"
    assert all(each[0]["raised"] == "RunError" for each in found)
    return [each[0]["said"] for each in found]


@pytest.mark.parametrize(
    ("size", "rank"), [(3, 1), pytest.param(2, 0, marks=pytest.mark.slow)], ids=["1 of 3", "0 of 2"]
)
def test_a_process_that_is_killed_is_named(size: int, rank: int, tmp_path: Path) -> None:
    """Process 0, too, which keeps the register."""
    said = _failing(tmp_path, size, "SIGKILL", rank)
    assert len(said) == size - 1
    for text in said:
        assert text == (
            f"process {rank} ({HOST}) of {size} was killed, crashed or cannot be reached, and the "
            f"others cannot go on; {GO_ON}"
        )


@pytest.mark.slow
def test_a_process_that_hangs_is_named(tmp_path: Path) -> None:
    said = _failing(tmp_path, 2, "SIGSTOP", 1, peer_timeout=4.0)
    assert said == [f"process 1 ({HOST}) of 2 did not answer, and the others cannot go on; {GO_ON}"]


@pytest.mark.parametrize("rank", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_why_a_process_ended_is_told_by_all(rank: int, tmp_path: Path) -> None:
    said = _failing(tmp_path, 2, "cat.png: not an image", rank)
    assert said[rank].startswith("cat.png: not an image")
    assert said[1 - rank] == f"process {rank} ({HOST}) of 2 ended: {said[rank]}"


# -------------------------------------------------------------------------------- the command


def _start(environ: dict[str, Any], *arguments: str) -> subprocess.Popen[str]:
    own = {k: v for k, v in os.environ.items() if not k.startswith(("SLURM_", "MASTER_"))}
    return subprocess.Popen(
        [sys.executable, "-m", "resnetc", *arguments],
        env={**own, "OMP_NUM_THREADS": "1", **{name: str(v) for name, v in environ.items()}},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize(
    ("rank", "message"),
    [
        (0, "process 1 of 2 did not arrive within 0.5 s, while process 0 of 2 waited"),
        (1, "process 1 of 2 waited 0.5 s for process 0 at 127.0.0.1:{port} and nothing answers"),
    ],
)
def test_a_process_that_does_not_come_is_named(rank: int, message: str, tmp_path: Path) -> None:
    port = free_port()
    place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "MASTER_PORT": port}
    process = _start(
        {**place, "MASTER_ADDR": "127.0.0.1"},
        *("train", f"{spec_file(tmp_path)}:tiny", "--out", str(tmp_path / "run")),
        *("--peer-timeout", "0.5", "--device", "cpu"),
    )
    out, said = process.communicate(timeout=200)
    assert process.returncode == 1
    assert out == ""
    assert said.startswith(f"error: {message.format(port=port)}")
    assert said.count("\n") == 1, "one line, and no traceback"


def test_tasks_that_srun_started_find_each_other(tmp_path: Path) -> None:
    """By SLURM's variables alone; one speaks on stdout."""
    spec, run = f"{spec_file(tmp_path)}:tiny", tmp_path / "run"
    step = {"SLURM_STEP_NUM_TASKS": 2, "SLURM_JOB_ID": free_port(), "SLURM_NTASKS": 2}
    hosts = {"SLURM_STEP_NODELIST": "localhost,gpu[2-3]", "MASTER_PORT": free_port()}
    arguments = ["train", spec, "--out", str(run), "--iterations", "4", "--device", "cpu"]
    tasks = [
        _start({**step, **hosts, "SLURM_PROCID": rank, "SLURM_LOCALID": rank}, *arguments)
        for rank in range(2)
    ]
    (out, said), (other_out, other_said) = (task.communicate(timeout=200) for task in tasks)
    assert [task.returncode for task in tasks] == [0, 0], said + other_said
    assert "4 iterations of 32 over 2 processes, 16 each" in said
    assert "test accuracy" in out
    assert other_out == ""
    assert load_file(run / "weights.safetensors")


def test_the_verbs_wait_as_long_as_the_functions() -> None:
    for verb, options in ((train_verb, TrainOptions()), (evaluate_verb, EvaluateOptions())):
        option = next(p for p in verb.params if p.name == "peer_timeout")
        assert option.default == options.peer_timeout


def test_only_errors_about_other_processes_are_taken_for_that() -> None:
    assert of_a_peer(RuntimeError("[gloo/transport/tcp/pair.cc:547] Connection closed by peer"))
    assert not of_a_peer(RuntimeError("shape mismatch"))
    assert not of_a_peer(ValueError("gloo"))
