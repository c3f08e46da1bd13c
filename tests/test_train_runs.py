"""Whole runs: what they leave behind, what they compute, how they are judged, on which data."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from quick_runs import QUICK, equal, steps_of, weights_of
from safetensors.torch import load_file
from tiny_networks import tiny

from resnetc.diagnostics import MissingError, RunError, UsageError
from resnetc.driver import Network, load
from resnetc.train import EvaluateOptions, Evaluation, TrainOptions, evaluate, train
from resnetc.train.evaluation import Mode
from resnetc.train.job import prepare
from resnetc.train.metrics import read as read_metrics
from resnetc.train.processes import World

PNG = b"\x89PNG\r\n"


@pytest.fixture
def net(tmp_path: Path) -> Network:
    return tiny(tmp_path)


# -------------------------------------------------------------------------------- a whole run


def test_a_run_leaves_everything_it_promises(net: Network, tmp_path: Path) -> None:
    out = tmp_path / "run"
    result = train(net, replace(QUICK, out=out, seed=3))
    assert (out / "spec.rnet").read_text() == net.source_text
    assert (out / "report/curves.png").read_bytes().startswith(PNG)
    assert (out / "export").is_dir()
    assert steps_of(out) == [20, 30, 40]
    assert result.weights == out / "weights.safetensors"
    assert weights_of(out).keys() == net.graph.parameters.keys()
    summary = json.loads((out / "report/summary.json").read_text())
    assert summary["test_error"] == result.test.error
    lock = json.loads((out / "lock.json").read_text())
    assert lock["graph"] == net.graph.hash
    assert lock["seed"] == 3
    assert lock["data_set"]["train"] == 1437
    assert lock["versions"]["torch"] == torch.__version__.split("+")[0]
    rows = read_metrics(out / "metrics.jsonl")
    assert [row.step for row in rows if row.kind == "test"] == [10, 20, 30, 40]
    trained = [row for row in rows if row.kind == "train"]
    assert [row.step for row in trained] == list(range(1, 41))
    assert [row.lr for row in trained[18:22]] == pytest.approx([0.1, 0.1, 0.01, 0.01])
    assert trained[-1].epoch == pytest.approx(40 * 32 / 1437)
    assert sum(row.loss for row in trained[-5:]) < 0.9 * sum(row.loss for row in trained[:5])
    assert rows[-1].error == result.test.error
    assert result.best_error == min(row.error for row in rows if row.kind == "test")


def test_a_residual_network_learns_the_digits(tmp_path: Path) -> None:
    from resnetc.driver import load

    options = TrainOptions(
        data="digits", out=tmp_path / "run", iterations=150, threads=1, progress=False
    )
    result = train(load("digits_resnet14", {"depth": "8"}), options)
    assert result.test.top1 > 0.94


def test_two_runs_of_one_seed_are_bit_identical_and_of_two_differ(
    net: Network, tmp_path: Path
) -> None:
    runs = {
        name: train(net, replace(QUICK, out=tmp_path / name, iterations=5, seed=seed))
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    }
    a, b, c = (weights_of(run.run) for run in runs.values())
    assert equal(a, b)
    assert not torch.equal(a["fc.weight"], c["fc.weight"])


def test_steps_do_what_the_recipe_says(tmp_path: Path) -> None:
    """Two steps by hand: order, transforms, loss, Caffe's momentum, weight decay."""
    net = tiny(tmp_path, "plain_tiny")
    out = tmp_path / "run"
    overrides = ("augment=[subtract_mean]", "schedule=[step(at=[1])]")
    train(net, replace(QUICK, out=out, iterations=2, overrides=overrides, seed=5))

    from resnetc.backends.torch import build_module
    from resnetc.train.datasets import TensorImages, Wanted, open_data
    from resnetc.train.draws import Order

    data = open_data("digits", Wanted((1, 8, 8), 10))
    assert isinstance(data.train, TensorImages)
    pixels = data.train.pixels.double() / 255
    pixels = pixels - pixels.mean(0)
    module = build_module(net.graph, seed=5).double()
    velocity = {name: torch.zeros_like(p) for name, p in module.named_parameters()}
    for step, lr in enumerate((0.1, 0.01)):
        indices = Order(1437, 32, 5).take(step).indices
        module.zero_grad()
        logits = module(pixels[indices])
        torch.nn.functional.cross_entropy(logits, data.train.labels[indices]).backward()
        with torch.no_grad():
            for name, p in module.named_parameters():
                assert p.grad is not None
                velocity[name] = 0.9 * velocity[name] + lr * (p.grad + 1e-4 * p)
                p -= velocity[name]
    trained = weights_of(out)
    for name, p in module.named_parameters():
        assert torch.allclose(trained[name].double(), p, atol=2e-6), name


def test_evaluation_counts_every_image_once(net: Network, tmp_path: Path) -> None:
    result = train(net, replace(QUICK, out=tmp_path / "run", iterations=10))
    assert result.test.images == 360

    from resnetc.train.datasets import TensorImages, Wanted, open_data

    data = open_data("digits", Wanted((1, 8, 8), 10))
    assert isinstance(data.train, TensorImages)
    assert isinstance(data.test, TensorImages)
    module = net.to_torch()
    module.load_state_dict(weights_of(result.run))
    mean = (data.train.pixels.double() / 255).mean(0).float()
    with torch.no_grad():
        logits = module.eval()(data.test.pixels / 255 - mean)
    right = logits.argmax(1) == data.test.labels
    top5 = (logits.topk(5).indices == data.test.labels[:, None]).any(1)
    loss = torch.nn.functional.cross_entropy(logits, data.test.labels)
    assert result.test.top1 == pytest.approx(right.double().mean().item())
    assert result.test.top5 == pytest.approx(top5.double().mean().item())
    assert result.test.loss == pytest.approx(loss.item(), rel=1e-4)
    for digit in range(10):
        expected = right[data.test.labels == digit].double().mean().item()
        assert result.test.per_class[str(digit)] == pytest.approx(expected)


@pytest.mark.parametrize("form", ["run", "checkpoint", "file", "mapping"])
def test_weights_of_a_run_are_judged_as_in_the_run(form: str, net: Network, tmp_path: Path) -> None:
    result = train(net, replace(QUICK, out=tmp_path / "run", iterations=10))
    weights: Any = {
        "run": result.run,
        "checkpoint": result.run / "checkpoints/step-00000010",
        "file": result.weights,
        "mapping": weights_of(result.run),
    }[form]
    data = "digits" if form == "mapping" else None
    judged = evaluate(net, weights, EvaluateOptions(data=data, threads=1, device="cpu"))
    assert judged == result.test


def test_the_statistics_of_the_run_are_used(net: Network, tmp_path: Path) -> None:
    result = train(net, replace(QUICK, out=tmp_path / "run", iterations=10))
    path = result.run / "statistics.safetensors"
    from safetensors.torch import save_file

    save_file({name: t + 1 for name, t in load_file(path).items()}, path)
    judged = evaluate(net, result.run, EvaluateOptions(threads=1, device="cpu"))
    assert judged.loss > result.test.loss


def test_outputs_that_are_not_finite_are_not_judged(
    net: Network, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = {n: t.detach().clone() for n, t in net.to_torch().state_dict().items()}
    weights["bn1.weight"].fill_(float("inf"))
    with pytest.raises(RunError, match="not finite"):
        evaluate(net, weights, EvaluateOptions(data="digits", threads=1, device="cpu"))


def test_a_loss_that_is_not_finite_is_null(tmp_path: Path) -> None:
    """JSON has no infinity."""
    judged = Evaluation(2, float("inf"), 0.5, 1.0, {"a": 0.5})
    assert judged.to_json()["loss"] is None


def test_weights_that_do_not_fit_are_refused(net: Network, tmp_path: Path) -> None:
    result = train(net, replace(QUICK, out=tmp_path / "run", iterations=2))
    with pytest.raises(UsageError, match="do not fit"):
        evaluate(tiny(tmp_path, "plain_tiny"), result.run)


# ---------------------------------------------------------------------------- data and network


def test_classes_are_bound_by_the_data(net: Network, tmp_path: Path) -> None:
    root = tmp_path / "photos"
    rng = np.random.default_rng(0)
    for part, count in (("train", 4), ("val", 2)):
        for name in ("ant", "bee", "cat"):
            (root / part / name).mkdir(parents=True)
            for i in range(count):
                pixels = rng.integers(0, 256, (14 + i, 12, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(root / part / name / f"{i}.png")
    options = replace(
        QUICK, data=f"folder:{root}", out=tmp_path / "run", batch=6, iterations=3, workers=1
    )
    result = train(net, options)
    assert weights_of(result.run)["fc.weight"].shape == (3, 4)
    assert result.test.images == 6
    assert set(result.test.per_class) == {"ant", "bee", "cat"}
    judged = evaluate(net, result.run, EvaluateOptions(threads=1, device="cpu"))
    assert judged == result.test


def test_a_network_that_cannot_be_bound_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"fixed tells 7 classes apart, digits has 10"):
        train(tiny(tmp_path, "fixed"), replace(QUICK, out=tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_made_up_images_are_called_so(
    net: Network, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = replace(QUICK, data="synthetic", out=tmp_path / "run", iterations=2)
    result = train(net, options)
    assert not result.real
    assert "made up" in capsys.readouterr().err
    assert json.loads((tmp_path / "run/report/summary.json").read_text())["real_data"] is False


def test_a_validation_part_steers_and_the_test_images_judge(net: Network, tmp_path: Path) -> None:
    out = tmp_path / "run"
    options = replace(
        QUICK, data=None, out=out, iterations=4, overrides=("data=digits(train=1000, val=300)",)
    )
    result = train(net, options)
    kinds = {row.kind for row in read_metrics(out / "metrics.jsonl")}
    assert kinds == {"train", "val"}
    assert result.test.images == 360
    lock = json.loads((out / "lock.json").read_text())
    assert (lock["data_set"]["train"], lock["data_set"]["val"]) == (1000, 300)


def test_the_parts_of_a_split_are_disjoint() -> None:
    from resnetc.recipes import DataSet
    from resnetc.train.datasets import FileImages, ImageData
    from resnetc.train.job import split

    def files(count: int) -> FileImages:
        return FileImages(tuple(Path(f"{i}.png") for i in range(count)), torch.zeros(count).long())

    data = ImageData("cifar10", files(50), files(10), ("a",), "here")
    train_part, val_part, kind = split(data, DataSet("cifar10", 45, 5))
    assert isinstance(train_part, FileImages)
    assert isinstance(val_part, FileImages)
    assert (len(train_part), len(val_part), kind) == (45, 5, "val")
    assert len({*train_part.paths, *val_part.paths}) == 50
    assert split(data, DataSet("cifar100", 45, 5)) == (data.train, data.test, "test")
    assert len(split(data, DataSet("cifar10", 20))[0]) == 20
    with pytest.raises(UsageError, match="cannot be split"):
        split(data, DataSet("cifar10", 48, 5))


def test_a_device_that_is_not_here_ends_with_the_remedy(net: Network, tmp_path: Path) -> None:
    for device in ("cuda", "cuda:7"):
        if device == "cuda" and torch.cuda.is_available():
            continue
        with pytest.raises(MissingError):
            train(net, replace(QUICK, device=device, out=tmp_path / "run"))
    for device in ("tpu", "meta", ""):
        with pytest.raises(UsageError, match="no device"):
            train(net, replace(QUICK, device=device, out=tmp_path / "run"))


def test_weights_lie_as_the_images_do(net: Network, tmp_path: Path) -> None:
    options = replace(QUICK, out=tmp_path / "run", iterations=2)
    assert json.loads(train(net, options).run.joinpath("lock.json").read_text())["channels_last"]
    cpu = torch.device("cpu")
    for last, layout in ((True, torch.channels_last), (False, torch.contiguous_format)):
        mode = Mode(cpu, channels_last=last)
        convs = [p for p in mode.placed(load("resnet20").to_torch()).parameters() if p.ndim == 4]
        images = mode.laid_out(torch.rand(2, 3, 4, 4))
        assert all(tensor.is_contiguous(memory_format=layout) for tensor in (*convs, images))


@pytest.mark.parametrize(
    ("width", "kernel", "lies"), [(4, "1x1", False), (8, "1x1", True), (4, "3x3", True)]
)
def test_images_lie_contiguous_where_a_kernel_of_pytorch_overruns(
    width: int, kernel: str, lies: bool, tmp_path: Path
) -> None:
    path = tmp_path / "narrow.rnet"
    path.write_text(
        f"rnet 1\nnetwork n {{ input 1x8x8  a: conv(3x3, {width})  b: conv({kernel}, 8, stride=2)  "
        "gap -> flatten -> fc: linear(10) }"
    )
    options = replace(QUICK, out=tmp_path / "run", recipe="digits")
    job = prepare(load(path), options, World(), torch.device("cpu"))
    assert job.mode.channels_last == lies
    assert any("kernel for b overruns" in note for note in job.notes) != lies
    asked = replace(options, channels_last=False)
    assert not prepare(load(path), asked, World(), torch.device("cpu")).notes


@pytest.mark.parametrize(
    "options", [{"precision": "bf16"}, {"channels_last": False}], ids=["bf16", "contiguous"]
)
def test_other_precisions_and_layouts_learn_too(
    options: dict[str, Any], net: Network, tmp_path: Path
) -> None:
    plain = train(net, replace(QUICK, out=tmp_path / "plain", iterations=10))
    other = train(net, replace(QUICK, out=tmp_path / "other", iterations=10, **options))
    weights = weights_of(other.run)
    assert all(t.dtype != torch.bfloat16 for t in weights.values())
    assert other.test.loss == pytest.approx(plain.test.loss, rel=0.05)
