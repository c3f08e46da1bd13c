"""Runs that are stopped, and gone on with; requests that have changed meanwhile."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from quick_runs import QUICK, equal, steps_of, weights_of
from tiny_networks import spec_file, tiny

from resnetc.cli.main import run
from resnetc.diagnostics import UsageError
from resnetc.driver import Network
from resnetc.recipes import DataSet
from resnetc.train import StoppedError, runs, train
from resnetc.train import checkpoint as checkpoints
from resnetc.train.job import prepare
from resnetc.train.metrics import read as read_metrics
from resnetc.train.trainer import Trainer


@pytest.fixture
def net(tmp_path: Path) -> Network:
    return tiny(tmp_path)


def _stop_at(monkeypatch: pytest.MonkeyPatch, step: int, number: int) -> None:
    """Send this process a signal in the middle of a step."""
    whole = Trainer._step

    def interrupted(self: Trainer, images: torch.Tensor, labels: torch.Tensor) -> None:
        if self.state.step == step:
            os.kill(os.getpid(), number)
        whole(self, images, labels)

    monkeypatch.setattr(Trainer, "_step", interrupted)


@pytest.mark.parametrize(
    ("number", "error"),
    [
        (signal.SIGTERM, StoppedError),
        (signal.SIGUSR1, StoppedError),
        (signal.SIGINT, KeyboardInterrupt),
    ],
)
def test_a_run_that_is_stopped_goes_on_bit_for_bit(
    number: int,
    error: type[BaseException],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    net = tiny(tmp_path, "dropping")
    schedule = "schedule=[warmup(lr=0.01, until=train_error < 95%), step(at=[30])]"
    asked = replace(QUICK, log_every=3, overrides=(schedule,))
    whole = train(net, replace(asked, out=tmp_path / "whole"))
    out = tmp_path / "cut"
    handlers = [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)]
    _stop_at(monkeypatch, step=16, number=number)
    with pytest.raises(error) as stopped:
        train(net, replace(asked, out=out))
    assert [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)] == handlers
    assert "--resume" in str(stopped.value) + capsys.readouterr().err
    assert steps_of(out) == [10, 17]
    assert not (out / "weights.safetensors").exists()
    monkeypatch.undo()
    resumed = train(net, replace(asked, out=out, resume=True))
    assert equal(weights_of(out), weights_of(whole.run))
    assert resumed.test == whole.test
    rows = [
        [(r.kind, r.step, r.loss, r.lr) for r in read_metrics(p / "metrics.jsonl")]
        for p in (out, whole.run)
    ]
    assert rows[0] == rows[1]


def test_how_often_something_is_shown_changes_no_weight(
    net: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does it where the run is stopped between two tests of the condition, and goes on with
    other readings. Of 600 iterations the condition is tested every third."""
    schedule = "schedule=[warmup(lr=0.01, until=train_error < 80%)]"
    asked = replace(QUICK, iterations=600, overrides=(schedule, "eval_every=600"))
    runs = {every: tmp_path / str(every) for every in (1, 7, 600)}
    for every, out in runs.items():
        train(net, replace(asked, out=out, log_every=every))
    cut = replace(asked, out=tmp_path / "cut")
    _stop_at(monkeypatch, step=100, number=signal.SIGTERM)
    with pytest.raises(StoppedError):
        train(net, replace(cut, log_every=5))
    monkeypatch.undo()
    train(net, replace(cut, log_every=2, resume=True))
    kept = weights_of(runs[1])
    assert all(equal(weights_of(out), kept) for out in (runs[7], runs[600], tmp_path / "cut"))
    rates = [(row.step, row.lr) for row in read_metrics(runs[1] / "metrics.jsonl") if row.lr]
    warm = max(step for step, lr in rates if lr == 0.01)
    assert 100 < warm < 600
    assert warm % 3 == 0


def test_the_exit_code_of_a_stopped_run_is_130(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = f"{spec_file(tmp_path)}:tiny"
    for number in (signal.SIGTERM, signal.SIGINT):
        out = tmp_path / str(number)
        _stop_at(monkeypatch, step=4, number=number)
        assert run(["train", spec, "--out", str(out), "--threads", "1"]) == 130
        monkeypatch.undo()
        said = capsys.readouterr().err
        assert "at iteration 5 of 40" in said
        assert "--resume" in said
        assert "Traceback" not in said
        assert steps_of(out) == [5]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
def test_a_signal_before_the_first_step_ends_the_run_with_a_word(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = prepare

    def signalled(*asked: Any) -> Any:
        os.kill(os.getpid(), number)
        return whole(*asked)

    monkeypatch.setattr(runs, "prepare", signalled)
    out = tmp_path / "run"
    assert run(["train", f"{spec_file(tmp_path)}:tiny", "--out", str(out), "--threads", "1"]) == 130
    said = capsys.readouterr().err
    assert "Traceback" not in said
    name = signal.Signals(number).name
    wanted = f"stopped by {name} before its first step, with nothing to save yet"
    assert ("interrupted" if number == signal.SIGINT else wanted) in said
    assert not out.exists()


def test_a_signal_behind_the_last_step_leaves_a_run_to_go_on_with(
    net: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Trainer.conclude

    def signalled(self: Trainer) -> Any:
        os.kill(os.getpid(), signal.SIGTERM)
        return whole(self)

    options = replace(QUICK, out=tmp_path / "run", iterations=4)
    monkeypatch.setattr(Trainer, "conclude", signalled)
    with pytest.raises(StoppedError, match="SIGTERM behind its last step, with a checkpoint"):
        train(net, options)
    monkeypatch.undo()
    assert train(net, replace(options, resume=True)).iterations == 4


def test_resume_starts_where_there_is_nothing_to_go_on_from(net: Network, tmp_path: Path) -> None:
    result = train(net, replace(QUICK, out=tmp_path / "run", iterations=3, resume=True))
    assert result.iterations == 3
    again = train(net, replace(QUICK, out=tmp_path / "run", iterations=3, resume=True))
    assert again.test == result.test


def test_a_run_is_not_written_over(net: Network, tmp_path: Path) -> None:
    options = replace(QUICK, out=tmp_path / "run", iterations=2)
    train(net, options)
    before = (tmp_path / "run/weights.safetensors").read_bytes()
    with pytest.raises(UsageError, match="a run lies here already"):
        train(net, options)
    assert (tmp_path / "run/weights.safetensors").read_bytes() == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 1}, "the seed is another: 0 then, 1 now"),
        ({"batch": 16}, "batch is another: 32 then, 16 now"),
        ({"iterations": 8}, "iterations is another: 4 then, 8 now"),
        ({"lr": 0.05}, "optimizer is another"),
        ({"data": "synthetic"}, "the data set is another"),
    ],
)
def test_a_changed_request_is_not_gone_on_with(
    change: dict[str, Any], message: str, net: Network, tmp_path: Path
) -> None:
    options = replace(QUICK, out=tmp_path / "run", iterations=4)
    train(net, options)
    with pytest.raises(UsageError, match=message):
        train(net, replace(options, resume=True, **change))


@pytest.mark.parametrize(
    ("now", "said"),
    [
        ((600, 837), "600 images to train on, 837 for"),
        ((1_000, None), "1,000 images to train on, 0"),
    ],
)
def test_a_changed_split_is_not_gone_on_with(
    now: tuple[int, int | None], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, other = (_split(tmp_path, *parts) for parts in ((1_200, 237), now))
    options = replace(QUICK, data=None, out=tmp_path / "run", iterations=6)
    _stop_at(monkeypatch, step=3, number=signal.SIGTERM)
    with pytest.raises(StoppedError):
        train(first, options)
    monkeypatch.undo()
    with pytest.raises(UsageError) as refused:
        train(other, replace(options, resume=True))
    assert "another: 1,200 images to train on, 237 for validation then" in str(refused.value)
    assert said in str(refused.value)
    assert train(first, replace(options, resume=True)).iterations == 6


def _split(folder: Path, images: int, val: int | None) -> Network:
    """The tiny network, its recipe with a split of the digits."""
    net = tiny(folder)
    recipe = replace(net.recipes["short"], data=DataSet("digits", images, val))
    return replace(net, recipes={"short": recipe})


def test_a_checkpoint_that_records_less_is_gone_on_from(net: Network, tmp_path: Path) -> None:
    """Those of versions that had no word for it."""
    out = tmp_path / "run"
    train(net, replace(QUICK, out=out, iterations=4))
    kept = checkpoints.read(checkpoints.place(out / "checkpoints", 4))
    del kept.state["identity"]["split"]
    del kept.state["identity"]["recipe"]["optimizer"]["decay_linear"]
    del kept.state["files"], kept.state["format"]
    checkpoints.write(out / "checkpoints", kept)
    assert train(net, replace(QUICK, out=out, iterations=4, resume=True)).iterations == 4


def test_a_changed_network_is_not_gone_on_with(net: Network, tmp_path: Path) -> None:
    options = replace(QUICK, out=tmp_path / "run", iterations=2)
    train(net, options)
    with pytest.raises(UsageError, match="the network is another"):
        train(tiny(tmp_path, "dropping"), replace(options, resume=True))


def test_a_damaged_checkpoint_is_passed_over_with_a_warning(
    net: Network, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = train(net, replace(QUICK, out=tmp_path / "whole"))
    out = tmp_path / "run"
    train(net, replace(QUICK, out=out))
    path = out / "checkpoints/step-00000040/weights.safetensors"
    path.write_bytes(path.read_bytes()[:-8])
    train(net, replace(QUICK, out=out, resume=True))
    assert "step-00000040/weights.safetensors: truncated" in capsys.readouterr().err
    assert equal(weights_of(out), weights_of(whole.run))
