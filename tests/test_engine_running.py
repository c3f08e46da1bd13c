"""Engines that are run, with a stand-in for the library: what it computes the test says."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from fake_tensorrt import FakeTensorrt, with_tensorrt

import resnetc
from resnetc.backends.random_weights import random_weights
from resnetc.backends.tensorrt import running
from resnetc.backends.tensorrt.running import EngineRunner
from resnetc.cli.main import run
from resnetc.train.scorers import EngineScorer

Arrays = dict[str, np.ndarray]
ASKED = ["--weights", "random", "--library", "tensorrt", "--to", "tensorrt"]


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeTensorrt:
    """The library on a machine with a GPU, whose memory is the host's. It computes resnet20."""
    fake = with_tensorrt(monkeypatch, "11.0.0")
    monkeypatch.setattr(running, "DEVICE", "cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    stream = SimpleNamespace(cuda_stream=0, synchronize=lambda: None)
    monkeypatch.setattr(torch.cuda, "Stream", lambda: stream)
    net = resnetc.load("resnet20")
    weights = random_weights(net.graph)
    module = net.to_torch().eval()
    state = {path: torch.from_numpy(np.array(weights[path])) for path in weights}
    module.load_state_dict(state, strict=False)

    def computes(given: Arrays) -> Arrays:
        with torch.inference_mode():
            return {"logits": module(torch.from_numpy(given["input"]).float()).numpy()}

    fake.asked["computes"] = computes
    return fake


def build(folder: Path, *flags: str) -> Path:
    assert run(["export", "resnet20", *ASKED, *flags, "--out", str(folder)]) == 0
    (engine,) = folder.glob("*.engine")
    return engine


@pytest.mark.parametrize(
    ("flags", "batches"),
    [((), [32, 8]), (("--batch", "1..16"), [16, 16, 8]), (("--batch", "24"), [24, 24])],
)
def test_an_engine_is_run_in_the_batches_it_takes(
    flags: tuple[str, ...], batches: list[int], tmp_path: Path, fake: FakeTensorrt
) -> None:
    runner = EngineRunner(build(tmp_path, *flags), "tensorrt")
    images = torch.randn(40, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    found = runner.infer({"input": images})
    assert fake.asked["batches"] == batches
    expected = fake.asked["computes"]({"input": images.numpy()})["logits"]
    np.testing.assert_allclose(found["logits"], expected, rtol=1e-4, atol=1e-4)


def test_half_precision_at_the_ends(tmp_path: Path, fake: FakeTensorrt) -> None:
    engine = build(tmp_path, "--precision", "fp16", "--inputs", "fp16")
    runner = EngineRunner(engine, "tensorrt")
    images = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    found = runner.infer({"input": images})["logits"]
    assert found.dtype is torch.float32
    expected = fake.asked["computes"]({"input": images.numpy()})["logits"]
    assert 0 < np.abs(found.numpy() - expected).max() < 1e-2 * np.abs(expected).max()


def test_verify_runs_engines_where_a_gpu_is(
    tmp_path: Path, fake: FakeTensorrt, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = build(tmp_path)
    asked = ["verify", "resnet20", "--weights", "random", "--backends", "eager"]
    capsys.readouterr()
    assert run([*asked, "--engine", str(engine)]) == 0
    shown = capsys.readouterr().out
    assert "  tensorrt fp32      logits   max abs" in shown
    assert "not run" not in shown
    right = fake.asked["computes"]
    fake.asked["computes"] = lambda given: {"logits": right(given)["logits"] * 1.01}
    assert run([*asked, "--engine", str(engine)]) == 5
    assert "tensorrt fp32 differs by 0.01 on logits" in capsys.readouterr().err


def test_without_a_gpu_an_engine_is_not_run_and_that_is_said(
    tmp_path: Path,
    fake: FakeTensorrt,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    engine = build(tmp_path)
    monkeypatch.setattr("resnetc.backends.tensorrt.library.gpu_present", lambda: False)
    asked = ["verify", "resnet20", "--weights", "random", "--backends", "eager"]
    capsys.readouterr()
    assert run([*asked, "--engine", str(engine)]) == 0
    shown = capsys.readouterr().out
    assert "resnet20.engine  run       not run: there is no NVIDIA GPU here" in shown
    assert "tensorrt fp32" not in shown


def test_an_engine_judges(
    tmp_path: Path, fake: FakeTensorrt, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    scorer = EngineScorer(build(tmp_path), resnetc.load("resnet20").graph)
    images = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    expected = fake.asked["computes"]({"input": images.numpy()})["logits"]
    np.testing.assert_allclose(scorer.scores(images), expected, rtol=1e-4, atol=1e-4)
