"""Contestants that need no framework, and ones that go wrong in every way a backend can."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from resnetc.bench.request import Job
from resnetc.diagnostics import MissingError


class Steady:
    """Takes a millisecond; leaves a note of when it ran, where `BENCH_FAKE_LOG` says."""

    seconds = 0.001

    def __init__(self, job: Job) -> None:
        self.facts: dict[str, Any] = {
            "runtime": "fake 1",
            "device": "cpu",
            "layout": job.layout,
            "threads": job.threads,
            "tf32": job.tf32,
            "omp": os.environ["OMP_NUM_THREADS"],
        }
        self._scale = job.batch
        _note("job", f"{job.precision} {job.batch} {job.seed} {job.weights} {job.device}")

    def run(self) -> None:
        start = time.monotonic()
        time.sleep(self.seconds)
        _note("run", f"{start} {time.monotonic()}")

    def output(self) -> np.ndarray:
        return np.array([[0.0, 2.0, 1.0], [3.0, 0.0, -4.0]], np.float32) * self._scale


class Slow(Steady):
    seconds = 0.02


class Noisy(Steady):
    """Prints where a library would: to the stdout of the process, past Python too."""

    def run(self) -> None:
        print("a library says hello")
        subprocess.run([sys.executable, "-c", "print('{}')"], check=True)
        super().run()


class Wrong(Steady):
    def output(self) -> np.ndarray:
        output = super().output()
        output[1, 0] = -3.9 * self._scale  # 6.9 of a largest 4
        return output


class OtherShape(Steady):
    def output(self) -> np.ndarray:
        return super().output()[:1]


class NotANumber(Steady):
    def output(self) -> np.ndarray:
        return super().output() * np.nan


class OtherSetup(Steady):
    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self.facts["device"] = "abacus"


class Missing:
    def __init__(self, job: Job) -> None:
        raise MissingError("the abacus library is not installed", "pip install abacus")


class Broken:
    def __init__(self, job: Job) -> None:
        raise ValueError("the abacus has a bead too many\nand more that nobody reads")


class DiesLater(Steady):
    """Lasts until another has run since its output was checked, then dies as of no memory."""

    checked = False

    def run(self) -> None:
        ours = f"{os.getpid()} "
        last = Path(os.environ["BENCH_FAKE_LOG"]).read_text().splitlines()[-1]
        if self.checked and not last.startswith(ours):
            print("the last words", file=sys.stderr, flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
        super().run()

    def output(self) -> np.ndarray:
        self.checked = True
        return super().output()


class Hangs(Steady):
    """Never returns, and has started a process of its own."""

    def run(self) -> None:
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        _note("pids", f"{os.getpid()} {child.pid}")
        while True:
            _note("beat", "")
            time.sleep(0.02)


def _note(kind: str, text: str) -> None:
    if "BENCH_FAKE_LOG" in os.environ:
        with Path(os.environ["BENCH_FAKE_LOG"]).open("a") as log:
            log.write(f"{os.getpid()} {kind} {text}\n")
