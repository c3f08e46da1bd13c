"""Checkpoints: whole or refused; the newest whole one is found; the best is kept."""

from __future__ import annotations

import errno
import io
import json
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from resnetc.diagnostics import RunError, UsageError
from resnetc.train import checkpoint as checkpoints
from resnetc.train.checkpoint import PARTS, Checkpoint
from resnetc.train.metrics import Metrics, Row
from resnetc.train.metrics import read as read_metrics
from resnetc.train.progress import Bar, Lines, make_reporter
from resnetc.train.run_folder import RunFolder, choose_folder, compare

FILES = (*(f"{part}.safetensors" for part in PARTS), "state.json")


def _checkpoint(step: int, error: float | None = None) -> Checkpoint:
    generator = torch.Generator().manual_seed(step)
    weights = {
        "fc.weight": torch.randn(3, 4, generator=generator),
        "bn.num_batches_tracked": torch.tensor(step),
    }
    velocities = {"fc.weight": torch.randn(3, 4, generator=generator)}
    rng = {"cpu.0": torch.get_rng_state()}
    return Checkpoint(weights, velocities, rng, {"step": step, "error": error, "loss": 0.1 + 0.2})


def _no_warning(text: str) -> None:
    raise AssertionError(text)


def test_a_checkpoint_is_read_as_it_was_written(tmp_path: Path) -> None:
    written = _checkpoint(7, error=0.25)
    path = checkpoints.write(tmp_path, written)
    assert path.name == "step-00000007"
    assert sorted(file.name for file in path.iterdir()) == sorted(FILES)
    found = checkpoints.newest(tmp_path, _no_warning)
    assert found is not None
    assert found.step == 7
    assert found.state["loss"] == 0.1 + 0.2
    for part in PARTS:
        before, after = getattr(written, part), getattr(found, part)
        assert before.keys() == after.keys()
        assert all(torch.equal(before[name], after[name]) for name in before)
        assert all(before[name].dtype == after[name].dtype for name in before)


def test_there_may_be_none(tmp_path: Path) -> None:
    assert checkpoints.newest(tmp_path / "nothing", _no_warning) is None


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-3])


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("damage", [_truncate, _flip, _empty, Path.unlink])
def test_damage_is_noticed_and_the_one_before_is_taken(
    file: str, damage: Any, tmp_path: Path
) -> None:
    checkpoints.write(tmp_path, _checkpoint(1))
    newest = checkpoints.write(tmp_path, _checkpoint(2))
    damage(newest / file)
    with pytest.raises(RunError, match="step-00000002"):
        checkpoints.read(newest)
    said: list[str] = []
    found = checkpoints.newest(tmp_path, said.append)
    assert found is not None
    assert found.step == 1
    assert len(said) == 1
    assert "step-00000002" in said[0]


def test_when_all_are_damaged_the_newest_is_named(tmp_path: Path) -> None:
    for step in (1, 2):
        _empty(checkpoints.write(tmp_path, _checkpoint(step)) / "weights.safetensors")
    with pytest.raises(RunError, match=r"step-00000002.*no whole checkpoint"):
        checkpoints.newest(tmp_path, _no_warning)


def test_another_format_is_refused(tmp_path: Path) -> None:
    path = checkpoints.write(tmp_path, _checkpoint(1))
    state = json.loads((path / "state.json").read_text())
    del state["digest"]
    state["format"] = 99
    sealed = {**state, "digest": checkpoints._digest(state)}
    (path / "state.json").write_text(json.dumps(sealed))
    with pytest.raises(RunError, match="another version"):
        checkpoints.read(path)


def test_the_newest_few_and_the_best_are_kept(tmp_path: Path) -> None:
    for step, error in enumerate((0.9, 0.2, None, 0.5, 0.2, 0.4, 0.3)):
        checkpoints.write(tmp_path, _checkpoint(step, error))
        checkpoints.prune(tmp_path, keep=2)
    assert [path.name[-1] for path in checkpoints.found(tmp_path)] == ["6", "5", "4"]
    best = checkpoints.best(tmp_path)
    assert best is not None
    assert best.name == "step-00000004"


def test_what_a_kill_left_behind_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".step-00000003.abc.part").mkdir()
    checkpoints.write(tmp_path, _checkpoint(3))
    checkpoints.prune(tmp_path, keep=1)
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000003"]


def test_a_full_disk_leaves_the_checkpoint_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints.write(tmp_path, _checkpoint(1))
    whole = Path.write_bytes

    def full(self: Path, content: bytes) -> int:
        if self.name == "optimizer.safetensors":
            whole(self, content[:10])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return whole(self, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(RunError, match="disk is full"):
        checkpoints.write(tmp_path, _checkpoint(2))
    monkeypatch.undo()
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001"]
    assert checkpoints.newest(tmp_path, _no_warning) is not None


def test_ctrl_c_in_the_middle_of_a_write_leaves_the_checkpoint_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints.write(tmp_path, _checkpoint(1))

    def interrupted(self: Path, content: bytes) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "write_bytes", interrupted)
    with pytest.raises(KeyboardInterrupt):
        checkpoints.write(tmp_path, _checkpoint(2))
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001"]


# ---------------------------------------------------------------------------------- run folders


def test_runs_without_a_place_are_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    first, second = (choose_folder(None, "net", resume=False).path for _ in range(2))
    assert first != second
    assert first.parent == Path("runs/net")
    for name in ("20260101-000000-aa", "20260102-000000-aa"):
        (Path("runs/net") / name).mkdir(parents=True)
        (Path("runs/net") / name / "lock.json").write_text("{}")
    assert choose_folder(None, "net", resume=True).path.name == "20260102-000000-aa"


def test_nothing_is_written_over(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert choose_folder(tmp_path / "empty", "net", resume=False).path == tmp_path / "empty"
    run = tmp_path / "run"
    run.mkdir()
    (run / "lock.json").write_text("{}")
    with pytest.raises(UsageError, match="a run lies here already"):
        choose_folder(run, "net", resume=False)
    assert choose_folder(run, "net", resume=True).path == run
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.tex").write_text("")
    for resume in (False, True):
        with pytest.raises(UsageError, match="no run"):
            choose_folder(other, "net", resume=resume)
    with pytest.raises(UsageError, match="a file stands where"):
        choose_folder(other / "thesis.tex", "net", resume=True)


def test_a_lock_that_is_not_json_is_named(tmp_path: Path) -> None:
    (tmp_path / "lock.json").write_text("{")
    with pytest.raises(RunError, match=r"lock\.json: not JSON"):
        RunFolder(tmp_path).read_lock()


_SAME = {
    "graph": "g",
    "data": "d",
    "seed": 0,
    "recipe": {"batch": 4, "optimizer": {"lr": 0.1}},
    "versions": {"torch": "1"},
    "world_size": 1,
    "device": "cpu",
    "channels_last": False,
    "deterministic": True,
}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"graph": "h"}, "the network is another: g then, h now"),
        ({"data": "e"}, "the data set is another"),
        ({"seed": 1}, "the seed is another: 0 then, 1 now"),
        ({"recipe": {"batch": 8, "optimizer": {"lr": 0.1}}}, "batch is another: 4 then, 8 now"),
        (
            {"recipe": {"batch": 4, "optimizer": {"lr": 0.2}}},
            r"optimizer is another: \{\"lr\": 0.1\} then, \{\"lr\": 0.2\} now",
        ),
    ],
)
def test_a_changed_request_is_explained(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        compare(_SAME, {**_SAME, **change}, _no_warning)


def test_what_may_change_the_last_bits_is_a_warning() -> None:
    said: list[str] = []
    compare(_SAME, {**_SAME, "world_size": 2, "device": "gpu"}, said.append)
    assert len(said) == 2
    assert "number of processes: 1 then, 2 now" in said[0]
    compare(_SAME, dict(_SAME), _no_warning)


# -------------------------------------------------------------------------------------- metrics


def _row(step: int) -> Row:
    return Row("train", step, step / 10, 0.5, 0.25, lr=0.1, images_per_second=9.5, seconds=1.0)


DAMAGE: dict[str, Callable[[str], str]] = {
    "a line": lambda text: text.replace('"step": 2,', '"step": "two",'),
    "in the middle of a letter": lambda text: text.replace('"step": 2,', "\x00\xff"),
    "half of it": lambda text: text[: len(text) // 2],
    "all of it": lambda text: "meow\n",
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_metrics_are_made_whole_from_the_table(damage: str, tmp_path: Path) -> None:
    """A run is not held up by them: rows up to its checkpoint are kept, and it is said."""
    whole = Metrics(tmp_path, 0)
    for step in range(1, 7):
        whole.add(_row(step))
    whole.add(Row("test", 3, 0.2, None, 0.125, error_top5=0.0))
    path = tmp_path / "metrics.jsonl"
    path.write_text(DAMAGE[damage](path.read_text()), encoding="latin-1")
    said: list[str] = []
    again = Metrics(tmp_path, 5, say=said.append)
    assert again.rows == [*whole.rows[:3], whole.rows[6], *whole.rows[3:5]]
    assert len(said) == 1
    assert f"{path}: damaged; of the 6 rows that are kept" in said[0]
    assert read_metrics(path) == again.rows
    Metrics(tmp_path, 5, say=said.append)
    assert len(said) == 1


def test_damaged_metrics_without_a_table_lose_only_what_is_damaged(tmp_path: Path) -> None:
    whole = Metrics(tmp_path, 0)
    for step in range(1, 4):
        whole.add(_row(step))
    path = tmp_path / "metrics.jsonl"
    path.write_text(DAMAGE["a line"](path.read_text()))
    (tmp_path / "metrics.csv").unlink()
    said: list[str] = []
    assert [row.step for row in Metrics(tmp_path, 3, say=said.append).rows] == [1, 3]
    assert "of the 2 rows that are kept, 0 are taken from metrics.csv" in said[0]


def test_a_row_without_a_finite_loss_is_read_back(tmp_path: Path) -> None:
    Metrics(tmp_path, 0).add(Row("test", 2, 0.2, None, 0.125))
    assert [row.loss for row in read_metrics(tmp_path / "metrics.jsonl")] == [None]


def test_metrics_are_the_same_in_both_files(tmp_path: Path) -> None:
    metrics = Metrics(tmp_path, 0)
    metrics.add(_row(1))
    metrics.add(Row("test", 2, 0.2, 0.4, 0.125, error_top5=0.0))
    lines = (tmp_path / "metrics.csv").read_text().splitlines()
    assert lines[0].startswith("kind,step,epoch,loss,error,error_top5,lr,images_per_second")
    assert lines[1] == "train,1,0.1,0.5,0.25,,0.1,9.5,1.0"
    assert lines[2] == "test,2,0.2,0.4,0.125,0.0,,,"
    assert read_metrics(tmp_path / "metrics.jsonl") == metrics.rows


def test_rows_behind_the_checkpoint_are_dropped_on_resume(tmp_path: Path) -> None:
    metrics = Metrics(tmp_path, 0)
    for step in range(1, 6):
        metrics.add(_row(step))
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "train", "st')
    resumed = Metrics(tmp_path, 3)
    resumed.add(_row(4))
    assert [row.step for row in read_metrics(tmp_path / "metrics.jsonl")] == [1, 2, 3, 4]
    assert len((tmp_path / "metrics.csv").read_text().splitlines()) == 5


def test_a_full_disk_is_said_plainly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    metrics = Metrics(tmp_path, 0)

    def full(file: Any, text: str) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("resnetc.train.metrics._append", full)
    with pytest.raises(RunError, match=r"metrics\.csv: the disk is full"):
        metrics.add(_row(1))


# ------------------------------------------------------------------------------------- progress


def test_progress_without_a_terminal_is_lines(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = make_reporter(2000, speaks=True, shows_progress=True)
    assert isinstance(lines, Lines)
    lines.training(replace(_row(7), step=7), 1.0)
    monkeypatch.setattr(time, "monotonic", lambda: 1e9)
    lines.training(replace(_row(1500), step=1500), 3_725.4)
    lines.evaluation(Row("test", 1500, 1.0, None, 0.25), 0.1)
    said = capsys.readouterr().err.splitlines()
    assert said == [
        "  1,500/2,000  loss 0.5000  acc 75.00%  10 images/s  1:02:05 left  lr 0.1",
        "  1,500/2,000  test acc 75.00%  loss not finite",
    ]


def test_only_the_process_that_leads_speaks(capsys: pytest.CaptureFixture[str]) -> None:
    for speaks, shows in ((False, True), (True, False)):
        reporter = make_reporter(10, speaks=speaks, shows_progress=shows)
        reporter.training(_row(10), 0.0)
        reporter.evaluation(_row(10), 0.0)
        reporter.note("a note")
        reporter.close()
        assert capsys.readouterr().err == ("a note\n" if speaks else "")


def test_the_bar_shows_loss_accuracy_speed_and_time_left_in_80_columns() -> None:
    screen = io.StringIO()
    bar = Bar(64_000, Console(file=screen, width=80, force_terminal=True, color_system=None))
    bar.training(replace(_row(32_000), images_per_second=4_121.0), 12_345)
    bar.close()
    shown = screen.getvalue()
    assert "32000/64000 loss 0.5000  acc 75.00%  4,121 images/s  3:25:45 left" in shown
