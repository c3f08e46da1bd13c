"""`resnetc build`: one command from a spec to artefacts that agree."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from safetensors.torch import load_file

import resnetc
from resnetc.cli.main import run

SPEC = "specs/digits.rnet:digits_plain14"


@pytest.fixture(autouse=True)
def _in_a_new_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_spec_alone_gives_source_and_report() -> None:
    assert run(["build", "resnet20", "--set", "classes=7"]) == 0
    folder = Path("build/resnet20")
    report = json.loads((folder / "report.json").read_text())
    assert report["cost"]["params"] == resnetc.load("resnet20", classes=7).cost.params
    assert report["settings"] == {"classes": "7"}
    scope: dict[str, object] = {}
    exec(compile((folder / "export/resnet20.py").read_text(), "resnet20.py", "exec"), scope)
    factory = scope["resnet20"]
    assert callable(factory)
    assert factory()(torch.zeros(1, 3, 32, 32)).shape == (1, 7)


def test_training_then_exports_then_the_same_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--train", "--data", "digits", "--iterations", "12", "--quiet", "--out", "run"]
    assert run(["build", SPEC, *arguments, "--export", "torch,onnx"]) == 0
    assert "everything lies in run" in capsys.readouterr().out
    net = resnetc.load(SPEC)
    weights = load_file("run/weights.safetensors")
    module = net.to_torch()
    module.load_state_dict(weights, strict=True)
    images = torch.randn(5, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    session = onnxruntime.InferenceSession("run/export/digits_plain14.onnx")
    (name,) = (port.name for port in session.get_inputs())
    (logits,) = session.run(None, {name: images.numpy()})
    with torch.no_grad():
        expected = module.eval()(images).numpy()
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--lr", "0.1"], 2, "--lr would have no effect without --train"),
        (["--contiguous"], 2, "--channels-last/--contiguous would have no effect"),
        (["--train", "--weights", "w.safetensors"], 2, "give one of the two"),
        (["--weights", "w.safetensors"], 2, "w.safetensors: there is no such file"),
        (["--export", "tensorflow"], 2, "tensorflow"),
        (["--train", "--data", "nonsense"], 2, "nonsense"),
        (["--train", "--data", "cifar10:nowhere.tar.gz"], 4, "nowhere.tar.gz"),
    ],
)
def test_mistakes(
    arguments: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["build", "resnet20", *arguments]) == code
    errors = capsys.readouterr().err
    assert message in errors
    assert "Traceback" not in errors


def test_weights_of_a_run_bring_the_classes_it_bound(capsys: pytest.CaptureFixture[str]) -> None:
    spec = "specs/digits.rnet:digits_net"
    bound = ["--set", "depth=8", "--set", "classes=4"]
    train = ["--data", "digits", "--iterations", "2", "--quiet", "--out", "run", "--threads", "1"]
    assert run(["train", spec, *bound, *train]) == 0
    capsys.readouterr()
    export = ["export", spec, "--set", "depth=8", "--weights"]
    assert run([*export, "run", "--out", "a"]) == 0
    assert run([*export, "run/weights.safetensors", "--out", "b"]) == 0
    assert "classes=10, as in the run of the weights" in capsys.readouterr().err
    assert run([*export, "run", "--set", "classes=3", "--out", "c"]) == 2
    assert "fc.weight is 10x64 and should be 3x64" in capsys.readouterr().err
    Path("run/lock.json").write_text("[]")
    assert run([*export, "run", "--out", "d"]) == 1
    assert "run/lock.json: not a run's lock file" in capsys.readouterr().err
