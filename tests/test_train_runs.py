"""Runs from the first step to the report, and what ends them early."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from tiny_networks import spec_file, tiny

from resnetc.cli.main import run
from resnetc.diagnostics import MissingError, RunError, UsageError
from resnetc.driver import Network
from resnetc.train import EvaluateOptions, Evaluation, StoppedError, TrainOptions, evaluate, train
from resnetc.train.checkpoint import found
from resnetc.train.metrics import read as read_metrics
from resnetc.train.plainly import said_plainly
from resnetc.train.trainer import Trainer

PNG = b"\x89PNG\r\n"
QUICK = TrainOptions(
    data="digits", threads=1, progress=False, deterministic=True, device="cpu", batch=32
)


@pytest.fixture
def net(tmp_path: Path) -> Network:
    return tiny(tmp_path)


def _weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "weights.safetensors")


def _equal(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> bool:
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def _steps(run: Path) -> list[int]:
    return [int(path.name.removeprefix("step-")) for path in reversed(found(run / "checkpoints"))]


# -------------------------------------------------------------------------------- a whole run


def test_a_run_leaves_everything_it_promises(net: Network, tmp_path: Path) -> None:
    out = tmp_path / "run"
    result = train(net, replace(QUICK, out=out, seed=3))
    assert (out / "spec.rnet").read_text() == net.source_text
    assert (out / "report/curves.png").read_bytes().startswith(PNG)
    assert (out / "export").is_dir()
    assert _steps(out) == [20, 30, 40]
    assert result.weights == out / "weights.safetensors"
    assert _weights(out).keys() == net.graph.parameters.keys()
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
    a, b, c = (_weights(run.run) for run in runs.values())
    assert _equal(a, b)
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
    trained = _weights(out)
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
    module.load_state_dict(_weights(result.run))
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
        "mapping": _weights(result.run),
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
    assert _weights(result.run)["fc.weight"].shape == (3, 4)
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


@pytest.mark.parametrize(
    "options", [{"precision": "bf16"}, {"channels_last": True}], ids=["bf16", "channels_last"]
)
def test_other_precisions_and_layouts_learn_too(
    options: dict[str, Any], net: Network, tmp_path: Path
) -> None:
    plain = train(net, replace(QUICK, out=tmp_path / "plain", iterations=10))
    other = train(net, replace(QUICK, out=tmp_path / "other", iterations=10, **options))
    weights = _weights(other.run)
    assert all(t.dtype != torch.bfloat16 for t in weights.values())
    assert other.test.loss == pytest.approx(plain.test.loss, rel=0.05)


# ------------------------------------------------------------------------- stopping and resuming


def _stop_at(monkeypatch: pytest.MonkeyPatch, step: int, number: int) -> None:
    """Send this process a signal in the middle of a step."""
    whole = Trainer._step

    def interrupted(self: Trainer, images: torch.Tensor, labels: torch.Tensor) -> None:
        if self.state.step == step:
            os.kill(os.getpid(), number)
        whole(self, images, labels)

    monkeypatch.setattr(Trainer, "_step", interrupted)


@pytest.mark.parametrize(
    ("number", "error"),
    [
        (signal.SIGTERM, StoppedError),
        (signal.SIGUSR1, StoppedError),
        (signal.SIGINT, KeyboardInterrupt),
    ],
)
def test_a_run_that_is_stopped_goes_on_bit_for_bit(
    number: int,
    error: type[BaseException],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    net = tiny(tmp_path, "dropping")
    schedule = "schedule=[warmup(lr=0.01, until=train_error < 95%), step(at=[30])]"
    asked = replace(QUICK, log_every=3, overrides=(schedule,))
    whole = train(net, replace(asked, out=tmp_path / "whole"))
    out = tmp_path / "cut"
    handlers = [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)]
    _stop_at(monkeypatch, step=16, number=number)
    with pytest.raises(error) as stopped:
        train(net, replace(asked, out=out))
    assert [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)] == handlers
    assert "--resume" in str(stopped.value) + capsys.readouterr().err
    assert _steps(out) == [10, 17]
    assert not (out / "weights.safetensors").exists()
    monkeypatch.undo()
    resumed = train(net, replace(asked, out=out, resume=True))
    assert _equal(_weights(out), _weights(whole.run))
    assert resumed.test == whole.test
    rows = [
        [(r.kind, r.step, r.loss, r.lr) for r in read_metrics(p / "metrics.jsonl")]
        for p in (out, whole.run)
    ]
    assert rows[0] == rows[1]


def test_the_exit_code_of_a_stopped_run_is_130(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = f"{spec_file(tmp_path)}:tiny"
    for number in (signal.SIGTERM, signal.SIGINT):
        out = tmp_path / str(number)
        _stop_at(monkeypatch, step=4, number=number)
        assert run(["train", spec, "--out", str(out), "--threads", "1"]) == 130
        monkeypatch.undo()
        said = capsys.readouterr().err
        assert "at iteration 5 of 40" in said
        assert "--resume" in said
        assert "Traceback" not in said
        assert _steps(out) == [5]


def test_resume_starts_where_there_is_nothing_to_go_on_from(net: Network, tmp_path: Path) -> None:
    result = train(net, replace(QUICK, out=tmp_path / "run", iterations=3, resume=True))
    assert result.iterations == 3
    again = train(net, replace(QUICK, out=tmp_path / "run", iterations=3, resume=True))
    assert again.test == result.test


def test_a_run_is_not_written_over(net: Network, tmp_path: Path) -> None:
    options = replace(QUICK, out=tmp_path / "run", iterations=2)
    train(net, options)
    before = (tmp_path / "run/weights.safetensors").read_bytes()
    with pytest.raises(UsageError, match="a run lies here already"):
        train(net, options)
    assert (tmp_path / "run/weights.safetensors").read_bytes() == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 1}, "the seed is another: 0 then, 1 now"),
        ({"batch": 16}, "batch is another: 32 then, 16 now"),
        ({"iterations": 8}, "iterations is another: 4 then, 8 now"),
        ({"lr": 0.05}, "optimizer is another"),
        ({"data": "synthetic"}, "the data set is another"),
    ],
)
def test_a_changed_request_is_not_gone_on_with(
    change: dict[str, Any], message: str, net: Network, tmp_path: Path
) -> None:
    options = replace(QUICK, out=tmp_path / "run", iterations=4)
    train(net, options)
    with pytest.raises(UsageError, match=message):
        train(net, replace(options, resume=True, **change))


def test_a_changed_network_is_not_gone_on_with(net: Network, tmp_path: Path) -> None:
    options = replace(QUICK, out=tmp_path / "run", iterations=2)
    train(net, options)
    with pytest.raises(UsageError, match="the network is another"):
        train(tiny(tmp_path, "dropping"), replace(options, resume=True))


def test_a_damaged_checkpoint_is_passed_over_with_a_warning(
    net: Network, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = train(net, replace(QUICK, out=tmp_path / "whole"))
    out = tmp_path / "run"
    train(net, replace(QUICK, out=out))
    path = out / "checkpoints/step-00000040/weights.safetensors"
    path.write_bytes(path.read_bytes()[:-8])
    train(net, replace(QUICK, out=out, resume=True))
    assert "step-00000040/weights.safetensors: truncated" in capsys.readouterr().err
    assert _equal(_weights(out), _weights(whole.run))


@pytest.mark.parametrize(("log_every", "checkpoint_every"), [(1, 1000), (1000, 1)])
def test_a_training_that_diverges_is_stopped_before_a_bad_checkpoint(
    log_every: int, checkpoint_every: int, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    options = replace(
        QUICK, out=out, lr=1e30, log_every=log_every, checkpoint_every=checkpoint_every
    )
    with pytest.raises(RunError, match=r"diverged.* at iteration [1-4];"):
        train(tiny(tmp_path, "plain_tiny"), options)
    assert not (out / "weights.safetensors").exists()
    for path in found(out / "checkpoints"):
        weights = load_file(path / "weights.safetensors")
        assert all(torch.isfinite(t).all() for t in weights.values())


def test_a_batch_too_small_for_a_batch_norm_is_said_plainly(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="larger --batch"):
        train(tiny(tmp_path, "pointed"), replace(QUICK, out=tmp_path / "run", batch=1))


def test_torchs_own_errors_are_said_plainly_or_passed_on() -> None:
    with pytest.raises(RunError, match="smaller --batch"), said_plainly():
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
    with pytest.raises(RunError, match="fewer --workers"), said_plainly():
        raise RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed")
    with pytest.raises(RuntimeError, match="a bug"), said_plainly():
        raise RuntimeError("a bug")


def test_a_full_disk_ends_the_run_plainly(
    net: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Path.write_bytes

    def full(self: Path, content: bytes) -> int:
        if ".step-00000020" in str(self.parent):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return whole(self, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(RunError, match="disk is full"):
        train(net, replace(QUICK, out=tmp_path / "run"))
    assert _steps(tmp_path / "run") == [10]
    assert [p.name for p in (tmp_path / "run/checkpoints").iterdir()] == ["step-00000010"]


# -------------------------------------------------------------------------- whole processes


def _command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "resnetc", *arguments]


_LAUNCHER = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]
_ENV = {**os.environ, "OMP_NUM_THREADS": "1"}


def _overrides(*texts: str) -> list[str]:
    return [word for text in texts for word in ("--override", text)]


@pytest.mark.parametrize(
    "overrides", [(), ("mix=[mixup, cutmix]", "ema=ema(decay=0.9)")], ids=["paper", "modern"]
)
def test_a_killed_run_goes_on_bit_for_bit(overrides: tuple[str, ...], tmp_path: Path) -> None:
    """SIGKILL leaves no time to tidy up."""
    spec = f"{spec_file(tmp_path)}:tiny"
    common = ["--iterations", "200", "--batch", "32", "--threads", "1", "--deterministic"]
    common += ["--checkpoint-every", "15", "--quiet", *_overrides(*overrides)]
    out, whole = tmp_path / "cut", tmp_path / "whole"
    process = subprocess.Popen(_command("train", spec, "--out", str(out), *common), env=_ENV)
    deadline = time.monotonic() + 60
    while not list(out.glob("checkpoints/step-*/state.json")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert not (out / "weights.safetensors").exists()
    for arguments in (["--out", str(out), "--resume"], ["--out", str(whole)]):
        command = _command("train", spec, *arguments, *common)
        subprocess.run(command, env=_ENV, check=True, timeout=120, capture_output=True)
    assert _equal(_weights(out), _weights(whole))
    assert not list(out.glob("checkpoints/.*"))


def _torchrun(tmp_path: Path, processes: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [*_LAUNCHER, str(processes), "-m", "resnetc", *arguments]
    return subprocess.run(
        command, env=_ENV, capture_output=True, text=True, timeout=180, check=False
    )


@pytest.mark.parametrize(
    ("network", "overrides"),
    [("plain_tiny", ()), ("tiny", ("norm_images=15", "precise_norm=60"))],
    ids=["no norms", "norms of 15"],
)
def test_two_processes_train_what_one_does(
    network: str, overrides: tuple[str, ...], tmp_path: Path
) -> None:
    """The shared batch is the whole batch, up to rounding: without batch norms, or where each
    takes its statistics from as many images as a process has."""
    spec = f"{spec_file(tmp_path)}:{network}"
    common = ["--iterations", "20", "--batch", "30", "--threads", "1", "--quiet", "--json"]
    common += _overrides(*overrides)
    assert run(["train", spec, "--out", str(tmp_path / "1"), *common]) == 0
    done = _torchrun(tmp_path, 2, "train", spec, "--out", str(tmp_path / "2"), *common)
    assert done.returncode == 0, done.stderr
    results = [json.loads((tmp_path / n / "report/summary.json").read_text()) for n in ("1", "2")]
    assert json.loads(done.stdout)["test"] == results[1]["test"]
    one, two = _weights(tmp_path / "1"), _weights(tmp_path / "2")
    for name in one:
        if not name.endswith("num_batches_tracked"):
            assert torch.allclose(one[name], two[name], atol=1e-5), name
    assert results[0]["test"]["images"] == results[1]["test"]["images"] == 360
    assert results[0]["test"]["loss"] == pytest.approx(results[1]["test"]["loss"], rel=1e-4)
    rows = [read_metrics(tmp_path / n / "metrics.jsonl") for n in ("1", "2")]
    for a, b in zip(*rows, strict=True):
        assert (a.kind, a.step) == (b.kind, b.step)
        if a.kind == "train" or not overrides:  # running averages are one process's own
            assert a.loss == pytest.approx(b.loss, rel=1e-4)


@pytest.mark.slow
def test_two_processes_go_on_bit_for_bit(tmp_path: Path) -> None:
    spec = f"{spec_file(tmp_path)}:dropping"
    common = ["--batch", "32", "--threads", "1", "--quiet", "--deterministic"]
    common += _overrides("mix=[mixup, cutmix]", "ema=ema(decay=0.9)", "precise_norm=64")
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert _torchrun(tmp_path, 2, "train", spec, "--out", str(whole), *common).returncode == 0
    assert _torchrun(tmp_path, 2, "train", spec, "--out", str(cut), *common).returncode == 0
    for step in (30, 40):
        for path in (cut / "checkpoints" / f"step-{step:08d}").iterdir():
            path.unlink()
        (cut / "checkpoints" / f"step-{step:08d}").rmdir()
    (cut / "weights.safetensors").unlink()
    done = _torchrun(tmp_path, 2, "train", spec, "--out", str(cut), *common, "--resume")
    assert done.returncode == 0, done.stderr
    assert "going on from iteration 20" in done.stderr
    assert _equal(_weights(cut), _weights(whole))
    summaries = [json.loads((p / "report/summary.json").read_text()) for p in (cut, whole)]
    assert summaries[0]["test"] == summaries[1]["test"]


@pytest.mark.slow
def test_two_processes_stop_together_when_asked(tmp_path: Path) -> None:
    spec, out = f"{spec_file(tmp_path)}:tiny", tmp_path / "run"
    arguments = ["train", spec, "--iterations", "100000", "--batch", "8", "--threads", "1"]
    arguments += ["--checkpoint-every", "100", "--out", str(out), "--quiet"]
    process = subprocess.Popen(
        [*_LAUNCHER, "2", "-m", "resnetc", *arguments],
        env=_ENV,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 90
    while not list(out.glob("checkpoints/step-*/state.json")) and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.5)
    process.terminate()
    _, said = process.communicate(timeout=60)
    assert "stopped by SIGTERM at iteration" in said
    (step,) = {
        int(line.split("iteration ")[1].split()[0].replace(",", ""))
        for line in said.splitlines()
        if line.startswith("error: stopped by SIGTERM")
    }
    assert _steps(out)[-1] == step
    assert step % 10 == 0


def test_a_batch_that_cannot_be_shared_is_refused(tmp_path: Path) -> None:
    from resnetc.train.processes import World

    assert World(0, 4).share(128) == 32
    with pytest.raises(UsageError, match="multiple of 4"):
        World(0, 4).share(130)


# -------------------------------------------------------------------------------- the verbs


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
