"""The fuzzer's own minute: nothing it feeds gets past the compiler."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

import fuzz
import fuzz_inputs
import pytest


@pytest.fixture(scope="module")
def corpus() -> fuzz_inputs.Corpus:
    return fuzz_inputs.Corpus()


@pytest.mark.slow
@pytest.mark.parametrize("seed", ["0", "1"])
def test_a_minute_of_fuzzing(seed: str, tmp_path: Path) -> None:
    """As the tool is run, so that its memory is of nothing else; other tests slow it down."""
    found = tmp_path / "found.json"
    limits = ["--seconds", "30", "--slow", str(4 * fuzz.SLOW), "--jobs", "1", "--seed", seed]
    command = [sys.executable, fuzz.__file__, *limits, "--json", found, "--keep", tmp_path / "kept"]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    tally = json.loads(found.read_text())
    assert tally["inputs"] > 50
    assert tally["peak memory, bytes"] < fuzz.MAX_MEMORY


def test_what_takes_too_long_is_a_failure(corpus: fuzz_inputs.Corpus, tmp_path: Path) -> None:
    tally = fuzz.fuzz(1, 60, 0, tmp_path, corpus, slow=0.0)
    assert len(tally.failures) == 1
    assert " took " in tally.failures[0]


def test_inputs_reach_every_layer(corpus: fuzz_inputs.Corpus, tmp_path: Path) -> None:
    """Some inputs compile, and the mistakes are not all of syntax."""
    tally = fuzz.fuzz(300, 60, 3, tmp_path, corpus)
    assert tally.networks > 0
    assert {code[:3] for code in tally.codes} >= {"E01", "E02", "E03", "E04"}


def test_what_gets_past_is_reported_and_kept(
    corpus: fuzz_inputs.Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: object) -> None:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr(fuzz, "check_file", crash)
    tally = fuzz.fuzz(3, 60, 0, tmp_path, corpus)
    assert len(tally.failures) == 3
    assert all("ZeroDivisionError: oops" in failure for failure in tally.failures)
    assert len(list(tmp_path.glob("*.rnet"))) == 3


def test_inputs_depend_on_the_seed_alone(corpus: fuzz_inputs.Corpus) -> None:
    for make in fuzz_inputs.KINDS.values():
        one, same, other = (
            [make(corpus, rng) for _ in range(5)]
            for rng in (random.Random(1), random.Random(1), random.Random(2))
        )
        assert one == same != other
