"""`resnetc train` and `resnetc eval` at the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from tiny_networks import spec_file

from resnetc.cli.main import run


def test_the_verbs_print_for_readers_and_machines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec, out = f"{spec_file(tmp_path)}:tiny", tmp_path / "run"
    asked = ["--iterations", "4", "--threads", "1", "--device", "cpu", "--out", str(out)]
    assert run(["train", spec, "--data", "digits", *asked]) == 0
    shown = capsys.readouterr()
    assert "test accuracy" in shown.out
    assert str(out / "weights.safetensors") in shown.out
    assert "4 iterations instead of the recipe's 40" in shown.err
    assert "4/4" in shown.err
    assert run(["eval", spec, "--weights", str(out), "--threads", "1", "--json"]) == 0
    judged = json.loads(capsys.readouterr().out)
    summary = json.loads((out / "report/summary.json").read_text())
    assert judged == summary["test"]
    assert run(["eval", spec, "--weights", str(out), "--threads", "1"]) == 0
    assert "top-1" in capsys.readouterr().out
    assert run(["train", spec, *asked, "--resume", "--json", "--quiet"]) == 0
    assert json.loads(capsys.readouterr().out)["iterations"] == 4


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--data", "digts"], 2, "did you mean `digits`"),
        (["--iterations", "0"], 2, "iterations is 0"),
        (["--iterations", "x"], 2, "not a valid integer"),
        (["--recipe", "shrt"], 2, "did you mean `short`"),
        (["--device", "cuda:99"], 4, "--device cpu" if not torch.cuda.is_available() else "cuda"),
        (["--override", "batch=[1"], 3, "never closed"),
        (["--override", "augment=[random_crop(9)]"], 2, "does not fit into images of 8x8"),
        (["--workers", "-1"], 2, "must not be negative"),
        (["--set", "classes=7"], 0, ""),
    ],
)
def test_mistakes_are_said_plainly(
    arguments: list[str],
    code: int,
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    spec = f"{spec_file(tmp_path)}:tiny"
    common = ["--out", str(tmp_path / "run"), "--threads", "1"]
    length = [] if "--iterations" in arguments else ["--iterations", "2"]
    assert run(["train", spec, *common, *length, *arguments]) == code
    shown = capsys.readouterr()
    assert message in shown.err
    assert "Traceback" not in shown.err
    assert (tmp_path / "run").exists() == (code == 0)
