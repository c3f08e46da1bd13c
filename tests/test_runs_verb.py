"""`resnetc runs`: what lies under runs/, and what differs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiny_networks import spec_file

from resnetc.cli.main import run
from resnetc.diagnostics import RunError, UsageError
from resnetc.history import differences, find_run, list_runs, read_run, settings
from resnetc.train.trainer import Trainer


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """runs/tiny/one, finished; runs/tiny/two, of another seed and rate; runs/dropping/one, cut."""
    folder = tmp_path_factory.mktemp("home")
    spec, root = spec_file(folder), folder / "runs"
    common = ["--iterations", "4", "--threads", "1", "--device", "cpu", "--quiet"]
    common += ["--checkpoint-every", "2", "--out"]
    assert run(["train", f"{spec}:tiny", *common, str(root / "tiny/one")]) == 0
    other = ["--seed", "1", "--lr", "0.2"]
    assert run(["train", f"{spec}:tiny", *common, str(root / "tiny/two"), *other]) == 0
    assert run(["train", f"{spec}:dropping", *common, str(root / "dropping/one")]) == 0
    (root / "dropping/one/report/summary.json").unlink()
    (root / "begun").mkdir()
    (root / "begun/lock.json").write_text("{")
    return root


def test_runs_are_listed_with_how_they_stand(home: Path) -> None:
    states = {str(r.path.relative_to(home)): r.state for r in list_runs(home)}
    assert states == {
        "begun": "begun",
        "dropping/one": "unfinished",
        "tiny/one": "finished",
        "tiny/two": "finished",
    }
    one = read_run(home / "tiny/one")
    summary = json.loads((home / "tiny/one/report/summary.json").read_text())
    assert (one.network, one.data, one.iterations, one.step) == ("tiny", "digits", 4, 4)
    assert one.error == summary["test_error"]
    assert one.best_error == summary["best_error"]
    cut = read_run(home / "dropping/one")
    assert cut.error is not None
    assert list_runs(home / "nowhere") == []


def test_a_damaged_lock_is_told_and_the_others_are_listed(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["runs", "list", "--runs", str(home)]) == 0
    shown = capsys.readouterr()
    assert f"warning: {home / 'begun/lock.json'}: not JSON" in shown.err
    assert len(shown.out.splitlines()) == 5
    assert "unfinished  4 of 4" in shown.out
    assert run(["runs", "list", "--runs", str(home), "--json"]) == 0
    found = {each["run"]: each for each in json.loads(capsys.readouterr().out)}
    assert found[str(home / "tiny/two")]["seed"] == 1
    assert "not JSON" in found[str(home / "begun")]["trouble"]


def test_an_error_is_the_last_one_whole_in_the_metrics(home: Path, tmp_path: Path) -> None:
    """A run that is going on may be cut off in the middle of a line."""
    folder = tmp_path / "going"
    folder.mkdir()
    (folder / "lock.json").write_text((home / "tiny/one/lock.json").read_text())
    rows = [{"kind": "test", "error": e} for e in (0.5, 0.2, 0.3)]
    lines = "\n".join([*map(json.dumps, rows), '{"kind": "test", "err'])
    (folder / "metrics.jsonl").write_text(lines)
    found = read_run(folder)
    assert (found.error, found.best_error, found.state) == (0.3, 0.2, "begun")


def test_what_differs_is_what_was_decided_otherwise(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, two = read_run(home / "tiny/one"), read_run(home / "tiny/two")
    assert differences(one, two) == {
        "seed": ("0", "1"),
        "recipe.optimizer.lr": ("0.1", "0.2"),
    }
    assert differences(one, one) == {}
    assert run(["runs", "compare", "tiny/one", "two", "--runs", str(home)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].split() == ["recipe.optimizer.lr", "0.1", "0.2"]
    assert run(["runs", "compare", "two", "two", "--runs", str(home)]) == 0
    assert "the same in every setting" in capsys.readouterr().out
    assert run(["runs", "compare", "tiny/one", "dropping/one", "--json", "--runs", str(home)]) == 0
    found = json.loads(capsys.readouterr().out)["differences"]
    assert found["network.name"] == ["tiny", "dropping"]


def test_a_run_is_shown_with_every_setting(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["runs", "show", "two", "--runs", str(home)]) == 0
    shown = capsys.readouterr().out
    assert "finished, 4 iterations" in shown
    assert "recipe.optimizer.momentum" in shown
    assert run(["runs", "show", str(home / "tiny/two"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["settings"] == settings(read_run(home / "tiny/two"))


def test_how_a_run_ended_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One that diverged, one that was interrupted and then gone on with, one that failed."""
    spec, root = f"{spec_file(tmp_path)}:tiny", tmp_path / "runs"
    common = ["train", spec, "--iterations", "20", "--threads", "1", "--device", "cpu", "--quiet"]
    assert run([*common, "--lr", "1e30", "--log-every", "5", "--out", str(root / "far")]) == 1
    whole = Trainer._step

    def ending(event: Callable[[], None]) -> Callable[..., None]:
        def step(self: Trainer, images: Any, labels: Any) -> None:
            if self.state.step == 6:
                event()
            whole(self, images, labels)

        return step

    def fail() -> None:
        raise RunError("a cat on the keyboard")

    events = {"cut": lambda: os.kill(os.getpid(), signal.SIGTERM), "cat": fail}
    for name, event in events.items():
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(Trainer, "_step", ending(event))
            assert run([*common, "--out", str(root / name)]) == (130 if name == "cut" else 1)
    capsys.readouterr()
    assert run(["runs", "list", "--runs", str(root)]) == 0
    lines = capsys.readouterr().out.splitlines()[1:]
    for line, said in zip(lines, ("failed at 6", "interrupted at 7", "diverged at 5"), strict=True):
        assert said in line
    assert run(["runs", "show", str(root / "cat")]) == 0
    assert "a cat on the keyboard" in capsys.readouterr().out
    assert run(["runs", "compare", str(root / "cat"), str(root / "cut")]) == 0
    assert "interrupted at 7" in capsys.readouterr().out
    assert run(["runs", "list", "--runs", str(root), "--json"]) == 0
    told = {Path(each["run"]).name: each for each in json.loads(capsys.readouterr().out)}
    assert (told["cut"]["ended_at"], told["cut"]["state"]) == (7, "interrupted")
    assert run([*common, "--out", str(root / "cut"), "--resume"]) == 0
    assert read_run(root / "cut").standing == "finished"
    assert not (root / "cut/report/ending.json").exists()


def test_a_name_that_means_several_runs_or_none_is_refused(home: Path) -> None:
    with pytest.raises(UsageError, match=r"one may be .*dropping/one or .*tiny/one"):
        find_run("one", home)
    with pytest.raises(UsageError, match="there is no run three"):
        find_run("three", home)


def test_runs_are_listed_without_a_framework(home: Path) -> None:
    code = (
        "import sys; from resnetc.cli.main import run; run(['runs', 'list', '--runs', sys.argv[1]])"
        "; print([m for m in ('torch', 'numpy', 'onnx') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(home)], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"
