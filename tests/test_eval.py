"""Judging: ten crops, whole images at several sizes, ensembles, ONNX files."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from spec_files import Folder
from tiny_networks import tiny
from torch import Tensor, nn

from resnetc.cli.main import run
from resnetc.diagnostics import MissingError, UsageError
from resnetc.driver import Network, load
from resnetc.train import EvaluateOptions, TrainOptions, TrainResult, evaluate, train
from resnetc.train import checkpoint as checkpoints
from resnetc.train.evaluation import Mode
from resnetc.train.looks import ten_crops
from resnetc.train.scorers import ModuleScorer

QUICK = TrainOptions(
    data="digits", threads=1, progress=False, deterministic=True, device="cpu", batch=32
)
JUDGE = EvaluateOptions(data="digits", threads=1, device="cpu")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("judged")


@pytest.fixture(scope="module")
def runs(home: Path) -> list[TrainResult]:
    """Two runs of one network and one of another."""
    quick = replace(QUICK, iterations=30)
    return [
        train(tiny(home), replace(quick, out=home / "one", seed=1)),
        train(tiny(home), replace(quick, out=home / "two", seed=2)),
        train(tiny(home, "plain_tiny"), replace(quick, out=home / "other")),
    ]


def test_a_runs_folder_is_network_and_weights(
    runs: list[TrainResult], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["eval", str(runs[2].run), "--device", "cpu", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found == evaluate(runs[2].network, runs[2].run, JUDGE).to_json()
    for asked, said in ((["tiny"], "--weights"), ([str(runs[2].run), "--set", "a=1"], "leave out")):
        assert run(["eval", *asked]) == 2
        assert said in capsys.readouterr().err


def test_a_run_that_has_not_ended_names_its_checkpoints(
    home: Path, runs: list[TrainResult], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cut = tmp_path / "cut"
    shutil.copytree(runs[0].run, cut)
    (cut / "weights.safetensors").unlink()
    assert run(["eval", str(cut), "--device", "cpu"]) == 2
    said = capsys.readouterr().err
    assert "no weights.safetensors, for the run has not ended" in said
    best = checkpoints.best(cut / "checkpoints")
    assert f"{cut / 'checkpoints/step-00000030'}, the last" in said
    assert str(best) in said
    spec = runs[0].network.reference
    assert run(["eval", spec, "--weights", str(best), "--device", "cpu"]) == 0


def test_what_is_no_weights_is_said(
    runs: list[TrainResult], capsys: pytest.CaptureFixture[str]
) -> None:
    spec = runs[0].network.reference
    assert run(["eval", spec, "--weights", str(runs[0].run / "lock.json")]) == 2
    assert "lock.json: these are no weights; give the folder" in capsys.readouterr().err


def _digits() -> tuple[Tensor, Tensor, Tensor]:
    from resnetc.train.datasets import TensorImages, Wanted, open_data

    data = open_data("digits", Wanted((1, 8, 8), 10))
    assert isinstance(data.train, TensorImages)
    assert isinstance(data.test, TensorImages)
    mean = (data.train.pixels.double() / 255).mean(0).float()
    return data.test.pixels, data.test.labels, mean


def _module(result: TrainResult) -> Any:
    from safetensors.torch import load_file

    module = result.network.to_torch()
    module.load_state_dict(load_file(result.weights))
    return module.eval()


def _resized(pixels: Tensor, side: int) -> Tensor:
    from torchvision.transforms.v2 import functional as images_of

    resized: Tensor = images_of.resize(pixels, [side, side], antialias=True)
    return resized


def _expect(found: object, probabilities: Tensor, labels: Tensor) -> None:
    top1 = (probabilities.argmax(1) == labels).double().mean().item()
    loss = -probabilities[torch.arange(len(labels)), labels].log().mean().item()
    assert found.top1 == pytest.approx(top1)  # type: ignore[attr-defined]
    assert found.loss == pytest.approx(loss, rel=1e-4)  # type: ignore[attr-defined]


# --------------------------------------------------------------------------------------- ten crops


def test_ten_crops_are_the_corners_the_centre_and_their_mirrors() -> None:
    image = torch.arange(5 * 7).reshape(1, 5, 7)
    crops = ten_crops(image, (3, 4))
    tops, lefts = [0, 0, 2, 2, 1], [0, 3, 0, 3, 1]
    for i, (top, left) in enumerate(zip(tops, lefts, strict=True)):
        for y in range(3):
            for x in range(4):
                assert crops[i, 0, y, x] == image[0, top + y, left + x]
                assert crops[i + 5, 0, y, x] == image[0, top + y, left + 3 - x]
    with pytest.raises(UsageError, match="cannot cut 6x4 from an image of 5x7"):
        ten_crops(image, (6, 4))


def test_ten_crop_scores_are_averaged_one_crop_at_a_time(runs: list[TrainResult]) -> None:
    pixels, labels, mean = _digits()
    module = _module(runs[0])
    found = evaluate(runs[0].network, runs[0].run, replace(JUDGE, ten_crop=True))
    larger = _resized(pixels, 9)  # 8 * 256 / 224
    total = torch.zeros(len(labels), 10, dtype=torch.float64)
    with torch.no_grad():
        for top, left in ((0, 0), (0, 1), (1, 0), (1, 1), (0, 0)):
            crop = larger[:, :, top : top + 8, left : left + 8]
            for seen in (crop, crop.flip(-1)):
                total += module(seen / 255 - mean).double().softmax(1) / 10
    _expect(found, total, labels)
    assert found.loss != pytest.approx(runs[0].test.loss, rel=1e-3)


# -------------------------------------------------------------------------------- several scales


def _slow_dense(module: Any, image: Tensor) -> Tensor:
    """Probabilities at every place of one image [1, 1, H, W], by a loop over the map's places."""
    features: list[Tensor] = []
    x = module.bn1(module.conv1(image)).relu()
    x = nn.functional.max_pool2d(x, 2, 2)
    for top in range(x.shape[2] - 3):
        for left in range(x.shape[3] - 3):
            features.append(x[:, :, top : top + 4, left : left + 4].mean((2, 3)))
    return torch.stack([module.fc(f).double().softmax(1)[0] for f in features]).mean(0)


def test_whole_images_are_scored_at_every_place_and_scale(runs: list[TrainResult]) -> None:
    pixels, labels, mean = _digits()
    module = _module(runs[0])
    colour = mean.mean()
    found = evaluate(runs[0].network, runs[0].run, replace(JUDGE, scales=(8, 12, 14)))
    total = torch.zeros(len(labels), 10, dtype=torch.float64)
    with torch.no_grad():
        for side in (8, 12, 14):
            scaled = _resized(pixels, side) / 255 - colour
            total += torch.stack([_slow_dense(module, image[None]) for image in scaled]) / 3
    _expect(found, total, labels)


GATED = """rnet 1
network gated {
  input 1x8x8
  conv1: conv(3x3, 4) -> act
  se: squeeze_excite(2)
  gap -> flatten -> fc: linear(10)
}
network pooled_twice {
  input 1x8x8
  conv1: conv(3x3, 4) -> gap -> act -> flatten -> fc: linear(10)
}
"""


def test_only_the_last_pool_slides(tmp_path: Path) -> None:
    net = load(f"{Folder(tmp_path).write(GATED)}:gated")
    module: Any = net.to_torch().eval()
    scorer = ModuleScorer(module, net.graph, Mode(torch.device("cpu")))
    images = torch.randn(2, 1, 10, 9)
    dense = scorer.dense_scores(images)
    assert dense.shape == (2, 3 * 2, 10)
    # A linear layer over means: the mean over equal windows that tile is that of the whole.
    tiled = torch.randn(1, 1, 8, 8)
    assert torch.allclose(scorer.dense_scores(tiled)[:, 0], scorer.scores(tiled), atol=1e-6)
    with torch.no_grad():
        x = module.se(module.conv1(images).relu())
        window = x[1, :, 2:10, 1:9].mean((1, 2))
        assert torch.allclose(dense[1, 5], module.fc(window), atol=1e-5)


def test_a_network_without_a_last_pool_is_not_run_over_larger_images(tmp_path: Path) -> None:
    net = load(f"{Folder(tmp_path).write(GATED)}:pooled_twice")
    scorer = ModuleScorer(net.to_torch(), net.graph, Mode(torch.device("cpu")))
    with pytest.raises(UsageError, match="no global average pool right before its classifier"):
        scorer.dense_scores(torch.zeros(1, 1, 9, 9))


def test_files_of_any_shape_are_cropped_and_scaled(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for part, count in (("train", 4), ("val", 3)):
        for name in ("ant", "bee"):
            folder = tmp_path / "photos" / part / name
            folder.mkdir(parents=True)
            for i in range(count):
                pixels = rng.integers(0, 256, (14 + i, 12, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{i}.png")
    net = tiny(tmp_path)
    options = replace(QUICK, data=f"folder:{tmp_path / 'photos'}", batch=4, iterations=2, workers=0)
    result = train(net, replace(options, out=tmp_path / "run"))
    judge = replace(JUDGE, data=None)
    for how in (replace(judge, ten_crop=True), replace(judge, scales=(8, 11))):
        found = evaluate(net, result.run, how)
        assert found.images == 6
        assert 0 < found.loss < 10


# -------------------------------------------------------------------------- ensembles, ONNX, misuse


def test_an_ensemble_averages_probabilities(runs: list[TrainResult]) -> None:
    pixels, labels, mean = _digits()
    with torch.no_grad():
        total = sum(_module(each)(pixels / 255 - mean).double().softmax(1) for each in runs) / 3
    assert isinstance(total, Tensor)
    found = evaluate(runs[0].network, [each.run for each in runs], JUDGE)
    _expect(found, total, labels)
    assert found.loss not in [each.test.loss for each in runs]


def test_one_of_one_is_itself(runs: list[TrainResult]) -> None:
    assert evaluate(runs[0].network, [runs[0].run], JUDGE) == runs[0].test


@pytest.fixture(params=[None, 7], ids=["any", "fixed"])
def onnx(request: pytest.FixtureRequest, runs: list[TrainResult]) -> Iterator[Path]:
    from resnetc.backends.onnx import OnnxOptions, write_onnx
    from resnetc.backends.weights import read_weights

    path = runs[0].run / "export" / f"tiny-{request.param}.onnx"
    weights = read_weights(runs[0].weights)
    write_onnx(runs[0].network.graph, path, weights, options=OnnxOptions(batch=request.param))
    yield path
    path.unlink()


def test_an_onnx_file_is_judged_as_its_run(onnx: Path, runs: list[TrainResult]) -> None:
    found = evaluate(runs[0].network, onnx, JUDGE)
    assert found.top1 == runs[0].test.top1
    assert found.loss == pytest.approx(runs[0].test.loss, rel=1e-5)
    crops = evaluate(runs[0].network, [onnx, runs[1].run], replace(JUDGE, ten_crop=True))
    both = evaluate(runs[0].network, [runs[0].run, runs[1].run], replace(JUDGE, ten_crop=True))
    assert crops.loss == pytest.approx(both.loss, rel=1e-5)
    with pytest.raises(UsageError, match="scales need weights"):
        evaluate(runs[0].network, onnx, replace(JUDGE, scales=(9,)))


def test_what_cannot_be_judged(runs: list[TrainResult], tmp_path: Path) -> None:
    net, one = runs[0].network, runs[0].run
    with pytest.raises(UsageError, match="one of the two"):
        evaluate(net, one, replace(JUDGE, ten_crop=True, scales=(9,)))
    with pytest.raises(UsageError, match=r"a scale of 4 is smaller than tiny's input"):
        evaluate(net, one, replace(JUDGE, scales=(9, 4)))
    for name in ("no.onnx", "no.engine"):
        with pytest.raises(UsageError, match="there is no such file"):
            evaluate(net, tmp_path / name, JUDGE)
    if not torch.cuda.is_available():
        (tmp_path / "an.engine").write_bytes(b"")
        with pytest.raises(MissingError, match="runs on an NVIDIA GPU"):
            evaluate(net, tmp_path / "an.engine", JUDGE)


def test_the_verb_takes_several_and_lists_classes(
    home: Path, runs: list[TrainResult], capsys: pytest.CaptureFixture[str]
) -> None:
    def _said(*arguments: str | Path) -> str:
        assert run([*map(str, arguments)]) == 0
        return capsys.readouterr().out

    network = f"{home / 'tiny.rnet'}:tiny"
    both: list[str | Path] = ["--weights", runs[0].run, "--weights", runs[2].run, "--threads", "1"]
    found = evaluate(runs[0].network, [runs[0].run, runs[2].run], JUDGE)
    assert json.loads(_said("eval", network, *both, "--json")) == found.to_json()
    text = _said("eval", network, *both, "--per-class")
    assert [line.split()[-1] for line in text.splitlines()[1:]] == [str(i) for i in range(10)]
    assert len(_said("eval", network, *both).splitlines()) == 6
    scaled = _said("eval", network, *both[:2], "--scales", "8,10", "--json")
    expected = evaluate(runs[0].network, runs[0].run, replace(JUDGE, scales=(8, 10)))
    assert json.loads(scaled)["loss"] == pytest.approx(expected.loss)


def test_scales_are_numbers(home: Path, runs: list[TrainResult]) -> None:
    for text in ("big", "8,0", "8,,9"):
        asked = ["eval", f"{home / 'tiny.rnet'}:tiny", "--weights", str(runs[0].run)]
        assert run([*asked, "--scales", text]) == 2


def test_another_set_for_one_of_an_ensemble_is_refused(
    runs: list[TrainResult], tmp_path: Path
) -> None:
    net: Network = runs[0].network
    options = replace(QUICK, data="synthetic", iterations=2, out=tmp_path / "noise")
    noise = train(tiny(tmp_path), options)
    with pytest.raises(UsageError, match="judged by one set"):
        evaluate(net, [runs[0].run, noise.run], replace(JUDGE, data=None))
