"""The benchmark: turns, figures, failures, exit codes; with fake backends, then real ones."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from resnetc.bench import Request, run_bench
from resnetc.bench.backends import BACKENDS
from resnetc.bench.report import Parity, Report
from resnetc.bench.request import Scene
from resnetc.cli.main import run
from resnetc.diagnostics import MissingError, RunError, UsageError
from resnetc.processor import instruction_sets

FAKES = {
    "eager": "Steady",
    "slow": "Slow",
    "noisy": "Noisy",
    "wrong": "Wrong",
    "shape": "OtherShape",
    "nan": "NotANumber",
    "abacus": "OtherSetup",
    "missing": "Missing",
    "broken": "Broken",
    "dies": "DiesLater",
    "hangs": "Hangs",
}
QUICK = Request("resnet20", batches=(2,), warm_up=0.01, seconds=0.06, rounds=3, threads=1)


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Fake backends in the table; what they note of themselves."""
    for name, fake in FAKES.items():
        monkeypatch.setitem(BACKENDS, name, f"bench_fakes:{fake}")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)
    monkeypatch.setenv("BENCH_FAKE_LOG", str(tmp_path / "log"))
    return tmp_path / "log"


def _bench(*backends: str, **changes: Any) -> Report:
    return run_bench(replace(QUICK, backends=backends, **changes))


def _notes(log: Path, kind: str) -> list[tuple[int, list[str]]]:
    lines = [line.split() for line in log.read_text().splitlines()]
    return [(int(line[0]), line[2:]) for line in lines if line[1] == kind]


# ------------------------------------------------------------------------------------ taking turns


def test_backends_take_turns_and_never_run_at_the_same_time(log: Path) -> None:
    report = _bench("eager", "slow", "noisy")
    assert [len(m.rounds) for m in report.measurements] == [3, 3, 3]
    spans = [(float(a), float(b), pid) for pid, (a, b) in _notes(log, "run")]
    spans.sort()
    assert all(before[1] <= after[0] for before, after in pairwise(spans))
    turns = [pid for i, (_, _, pid) in enumerate(spans) if not i or spans[i - 1][2] != pid]
    assert len(set(turns)) == 4  # the reference and three backends, a process each
    # Prepared and warmed one after another, then three rounds, each begun by the next of them.
    eager, slow, noisy = turns[1:4]
    assert turns[4:] == [eager, slow, noisy, slow, noisy, eager, noisy, eager, slow]


def test_every_scene_and_every_worker_gets_the_same_job(log: Path) -> None:
    report = _bench("eager", "slow", batches=(1, 4), precisions=("fp32", "bf16"), seed=7, threads=3)
    assert [m.scene for m in report.measurements] == [
        Scene(batch, precision)
        for precision in ("fp32", "bf16")
        for batch in (1, 4)
        for _ in range(2)
    ]
    jobs = [" ".join(job) for _, job in _notes(log, "job")]
    # The reference first, in fp32, on whatever device is there; the others where it ran.
    assert jobs[:3] == ["fp32 1 7 None auto", "fp32 1 7 None cpu", "fp32 1 7 None cpu"]
    assert jobs[6:9] == ["fp32 1 7 None auto", "bf16 1 7 None cpu", "bf16 1 7 None cpu"]
    assert {m.facts["omp"] for m in report.measurements} == {"3"}


def test_figures_are_of_what_was_measured(log: Path) -> None:
    report = _bench("slow", "eager", seconds=0.3)
    slow, eager = report.measurements
    assert 0.02 <= slow.latency(50) < 0.2
    assert 2 / slow.images_per_second.median == pytest.approx(slow.latency(50), rel=0.5)
    assert slow.images_per_second.median < eager.images_per_second.median
    assert eager.over(slow).median == pytest.approx(1 / slow.over(eager).median)
    assert report.groups() == [[eager, slow]]
    assert report.problem() is None


# ---------------------------------------------------------------------------------- going wrong


def test_a_failing_backend_does_not_stop_the_others(log: Path) -> None:
    report = _bench("broken", "eager", "missing")
    assert [m.backend for m in report.measurements] == ["eager"]
    broken, missing = report.failures
    assert (broken.backend, broken.step, broken.kind) == ("broken", "prepare", "failed")
    assert broken.message == "ValueError: the abacus has a bead too many"
    assert (missing.kind, missing.step) == ("missing", "prepare")
    problem = report.problem()
    assert isinstance(problem, RunError)
    assert "broken (batch 2, fp32) failed to prepare: ValueError" in str(problem)
    assert "pip install abacus" in str(problem)


def test_only_missing_backends_end_in_exit_code_4(log: Path) -> None:
    problem = _bench("eager", "missing").problem()
    assert isinstance(problem, MissingError)
    assert problem.remedy == "pip install abacus"


def test_a_worker_that_is_killed_is_reported_by_name(log: Path) -> None:
    report = _bench("dies", "eager")
    assert [m.backend for m in report.measurements] == ["eager"]
    (failure,) = report.failures
    assert (failure.backend, failure.step) == ("dies", "run")
    assert "killed by SIGKILL" in failure.message
    assert failure.message.endswith("the last words")


def test_a_silent_worker_is_ended_with_all_it_started(log: Path) -> None:
    report = _bench("hangs", "eager", patience=8.0)
    (failure,) = report.failures
    assert failure.message == "no answer to `prepare` within 8 s"
    ((_, pids),) = _notes(log, "pids")
    assert _gone([int(pid) for pid in pids])
    assert [m.backend for m in report.measurements] == ["eager"]
    kinds = [line.split()[1] for line in log.read_text().splitlines()]
    hung = kinds[kinds.index("beat") : len(kinds) - kinds[::-1].index("beat")]
    assert set(hung) == {"beat"}  # it was ended before another began


def test_a_wrong_output_is_a_failed_check(log: Path) -> None:
    report = _bench("wrong", "eager", "nan")
    wrong, eager, nan = report.measurements
    assert wrong.parity == Parity(pytest.approx(6.9 / 4), 1e-4, 0.5)
    assert eager.parity == Parity(0.0, 1e-4, 1.0)
    assert not nan.parity.holds
    problem = report.problem()
    assert problem is not None
    assert problem.exit_code == 5
    assert "wrong (batch 2, fp32) differs from the reference by 1.7" in str(problem)


def test_an_output_of_another_shape_is_a_failed_check(log: Path) -> None:
    problem = _bench("shape", "eager").problem()
    assert problem is not None
    assert problem.exit_code == 5
    assert "(1, 3)" in str(problem)


def test_the_tolerance_depends_on_precision_and_tf32(log: Path) -> None:
    tolerance = {
        (precision, tf32): _bench("eager", precisions=(precision,), tf32=tf32)
        .measurements[0]
        .parity.tolerance
        for precision, tf32 in (("fp32", False), ("fp32", True), ("bf16", False))
    }
    assert tolerance[("fp32", False)] < tolerance[("fp32", True)] < tolerance[("bf16", False)]


def test_without_a_reference_nothing_is_measured(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(BACKENDS, "eager", "bench_fakes:Missing")
    with pytest.raises(MissingError, match="the abacus library is not installed") as caught:
        _bench("slow")
    assert caught.value.remedy == "pip install abacus"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batches": (0,)}, "at least one image"),
        ({"precisions": ("fp31",)}, "no precision 'fp31'; choose one of fp32"),
        ({"device": "tpu"}, "no device 'tpu'"),
        ({"layout": "spiral"}, "no layout 'spiral'"),
        ({"threads": 0}, "one thread"),
        ({"seconds": 0.0}, "above 0"),
        ({"rounds": 0}, "one round"),
    ],
)
def test_a_senseless_request_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        replace(QUICK, **changes)


def test_an_unknown_backend_is_refused_before_anything_starts(log: Path) -> None:
    with pytest.raises(UsageError, match="no backend 'eeger' to measure; did you mean eager"):
        _bench("eeger")
    assert not log.exists()


def _gone(pids: list[int]) -> bool:
    """Whether processes end within a few seconds; a zombie that nobody waits for counts."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if not any(_alive(pid) for pid in pids):
            return True
        time.sleep(0.05)
    return False


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_ctrl_c_ends_the_workers(log: Path) -> None:
    program = (
        "import sys; from resnetc.bench.backends import BACKENDS\n"
        "BACKENDS.update(eager='bench_fakes:Steady', hangs='bench_fakes:Hangs')\n"
        "from resnetc.cli.main import run\n"
        "sys.exit(run(['bench', 'resnet20', '--backends', 'eager,hangs', '--batch', '1']))"
    )
    bench = subprocess.Popen(
        [sys.executable, "-c", program], stderr=subprocess.PIPE, start_new_session=True, text=True
    )
    deadline = time.monotonic() + 60
    while not (log.exists() and _notes(log, "pids")) and time.monotonic() < deadline:
        time.sleep(0.05)
    ((_, pids),) = _notes(log, "pids")
    os.killpg(bench.pid, signal.SIGINT)
    _, told = bench.communicate(timeout=60)
    assert bench.returncode == 130
    assert "Traceback" not in told
    workers = {pid for pid, _ in _notes(log, "job")}
    assert _gone([int(pid) for pid in pids] + sorted(workers))


# ---------------------------------------------------------------------------------- the command


def _command(*options: str) -> int:
    quick = ["--batch", "2", "--seconds", "0.06", "--rounds", "3", "--threads", "1"]
    return run(["bench", "resnet20", *quick, *options])


def test_the_command_prints_a_table(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _command("--backends", "eager,slow") == 0
    printed = capsys.readouterr()
    rows = [line.split() for line in printed.out.splitlines()]
    assert any(row[:2] == ["1", "eager"] and "1.00" in row for row in rows)
    assert any(row[:2] == ["2", "slow"] for row in rows)
    assert "batch 2, fp32 on cpu, 1 threads" in printed.out
    assert "fake 1" in printed.out
    assert "slow ready in" in printed.err


def test_the_command_writes_json(
    log: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    out = tmp_path / "deep" / "bench.json"
    assert _command("--backends", "eager,slow,abacus", "--json", "--out", str(out)) == 0
    document = json.loads(capsys.readouterr().out)
    assert document == json.loads(out.read_text())
    assert [result["backend"] for result in document["results"]] == ["eager", "slow", "abacus"]
    order = document["ranking"][0]["order"]
    assert [entry["backend"] for entry in order] == ["eager", "slow"]
    assert order[0]["speed_over_eager"]["median"] == 1.0
    assert document["ranking"][1]["device"] == "abacus"
    assert document["network"] == "resnet20"
    assert document["weights"] == "random, seed 0"
    assert document["machine"]["cores"] >= 1
    assert "torch" in document["versions"]
    assert document["failures"] == []
    assert "hostname" not in out.read_text()
    assert str(Path.home()) not in out.read_text()


@pytest.mark.parametrize(
    ("backends", "code"),
    [
        ("eager,missing", 4),
        ("eager,broken", 1),
        ("eager,broken,missing", 1),
        ("eager,wrong", 5),
        ("eager,wrong,missing", 1),
        ("eeger", 2),
        (",", 2),
    ],
)
def test_exit_codes(
    log: Path, capsys: pytest.CaptureFixture[str], backends: str, code: int
) -> None:
    assert _command("--backends", backends) == code
    printed = capsys.readouterr()
    assert "Traceback" not in printed.err
    if code != 2:
        assert "eager" in printed.out  # what did run is reported all the same


@pytest.mark.parametrize("options", [("--batch", "1,x"), ("--batch", "0"), ("--rounds", "0")])
def test_bad_options_are_usage_errors(log: Path, options: tuple[str, ...]) -> None:
    assert run(["bench", "resnet20", *options]) == 2
    assert not log.exists()


def test_a_network_that_is_not_there(log: Path) -> None:
    assert run(["bench", "resnet21"]) == 2
    assert not log.exists()


# ------------------------------------------------------------------------------- the real backends

REAL = ("--batch", "2", "--seconds", "0.2", "--rounds", "2", "--device", "cpu", "--threads", "1")


def test_eager_and_onnxruntime_agree(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bench", "resnet20", "--backends", "eager,onnxruntime", *REAL, "--json"]) == 0
    eager, ort = json.loads(capsys.readouterr().out)["results"]
    assert eager["parity"]["relative_error"] < 1e-6
    assert 0 < ort["parity"]["relative_error"] < 1e-4
    assert ort["provider"] == "CPUExecutionProvider"
    assert ort["runtime"].startswith("onnxruntime ")
    assert (eager["layout"], eager["threads"]) == ("channels_last", 1)
    assert (ort["tf32"], ort["threads"]) == (False, 1)


def test_what_a_backend_cannot_do_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    """onnxruntime's CPU provider has no bf16 convolution; eager torch has, and is reported."""
    backends = ["--backends", "eager,onnxruntime", "--precision", "bf16"]
    assert run(["bench", "resnet20", *backends, *REAL, "--json"]) == 1
    printed = capsys.readouterr()
    document = json.loads(printed.out)
    assert [result["backend"] for result in document["results"]] == ["eager"]
    assert 1e-4 < document["results"][0]["parity"]["relative_error"] < 0.05
    assert "has no kernel for this network in bf16" in printed.err


@pytest.mark.skipif(Path("/dev/nvidiactl").exists(), reason="there is a GPU here")
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_openvino_computes_in_what_was_asked_for(
    capsys: pytest.CaptureFixture[str], precision: str
) -> None:
    """Without instructions for bf16 it computes in fp32, which is no figure of bf16."""
    asked = ["--backends", "openvino", "--precision", precision]
    code = run(["bench", "resnet20", *asked, *REAL, "--json"])
    said = capsys.readouterr()
    if precision == "bf16" and {"avx512_bf16", "amx_bf16"}.isdisjoint(instruction_sets()):
        assert code == 1
        assert "openvino computes in f32 on this processor, not in bf16" in said.err
        return
    assert code == 0
    (found,) = json.loads(said.out)["results"]
    assert found["runtime"].startswith("openvino ")
    assert found["computes_in"] == {"fp32": "f32", "bf16": "bf16"}[precision]
    error = found["parity"]["relative_error"]
    assert (0 < error < 1e-5) if precision == "fp32" else (1e-4 < error < 0.05)


@pytest.mark.parametrize(("rounds", "heading"), [("2", "50 %"), ("10", "98 %")])
def test_an_interval_is_headed_by_the_confidence_it_has(
    rounds: str, heading: str, log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _command("--backends", "eager", "--rounds", rounds) == 0
    (head,) = (line for line in capsys.readouterr().out.splitlines() if "images/s" in line)
    assert heading in head


def test_what_a_deployment_says_and_is_not_measured_is_told(
    tmp_path: Path, log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "dep.rnet").write_text(
        "rnet 1\n\n## A classifier.\nnetwork tiny {\n  input 1x8x8\n"
        "  flatten -> fc: linear(2)\n}\n\n"
        'deploy cpu {\n  network = tiny\n  target = "onnx"\n  batch = 4\n'
        '  precision { layers = "int8"  keep = ["fc"] }\n}\n'
    )
    asked = ["bench", f"{tmp_path}/dep.rnet:cpu", "--backends", "eager", "--seconds", "0.01"]
    asked += ["--rounds", "1"]
    assert run([*asked, "--batch", "1"]) == 0
    said = (
        "though the deployment cpu says so: precision int8, keep fc, batch 4; measured is fp32 at"
    )
    assert f"{said} batch 1 (--precision, --batch)" in capsys.readouterr().err
    assert run([*asked, "--batch", "4"]) == 0
    assert "says so: precision int8, keep fc; measured" in capsys.readouterr().err


@pytest.mark.parametrize(("backend", "device"), [("tensorrt", "cpu"), ("onnxruntime", "cuda")])
def test_without_a_gpu_the_remedy_is_told(
    capsys: pytest.CaptureFixture[str], backend: str, device: str
) -> None:
    arguments = ["bench", "resnet20", "--backends", backend, *REAL, "--device", device]
    assert run(arguments) == 4
    assert "GPU" in capsys.readouterr().err


def test_weights_from_a_file_are_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from resnetc.backends.random_weights import random_weights
    from resnetc.backends.weights import write_weights
    from resnetc.driver import load

    path = tmp_path / "some.safetensors"
    write_weights(path, random_weights(load("resnet20").graph, seed=5))
    assert run(["bench", "resnet20", "--backends", "eager", "--weights", str(path), *REAL]) == 0
    assert "some.safetensors" in capsys.readouterr().out
    path.write_bytes(path.read_bytes()[:1000])
    assert run(["bench", "resnet20", "--backends", "eager", "--weights", str(path), *REAL]) == 1
    assert "some.safetensors" in capsys.readouterr().err


@pytest.mark.slow
def test_torch_compile_agrees(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bench", "resnet20", "--backends", "compile", *REAL, "--json"]) == 0
    (compiled,) = json.loads(capsys.readouterr().out)["results"]
    assert compiled["parity"]["relative_error"] < 1e-4
    assert compiled["mode"].startswith("torch.compile")
