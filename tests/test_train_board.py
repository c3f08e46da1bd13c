"""TensorBoard's events are the rows of metrics.jsonl, however often a run is stopped."""

from __future__ import annotations

import importlib.util
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tiny_networks import spec_file, tiny

from resnetc.cli.main import run
from resnetc.train import StoppedError, TrainOptions, train
from resnetc.train.board import Board
from resnetc.train.metrics import Row
from resnetc.train.metrics import read as read_metrics
from resnetc.train.stop import StopRequest
from resnetc.train.trainer import Trainer

QUICK = TrainOptions(
    data="digits", threads=1, progress=False, device="cpu", batch=32, iterations=12, log_every=2
)
Points = dict[str, list[tuple[int, float]]]


def _shown(folder: Path) -> Points:
    """What TensorBoard shows, after it has dropped what was taken back."""
    events = EventAccumulator(str(folder))
    events.Reload()
    tags: list[str] = events.Tags()["scalars"]
    return {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in tags}


def _of_rows(rows: list[Row]) -> Points:
    points: Points = {}
    for row in rows:
        for name, value in asdict(row).items():
            if name not in ("kind", "step") and value is not None:
                points.setdefault(f"{row.kind}/{name}", []).append((row.step, value))
    return points


def _same(shown: Points, expected: Points) -> None:
    assert shown.keys() == expected.keys()
    for tag, points in expected.items():
        assert [step for step, _ in shown[tag]] == [step for step, _ in points], tag
        values = [value for _, value in points]
        assert [value for _, value in shown[tag]] == pytest.approx(values, rel=1e-6), tag


def test_a_run_that_is_stopped_and_gone_on_with_shows_every_step_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net, out = tiny(tmp_path), tmp_path / "run"
    options = replace(QUICK, out=out, tensorboard=True, resume=True, checkpoint_every=4)
    must_stop, save = Trainer._must_stop, Trainer._save

    def at_seven(self: Trainer, stop: StopRequest) -> bool:
        stop.signal = 15 if self.state.step == 7 else 0
        return must_stop(self, stop)

    def unless_at_seven(self: Trainer) -> None:
        if self.state.step != 7:  # as if killed: the rows of step 6 come a second time
            save(self)

    monkeypatch.setattr(Trainer, "_must_stop", at_seven)
    monkeypatch.setattr(Trainer, "_save", unless_at_seven)
    with pytest.raises(StoppedError):
        train(net, options)
    _same(_shown(out / "tensorboard"), _of_rows(read_metrics(out / "metrics.jsonl")))
    assert len(_shown(out / "tensorboard")["train/loss"]) == 3
    monkeypatch.undo()
    train(net, options)
    rows = read_metrics(out / "metrics.jsonl")
    assert [row.step for row in rows if row.kind == "train"] == [2, 4, 6, 8, 10, 12]
    _same(_shown(out / "tensorboard"), _of_rows(rows))
    assert {"train/lr", "train/loss", "test/error", "test/error_top5"} <= _of_rows(rows).keys()


def test_a_row_is_on_the_disk_at_once_and_a_loss_that_is_not_finite_is_left_out(
    tmp_path: Path,
) -> None:
    board = Board(tmp_path, 0)
    board.add(Row("test", 3, 0.5, None, 0.25))
    _same(_shown(tmp_path), {"test/epoch": [(3, 0.5)], "test/error": [(3, 0.25)]})
    board.close()


def test_without_the_package_the_command_that_brings_it_is_said_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    find = importlib.util.find_spec

    def without(name: str, *more: Any) -> Any:
        return None if name == "tensorboard" else find(name, *more)

    monkeypatch.setattr(importlib.util, "find_spec", without)
    asked = ["train", f"{spec_file(tmp_path)}:tiny", "--data", "digits", "--tensorboard"]
    assert run([*asked, "--out", str(tmp_path / "run")]) == 4
    assert "pip install 'resnetc[tensorboard]'" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_only_runs_that_are_asked_to_write_events(tmp_path: Path) -> None:
    train(tiny(tmp_path), replace(QUICK, out=tmp_path / "run", iterations=1))
    assert not (tmp_path / "run/tensorboard").exists()
