"""Order statistics and the benchmarks' harness."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from benchmark_scripts import benchmark_script
from hypothesis import given
from hypothesis import strategies as st

from resnetc.bench.machine import machine, versions
from resnetc.bench.statistics import median, median_interval, percentile, summarize

_numbers = st.floats(-1e6, 1e6)


@given(st.lists(_numbers, min_size=1, max_size=40), st.floats(0, 100))
def test_percentiles_are_numpys(sample: list[float], percent: float) -> None:
    assert percentile(sample, percent) == pytest.approx(np.percentile(sample, percent), abs=1e-6)


def test_a_percentile_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing"):
        percentile([], 50)


@pytest.mark.parametrize(
    ("n", "rank", "confidence"),
    # Of Binomial(n, 1/2): the largest rank with 1 - 2 P(X <= rank) of at least 95 %.
    [
        (6, 0, 0.9688),
        (8, 0, 0.9922),
        (9, 1, 0.9609),
        (10, 1, 0.9785),
        (15, 3, 0.9648),
        (20, 5, 0.9586),
    ],
)
def test_intervals_lie_between_order_statistics(n: int, rank: int, confidence: float) -> None:
    sample = [float(i) for i in range(n)]
    interval = median_interval(sample[::-1])
    assert (interval.low, interval.high) == (rank, n - 1 - rank)
    assert round(interval.confidence, 4) == confidence


@pytest.mark.parametrize(("n", "confidence"), [(1, 0.0), (2, 0.5), (3, 0.75), (5, 0.9375)])
def test_small_samples_give_their_range_and_say_how_sure_that_is(n: int, confidence: float) -> None:
    interval = median_interval([float(i) for i in range(n)])
    assert (interval.low, interval.high, interval.confidence) == (0, n - 1, confidence)


def test_the_confidence_is_what_one_gets() -> None:
    rng = np.random.default_rng(0)
    draws = np.sort(rng.exponential(size=(20_000, 10)), axis=1)
    low, high = draws[:, 1], draws[:, 8]
    covered = ((low <= np.log(2)) & (np.log(2) <= high)).mean()
    assert covered == pytest.approx(median_interval(list(range(10))).confidence, abs=0.005)


@given(st.lists(_numbers, min_size=1, max_size=60))
def test_a_summary_is_ordered(sample: list[float]) -> None:
    summary = summarize(sample)
    ordered = (summary.minimum, summary.low, summary.median, summary.high, summary.maximum)
    assert all(a <= b + 1e-9 for a, b in itertools.pairwise(ordered))
    assert summary.median == median(sample)


def test_the_machine_is_told_without_names_or_paths() -> None:
    import platform

    told = json.dumps(machine())
    assert platform.node() not in told or platform.node() in ("", platform.system())
    assert "/" not in told
    assert machine()["cores"] >= 1


def test_versions_leave_out_what_is_not_installed() -> None:
    assert versions(["numpy", "no-such-package"]) == {"numpy": np.__version__}


# ------------------------------------------------------------------------------------- the harness


@pytest.fixture(scope="module")
def harness() -> ModuleType:
    return benchmark_script("harness")


def test_contestants_take_turns_and_the_first_changes(harness: ModuleType) -> None:
    called: list[str] = []
    times = harness.interleave(
        {name: lambda name=name: called.append(name) for name in "abc"}, rounds=3, warmup=1
    )
    assert "".join(called) == "abc" + "bca" + "cab" + "abc"
    assert {name: len(seconds) for name, seconds in times.items()} == {"a": 3, "b": 3, "c": 3}


def test_processes_are_measured_whole() -> None:
    # In a process of its own: one that has imported torch is too large to tell a child's peak.
    program = (
        "import sys, harness\n"
        "big = [sys.executable, '-c', 'import time; x = bytearray(10**9); time.sleep(0.3)']\n"
        "runs = harness.interleave_processes({'big': big}, rounds=2, warmup=0)['big']\n"
        "print(min(run.seconds for run in runs), harness.peak(runs))\n"
    )
    folder = Path(__file__).parents[1] / "benchmarks"
    told = subprocess.run(
        [sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, check=True
    )
    seconds, peak = map(float, told.stdout.split())
    assert seconds > 0.3
    assert 10**9 < peak < 1.2 * 10**9


def test_a_small_childs_peak_is_not_made_up(harness: ModuleType) -> None:
    run = harness.measure_process([sys.executable, "-c", "pass"])  # we are larger than that
    assert run.peak_bytes is None
    assert 0 < run.cpu_seconds < run.seconds + 0.1
    with pytest.raises(ValueError, match="unknown"):
        harness.peak([run])


def test_a_process_that_fails_ends_the_benchmark(harness: ModuleType) -> None:
    with pytest.raises(RuntimeError, match=r"ended with 3\nwhy"):
        harness.measure_process(
            [sys.executable, "-c", "import sys; print('why', file=sys.stderr); sys.exit(3)"]
        )


def test_ratios_are_paired(harness: ModuleType) -> None:
    assert harness.ratio([1.0, 10.0, 4.0], [2.0, 20.0, 8.0])["interval"] == [0.5, 0.5]


def test_results_say_where_they_come_from(
    harness: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(harness, "RESULTS", tmp_path)
    path = harness.write("some", {"a": harness.summary([1.0, 2.0, 3.0])}, packages=["numpy"])
    document = json.loads(path.read_text())
    assert document["versions"] == {"numpy": np.__version__}
    assert document["results"]["a"]["median"] == 2.0
    assert document["machine"]["cores"] >= 1
