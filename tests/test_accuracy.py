"""benchmarks/accuracy.py on a network that is trained in seconds."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from benchmark_scripts import FOLDER, benchmark_script

from resnetc.driver import load
from resnetc.quantization import Labelled
from resnetc.train import TrainOptions, train

SPEC = """rnet 1

network tiny {
  input 1x8x8
  conv1: conv(3x3, 8) -> bn1: norm -> act
  layer1: residual { conv1: conv(3x3, 8) -> bn1: norm }
  conv2: conv(3x3, 16, stride=2) -> bn2: norm -> act
  gap -> flatten -> fc: linear(10)
}

recipe short {
  data = digits
  augment = [subtract_mean]
  batch = 32
  iterations = 150
  optimizer = sgd(lr=0.1)
}
"""


@pytest.fixture(scope="module")
def accuracy() -> ModuleType:
    return benchmark_script("accuracy")


def test_every_precision_is_judged_by_all_test_images(accuracy: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "tiny.rnet").write_text(SPEC)
    net = load(f"{tmp_path}/tiny.rnet:tiny")
    train(net, TrainOptions(out=tmp_path / "run", progress=False, workers=0, threads=1))
    found = accuracy.judge(net, tmp_path / "run", tmp_path)
    judged = found["accuracy"]
    assert found["judged_by"] == "360 test images of digits"
    assert found["calibration_images"] == 512
    assert {name.split()[0] for name in judged} >= {"torch", "onnxruntime", "openvino"}
    assert judged["torch fp32"]["top1"] > 0.7, "it has learned"
    assert judged["torch fp32"]["top1"] == judged["torch fp32"]["correct"] / 360
    for name, each in judged.items():
        assert each["agrees"] > 0.95, name
    assert judged["onnxruntime fp32"]["agrees"] == 1
    files = {path.stem for path in tmp_path.glob("*.onnx")}
    assert files >= {"fp32", "fp16", "bf16", "int8-entropy", "int8-percentile", "theirs"}
    assert found["int8_within_half_a_point"] == all(
        each["lost"] <= 0.5 for name, each in judged.items() if "onnxruntime int8" in name
    )
    told = accuracy.training_of(tmp_path / "run")
    assert (told["data"], told["iterations"], told["batch"]) == ("digits", 150, 32)


def test_what_is_lost_is_counted_against_the_first(accuracy: ModuleType) -> None:
    images = np.eye(4, dtype=np.float32)
    labels = np.array([0, 1, 2, 2])

    def batches(size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        yield images[:3], labels[:3]
        yield images[3:], labels[3:]

    found = accuracy.accuracies(
        {"exact": lambda x: x, "worse": lambda x: -x, "better": lambda x: x[:, [0, 1, 3, 2]]},
        Labelled(batches, 4, "four images"),
    )
    assert found["exact"] == {"top1": 0.75, "correct": 3, "lost": 0.0, "agrees": 1.0}
    assert found["worse"]["correct"] == 0  # `argmax` of what is negated: never the label
    assert found["worse"]["lost"] == 75.0
    assert found["better"] == {"top1": 0.75, "correct": 3, "lost": 0.0, "agrees": 0.5}


def test_the_page_says_what_was_measured() -> None:
    """The table of docs/precision.md holds the recorded figures."""
    recorded = json.loads((FOLDER / "results" / "accuracy.json").read_text())["results"]
    page = (FOLDER.parent / "docs" / "precision.md").read_text()
    rows = {
        cells[1].strip(): [cell.strip() for cell in cells[2:4]]
        for line in page.splitlines()
        if line.startswith("|") and "%" in line and len(cells := line.split("|")) == 5
    }
    names = list(recorded["resnet20"]["accuracy"])
    assert list(rows) == names
    for name, (fashion, digits) in rows.items():
        for said, network in ((fashion, "resnet20"), (digits, "digits_resnet14")):
            assert said == f"{100 * recorded[network]['accuracy'][name]['top1']:.2f} %"
    assert all(each["int8_within_half_a_point"] for each in recorded.values())
