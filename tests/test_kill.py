"""`benchmarks/kill.py` in short: a run that is killed ends as one that was left alone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

_SCRIPT = Path(__file__).parent.parent / "benchmarks" / "kill.py"


@pytest.mark.slow
@pytest.mark.parametrize(("processes", "workers"), [(1, 0), (1, 2), (2, 0)])
def test_a_run_that_is_killed_ends_bit_for_bit(
    processes: int, workers: int, tmp_path: Path
) -> None:
    asked = ["--processes", str(processes), "--workers", str(workers), "--kills", "3"]
    asked += ["--iterations", "60", "--seed", "7", "--out", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, str(_SCRIPT), *asked],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (found,) = json.loads((tmp_path / "kill.json").read_text())["results"]["settings"]
    assert found["identical"] is True
    assert found["lost"] == 0
    assert found["kills"] >= 1
