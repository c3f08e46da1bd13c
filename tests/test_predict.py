"""Images given to a trained network one by one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_networks import spec_file

from resnetc.cli.main import run
from resnetc.driver import load
from resnetc.train import EvaluateOptions
from resnetc.train.datasets import TensorImages
from resnetc.train.draws import Samples
from resnetc.train.evaluation import Mode
from resnetc.train.feed import Workers, batches
from resnetc.train.judging import make_scorer, open_sight
from resnetc.train.predicting import Eye, predict


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    folder = tmp_path_factory.mktemp("trained")
    spec, out = f"{spec_file(folder)}:tiny", folder / "run"
    asked = ["--iterations", "30", "--threads", "1", "--device", "cpu", "--quiet"]
    assert run(["train", spec, "--out", str(out), *asked]) == 0
    return spec, out


def _digits(folder: Path, count: int) -> list[Path]:
    """Test images of the digits as files."""
    from resnetc.train.datasets import Wanted, open_data

    test = open_data("digits", Wanted((1, 8, 8), 10)).test
    assert isinstance(test, TensorImages)
    paths = [folder / f"{number}.png" for number in range(count)]
    for path, pixels in zip(paths, test.pixels, strict=False):
        Image.fromarray(pixels[0].numpy()).save(path)
    return paths


def test_a_runs_folder_is_network_and_weights(
    trained: tuple[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec, out = trained
    (image,) = _digits(tmp_path, 1)
    said = []
    for asked in ([str(out)], [spec, "--weights", str(out)]):
        assert run(["predict", *asked, str(image), "--device", "cpu"]) == 0
        said.append(capsys.readouterr().out)
    assert said[0] == said[1]
    assert run(["predict", spec, str(image)]) == 2
    assert "say which weights with --weights" in capsys.readouterr().err


def test_a_file_that_is_not_there_is_said_once(
    trained: tuple[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = tmp_path / "nosuch.jpg"
    assert run(["predict", str(trained[1]), str(image), "--device", "cpu"]) == 1
    said = capsys.readouterr().err
    assert f"error: {image}: this image cannot be read: No such file or directory\n" in said


def test_files_are_taken_for_what_the_set_is(trained: tuple[str, Path], tmp_path: Path) -> None:
    """The same scores as the evaluation has of the same images."""
    spec, out = trained
    net = load(spec)
    found = predict(net, out, _digits(tmp_path, 8), EvaluateOptions(device="cpu"), top=10)
    sight = open_sight(net, out, EvaluateOptions(device="cpu"))
    seen = sight.view(sight.data.test)

    scorer = make_scorer(sight.net, out, Mode(torch.device("cpu")))
    assert isinstance(seen.images, TensorImages)

    indices = torch.arange(8)
    plan = [Samples(0, torch.zeros_like(indices), indices)]
    images = next(i for i, _ in batches(seen, plan, torch.device("cpu"), Workers()))
    wanted = scorer.scores(images).softmax(1)
    for row, each in zip(wanted.tolist(), found, strict=True):
        assert dict(each.classes) == pytest.approx(
            dict(zip(sight.data.classes, row, strict=True)), abs=1e-5
        )
        assert [p for _, p in each.classes] == pytest.approx(sorted(row, reverse=True), abs=1e-5)


def test_a_corrupt_image_is_named_and_the_others_go_on(
    trained: tuple[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec, out = trained
    good, also = _digits(tmp_path, 2)
    bad = tmp_path / "bad.png"
    bad.write_bytes(good.read_bytes()[:60])
    gone = tmp_path / "gone.png"
    asked = ["predict", spec, str(good), str(bad), str(gone), str(also), "--weights", str(out)]
    assert run([*asked, "--device", "cpu"]) == 1
    shown = capsys.readouterr()
    assert f"error: {bad}: this image cannot be read" in shown.err
    assert str(gone) in shown.err
    assert str(good) in shown.out
    assert str(also) in shown.out
    assert str(bad) not in shown.out
    assert run([*asked, "--device", "cpu", "--json", "--top", "3"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert [each["image"] for each in found] == [str(p) for p in (good, bad, gone, also)]
    assert ["error" in each for each in found] == [False, True, True, False]
    assert len(found[0]["classes"]) == 3
    assert run(["predict", spec, str(good), "--weights", str(out), "--device", "cpu"]) == 0


def test_the_data_set_need_not_be_here(
    trained: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from resnetc.train import judging

    def gone(*asked: Any) -> Any:
        raise AssertionError("the set was opened")

    monkeypatch.setattr(judging, "open_data", gone)
    spec, out = trained
    (image,) = _digits(tmp_path, 1)
    assert predict(load(spec), out, [image])[0].classes


def test_images_of_any_size_are_made_to_fit(trained: tuple[str, Path], tmp_path: Path) -> None:
    spec, out = trained
    path = tmp_path / "large.jpg"
    noise = np.random.default_rng(0).integers(0, 255, (50, 70, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    (found,) = predict(load(spec), out, [path])
    assert sum(p for _, p in found.classes) <= 1 + 1e-5
    assert len(found.classes) == 5


def test_an_image_a_little_smaller_is_centred(tmp_path: Path) -> None:
    """As in training: 28x28 images in an input of 32x32 are padded."""
    path = tmp_path / "28.png"
    Image.fromarray(np.full((28, 28), 200, dtype=np.uint8)).save(path)
    seen = Eye(load("resnet20"), (), (), None).look(path)
    assert tuple(seen.shape) == (1, 3, 32, 32)
    assert float(seen[..., :2, :].abs().sum()) == 0
    assert float(seen[..., 2:30, 2:30].min()) == pytest.approx(200 / 255)


def test_exported_networks_predict_alike(trained: tuple[str, Path], tmp_path: Path) -> None:
    spec, out = trained
    images = _digits(tmp_path, 4)
    net = load(spec)
    from resnetc.backends.weights import read_weights

    onnx = net.to_onnx(out / "export" / "tiny.onnx", read_weights(out))
    ours, theirs = (predict(net, each, images, top=10) for each in (out, onnx))
    for one, two in zip(ours, theirs, strict=True):
        assert dict(one.classes) == pytest.approx(dict(two.classes), abs=1e-5)
