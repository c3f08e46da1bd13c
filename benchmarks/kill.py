"""Kills a training run with SIGKILL at random moments and compares its end with a run left alone.

    python benchmarks/kill.py                              # writes benchmarks/results/kill.json
    python benchmarks/kill.py --kills 3 --processes 1 --workers 0 --iterations 60 --out DIR

For one process and for two, with 0 and 2 processes that read images: a run is trained without
interruption; then another is killed, all its processes at once, and resumed, as often as asked, and
left to end. Weights, velocities and generators of both must be the same to the last bit, and no
kill may lose a checkpoint that was whole before it. One kill in four falls anywhere in the start of
the processes, the others at moments of the training; it saves every second iteration, so that
some kills fall into a checkpoint that is being written.

The network has batch norms and a dropout, the images are files and are cropped at random: all that
a run draws by chance is in it. The exit code is 1 where anything differs.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from PIL import Image
from sklearn.datasets import load_digits

import harness
from resnetc.train.checkpoint import newest

SPEC = """rnet 1

network killed {
  input 1x8x8
  conv1: conv(3x3, 8) -> bn1: norm -> act
  residual { conv2: conv(3x3, 8) -> bn2: norm }
  gap -> flatten -> dropout(20%) -> fc: linear(10)
}

recipe short {
  augment = [subtract_mean, pad(1), random_crop(8)]
  batch = 32
  iterations = 400
  optimizer = sgd(lr=0.05)
  schedule = [step(at=[200, 300])]
  eval_every = 50
}
"""
_PARTS = ("weights", "optimizer", "rng")
_BY_ITSELF = 0.25
"""The share of kills that fall before the first step."""


@dataclass
class Setting:
    """How a run is made: its processes, and those of each that read images."""

    processes: int
    workers: int
    iterations: int
    spec: Path
    data: Path


@dataclass
class Found:
    """What came of a setting. `torn` counts kills that left a checkpoint half-written."""

    processes: int
    workers: int
    kills: int
    before_training: int
    torn: int
    lost: int
    identical: bool
    weights_sha256: str
    seconds_alone: float


class Attempt:
    """The processes of one run, started now. Each has a group of its own, which is killed whole."""

    def __init__(self, setting: Setting, out: Path) -> None:
        port = _free_port()
        self.began = time.monotonic()
        self.speaking = threading.Event()
        self.last_words: list[str] = []
        self.processes = [
            subprocess.Popen(
                _command(setting, out),
                env=_environment(rank, setting.processes, port),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
            for rank in range(setting.processes)
        ]
        self._listeners = [
            threading.Thread(target=self._listen, args=[process], daemon=True)
            for process in self.processes
        ]
        for listener in self._listeners:
            listener.start()

    def _listen(self, process: subprocess.Popen[str]) -> None:
        assert process.stderr is not None
        for line in process.stderr:
            self.last_words = [*self.last_words[-20:], line]
            if line.startswith("run: "):
                self.speaking.set()

    def _await_training(self) -> None:
        """Until the run is about to take its first step, or has ended before it."""
        while not self.speaking.wait(timeout=0.05):
            if self.processes[0].poll() is not None:
                return

    def wait(self) -> float:
        """Seconds from the start of the training to its end. Raises RuntimeError when it fails."""
        self._await_training()
        began = time.monotonic()
        codes = [process.wait(timeout=1800) for process in self.processes]
        if any(codes):
            raise RuntimeError(f"the run ended with {codes}:\n{''.join(self.last_words)}")
        return time.monotonic() - began

    def kill_after(self, seconds: float, *, in_training: bool) -> bool:
        """Kill all; says whether the run was still going."""
        if in_training:
            self._await_training()
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self.processes[0].poll() is None:
            time.sleep(min(0.002, max(0.0, deadline - time.monotonic())))
        going = self.processes[0].poll() is None
        for process in self.processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
        for process in self.processes:
            process.wait()
        for listener in self._listeners:
            listener.join(timeout=10)
        return going


def _command(setting: Setting, out: Path) -> list[str]:
    return [
        *(sys.executable, "-m", "resnetc", "train", f"{setting.spec}:killed"),
        *("--data", f"folder:{setting.data}", "--iterations", str(setting.iterations)),
        *("--out", str(out), "--resume", "--deterministic", "--seed", "0"),
        *("--workers", str(setting.workers), "--threads", "1", "--device", "cpu"),
        *("--checkpoint-every", "2"),
    ]


def _environment(rank: int, size: int, port: int) -> dict[str, str]:
    """What torchrun would set; its own processes could not be killed as one."""
    asked = {**os.environ, "OMP_NUM_THREADS": "1"}
    if size > 1:
        asked |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(size)}
        asked |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    return asked


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
    return port


def digests(run: Path) -> dict[str, str]:
    """Of the trained weights, and of the last checkpoint's parts."""
    last = max((run / "checkpoints").glob("step-*"))
    files = {part: last / f"{part}.safetensors" for part in _PARTS}
    files["trained"] = run / "weights.safetensors"
    return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()}


def kept_step(run: Path) -> int:
    """Where the newest whole checkpoint stands, 0 where there is none."""
    checkpoint = newest(run / "checkpoints", lambda text: None)
    return checkpoint.step if checkpoint else 0


def try_setting(setting: Setting, kills: int, chance: random.Random, folder: Path) -> Found:
    """Train once in peace and once under fire."""
    alone, cut = folder / "alone", folder / "cut"
    seconds = Attempt(setting, alone).wait()
    done = before = torn = lost = 0
    while done < kills:
        stood = kept_step(cut)
        in_training = chance.random() >= _BY_ITSELF
        delay = chance.uniform(0, 1.5 * seconds / kills if in_training else 4.0)
        if not Attempt(setting, cut).kill_after(delay, in_training=in_training):
            break  # it ended first: the machine has become faster
        done += 1
        before += not in_training
        torn += any((cut / "checkpoints").glob(".step-*"))
        lost += kept_step(cut) < stood
    Attempt(setting, cut).wait()
    ours, theirs = digests(cut), digests(alone)
    counts = (setting.processes, setting.workers, done, before, torn, lost)
    return Found(*counts, ours == theirs, theirs["trained"], round(seconds, 2))


def write_images(folder: Path, count: int = 320) -> Path:
    """Digits as files, in folders by class."""
    digits = load_digits()
    for number in range(count):
        part = "val" if number % 5 == 0 else "train"
        path = folder / part / str(digits.target[number]) / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = (digits.images[number] * 15).astype("uint8")
        Image.fromarray(pixels).save(path)
    return folder


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--processes", default="1,2")
    parser.add_argument("--workers", default="0,2")
    parser.add_argument("--iterations", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--out", type=Path, help="folder of the result")
    asked = parser.parse_args()
    if asked.out:
        harness.RESULTS = asked.out
    chance = random.Random(asked.seed)
    found = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        spec = folder / "killed.rnet"
        spec.write_text(SPEC)
        data = write_images(folder / "images")
        for processes in map(int, asked.processes.split(",")):
            for workers in map(int, asked.workers.split(",")):
                setting = Setting(processes, workers, asked.iterations, spec, data)
                place = folder / f"{processes}-{workers}"
                found.append(try_setting(setting, asked.kills, chance, place))
                print(found[-1], flush=True)
    settings = [asdict(each) for each in found]
    results = {"iterations": asked.iterations, "settings": settings}
    harness.write("kill", results, packages=["torch"])
    return 0 if all(each.identical and not each.lost for each in found) else 1


if __name__ == "__main__":
    sys.exit(main())
