"""Feeds the compiler programs that nobody would write, and watches that it survives.

    python tools/fuzz.py --inputs 200000            # as many as one likes
    python tools/fuzz.py --seconds 60 --seed 7

Four kinds of input take turns: programs drawn from the grammar's own rules, files of the zoo with
parts exchanged for others of the same kind (these compile deepest), with words changed, and with
bytes changed. Every input is checked as `resnetc check` would, its findings rendered. What is
neither a network nor a located mistake, takes over two seconds of processor time or more than a
gigabyte of memory is a failure; its text is kept. Exit status 5 when there was one.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import resource
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fuzz_inputs import KINDS, TURNS, Corpus

from resnetc.checking import check_file
from resnetc.diagnostics import CompileError, ResnetcError, render

SLOW = 2.0
"""Processor time one input may take."""
MAX_MEMORY = 1 << 30
"""Bytes of data the process may hold."""
HANGS = 30
"""Seconds of processor time after which an input is given up."""


@dataclass
class Tally:
    """What came of the inputs."""

    inputs: Counter[str] = field(default_factory=Counter)
    codes: Counter[str] = field(default_factory=Counter)
    networks: int = 0
    slowest: float = 0.0
    peak_bytes: int = 0
    failures: list[str] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        self.inputs += other.inputs
        self.codes += other.codes
        self.networks += other.networks
        self.slowest = max(self.slowest, other.slowest)
        self.peak_bytes = max(self.peak_bytes, other.peak_bytes)
        self.failures += other.failures

    def as_json(self) -> dict[str, Any]:
        return {
            "inputs": self.inputs.total(),
            "by kind": dict(sorted(self.inputs.items())),
            "networks compiled": self.networks,
            "distinct codes": len(self.codes),
            "slowest, seconds of processor time": round(self.slowest, 3),
            "peak memory, bytes": self.peak_bytes,
            "failures": self.failures,
        }


def survive(data: str | bytes, file: Path, tally: Tally) -> None:
    """Check one input. Raises what the compiler should not have let through."""
    file.write_bytes(data if isinstance(data, bytes) else data.encode(errors="surrogatepass"))
    findings = []
    try:
        report = check_file(file)
        findings = list(report.findings)
        tally.networks += len(report.networks)
    except CompileError as error:
        findings = list(error.diagnostics)
    except ResnetcError:
        pass
    for found in findings:
        if not render(found).strip():
            raise AssertionError(f"{found.code} renders as nothing")
        tally.codes[found.code] += 1


def fuzz(
    count: int,
    seconds: float,
    seed: int,
    keep: Path,
    corpus: Corpus | None = None,
    *,
    slow: float = SLOW,
) -> Tally:
    """Feed `count` inputs, or as many as fit in the time; failures are kept in a folder."""
    corpus, rng, tally = corpus or Corpus(), random.Random(seed), Tally()
    end = time.monotonic() + seconds
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "fuzz.rnet")
        for number in range(count):
            if time.monotonic() > end:
                break
            kind = TURNS[number % len(TURNS)]
            data = KINDS[kind](corpus, rng)
            tally.inputs[kind] += 1
            before = time.process_time()
            problem = _problem(data, file, tally)
            taken = time.process_time() - before
            tally.slowest = max(tally.slowest, taken)
            if problem is None and taken > slow:
                problem = f"took {taken:.1f} s"
            if problem is not None:
                tally.failures.append(_kept(data, f"{kind}-{seed}-{number}", keep, problem))
    tally.peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return tally


def _problem(data: str | bytes, file: Path, tally: Tally) -> str | None:
    """What went wrong that should not have, None if nothing."""
    signal.signal(signal.SIGPROF, _given_up)
    signal.setitimer(signal.ITIMER_PROF, HANGS)
    try:
        survive(data, file, tally)
    except (Exception, RecursionError) as error:
        return f"{type(error).__name__}: {error}"[:200]
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    return None


def _given_up(*_: object) -> None:
    raise TimeoutError(f"given up after {HANGS} s")


def _kept(data: str | bytes, name: str, keep: Path, problem: str) -> str:
    keep.mkdir(parents=True, exist_ok=True)
    path = keep / f"{name}.rnet"
    path.write_bytes(data if isinstance(data, bytes) else data.encode(errors="surrogatepass"))
    return f"{path}: {problem}"


def _work(task: tuple[int, float, int, Path, float]) -> Tally:
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_DATA, (MAX_MEMORY, MAX_MEMORY))
    count, seconds, seed, keep, slow = task
    return fuzz(count, seconds, seed, keep, slow=slow)


def main() -> int:
    """Run the command line; returns its exit status."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--inputs", type=int, default=10**9, help="how many; default: no limit")
    parser.add_argument("--seconds", type=float, default=float("inf"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--keep", type=Path, default=Path("fuzz-failures"))
    parser.add_argument(
        "--slow", type=float, default=SLOW, help="seconds of processor time that are too many"
    )
    parser.add_argument("--json", type=Path, help="write the result here")
    chosen = parser.parse_args()
    # Portions, so that a process's peak memory is of few inputs and leaks would show.
    portion = max(1, min(5_000, chosen.inputs // chosen.jobs))
    starts = range(0, chosen.inputs, portion)
    end = time.monotonic() + chosen.seconds
    tally, began = Tally(), time.monotonic()
    tasks = (
        (
            min(portion, chosen.inputs - at),
            max(0.0, end - time.monotonic()),
            chosen.seed + i,
            chosen.keep,
            chosen.slow,
        )
        for i, at in enumerate(starts)
    )
    room = threading.Semaphore(chosen.jobs)
    with multiprocessing.Pool(chosen.jobs, maxtasksperchild=1) as pool:
        for done in pool.imap_unordered(_work, _as_there_is_room(tasks, room, end)):
            room.release()
            tally.add(done)
            total = tally.inputs.total()
            print(f"{total:,} inputs, {len(tally.failures)} failures", file=sys.stderr)
    result = {"seed": chosen.seed, **tally.as_json(), "seconds": round(time.monotonic() - began)}
    print(json.dumps(result, indent=2))
    if chosen.json:
        chosen.json.write_text(json.dumps(result, indent=2) + "\n")
    return 5 if tally.failures else 0


def _as_there_is_room(tasks: Iterator[Any], room: threading.Semaphore, end: float) -> Iterator[Any]:
    """The tasks until the time has come, each when a process is free: a pool takes all at once."""
    while room.acquire() and time.monotonic() < end:
        try:
            yield next(tasks)
        except StopIteration:
            return


if __name__ == "__main__":
    sys.exit(main())
