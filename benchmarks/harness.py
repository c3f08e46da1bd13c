"""What the benchmarks here share: interleaved rounds, child processes, the JSON beside them.

A benchmark is a script, run as `python benchmarks/NAME.py`; it says `import harness`.

    times = interleave({"ours": f, "theirs": g}, rounds=9)        # callables, in this process
    runs = interleave_processes({"ours": argv, "theirs": argv}, rounds=9)   # whole processes
    write("export", {"resnet50": {"ours": summary(times["ours"]), ...}}, packages=["torch"])

Contestants take turns within every round, so that a slow minute of the machine falls on all of
them. Each round starts with another contestant.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from resnetc import __version__, atomic
from resnetc.bench.machine import machine, versions
from resnetc.bench.statistics import median, summarize

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Run:
    """One child process: wall time, the most memory it ever held (None where that is unknown), and
    the processor's time, which other work on the machine disturbs less than the wall time."""

    seconds: float
    peak_bytes: int | None
    cpu_seconds: float


def interleave(
    contestants: Mapping[str, Callable[[], object]], rounds: int, warmup: int = 1
) -> dict[str, list[float]]:
    """Seconds per call of each contestant, one call a round, after `warmup` unmeasured rounds.

    Garbage is collected before each call, and collecting is off during it.
    """
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for name, number in _turns(contestants, warmup + rounds):
        seconds = _timed(contestants[name])
        if number >= warmup:
            times[name].append(seconds)
    return times


def interleave_processes(
    contestants: Mapping[str, Sequence[str]],
    rounds: int,
    warmup: int = 1,
    env: Mapping[str, str] | None = None,
) -> dict[str, list[Run]]:
    """The same for whole processes, by command line. Raises when one of them fails."""
    runs: dict[str, list[Run]] = {name: [] for name in contestants}
    for name, number in _turns(contestants, warmup + rounds):
        run = measure_process(contestants[name], env)
        if number >= warmup:
            runs[name].append(run)
    return runs


def measure_process(argv: Sequence[str], env: Mapping[str, str] | None = None) -> Run:
    """Run a process to its end: wall time and peak resident memory.

    Linux keeps a process's high-water mark across exec, so a child never reports less than this
    process held when it started the child; a peak that cannot be told from ours is None, so
    import no framework here. Raises RuntimeError when the child fails.
    """
    with tempfile.TemporaryFile() as stderr:
        start = time.perf_counter()
        child = subprocess.Popen(
            argv, stdout=subprocess.DEVNULL, stderr=stderr, env={**os.environ, **(env or {})}
        )
        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - start
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode != 0:
            stderr.seek(0)
            tail = stderr.read().decode(errors="replace")[-2000:]
            raise RuntimeError(f"{' '.join(argv)} ended with {child.returncode}\n{tail}")
    unit = 1 if sys.platform == "darwin" else 1024  # what ru_maxrss counts in
    child_bytes = usage.ru_maxrss * unit
    peak_bytes = child_bytes if child_bytes > _own_peak_bytes(unit) else None
    return Run(seconds, peak_bytes, usage.ru_utime + usage.ru_stime)


def _own_peak_bytes(unit: int) -> int:
    """Most memory this process has had: what a child's count begins with.

    From the kernel's account of our own memory where there is one: ru_maxrss also remembers the
    process that started us.
    """
    try:
        return own_peak()
    except (OSError, IndexError, ValueError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def summary(seconds: Sequence[float]) -> dict[str, Any]:
    """Median, its confidence interval and the range, in seconds, for a result file."""
    return summarize(seconds).to_json()


def ratio(of: Sequence[float], to: Sequence[float]) -> dict[str, Any]:
    """Round by round `of` over `to`: rounds are paired, so drift of the machine cancels."""
    return summarize([a / b for a, b in zip(of, to, strict=True)]).to_json()


def peak(runs: Sequence[Run]) -> int:
    """The median of the peaks, in bytes. Raises ValueError when one is unknown."""
    known = [run.peak_bytes for run in runs if run.peak_bytes is not None]
    if len(known) < len(runs):
        raise ValueError("a peak is unknown: this process is larger than the child")
    return round(median(known))


def write(name: str, results: Mapping[str, Any], packages: Sequence[str] = ()) -> Path:
    """Write `benchmarks/results/NAME.json`: the results with machine and versions beside them."""
    document = {
        "benchmark": name,
        "resnetc": __version__,
        "machine": machine(),
        "versions": versions(packages),
        "results": results,
    }
    path = RESULTS / f"{name}.json"
    atomic.write_text(path, json.dumps(document, indent=2) + "\n")
    return path


def earlier(name: str) -> dict[str, Any]:
    """The results of the last run of a benchmark, empty where there was none."""
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text())["results"] if path.is_file() else {}


def forget_peak() -> int:
    """Let this process's peak of resident memory begin anew, on Linux; the bytes it has now."""
    Path("/proc/self/clear_refs").write_text("5")
    return own_peak()


def own_peak() -> int:
    """Most resident bytes of this process since it began, or since `forget_peak`, on Linux."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def _turns(names: Mapping[str, object], rounds: int) -> Iterator[tuple[str, int]]:
    order = list(names)
    for number in range(rounds):
        first = number % len(order)
        for name in order[first:] + order[:first]:
            yield name, number


def _timed(call: Callable[[], object]) -> float:
    gc.collect()
    gc.disable()
    try:
        start = time.perf_counter()
        call()
        return time.perf_counter() - start
    finally:
        gc.enable()
