"""Several processes train and judge what one does: on the CPU, over gloo."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from several_processes import found_by_one, together
from tiny_networks import spec_file, tiny

from resnetc.train import TrainOptions, train
from resnetc.train.draws import Order
from resnetc.train.evaluation import Mode, share
from resnetc.train.feed import batches
from resnetc.train.job import prepare
from resnetc.train.metrics import read as read_metrics
from resnetc.train.processes import World
from resnetc.train.state import initial_state
from resnetc.train.step import Step

CPU = torch.device("cpu")
LENGTH = {"iterations": 8, "batch": 32, "deterministic": True}
SPANNING = ["norm_sync=true", "norm_images=16"]
"""Statistics of two processes' images, where each of four has eight."""


def training(spec: Path, name: str, out: Path | str, **options: Any) -> dict[str, Any]:
    return {"network": f"{spec}:{name}", "options": {"out": str(out), **LENGTH, **options}}


def _jobs(spec: Path, folder: Path) -> dict[str, dict[str, Any]]:
    """What one process and several do alike."""
    weights = str(folder / "synced")
    judging = {"network": f"{spec}:tiny", "weights": weights}
    norms = ["norm_sync=true", "precise_norm=60"]
    return {
        "plain": training(spec, "plain_tiny", folder / "plain"),
        "modern": training(
            spec, "plain_tiny", folder / "modern", overrides=["ema=ema(decay=0.9)", "repeats=2"]
        ),
        "accumulated": training(spec, "plain_tiny", folder / "accumulated", accumulate=2),
        "synced": training(spec, "tiny", folder / "synced", overrides=norms),
        "spanning": training(spec, "tiny", folder / "spanning", overrides=SPANNING),
        "judged": {**judging, "options": {"device": "cpu"}},
        "crops": {**judging, "options": {"device": "cpu", "ten_crop": True}},
        "scales": {**judging, "options": {"device": "cpu", "scales": [8, 11]}},
    }


TRAININGS = ("plain", "modern", "accumulated", "synced", "spanning")
JUDGINGS = ("judged", "crops", "scales")


class Runs:
    """The same jobs done by one process and by several; what each process found, by job."""

    def __init__(self, folder: Path, size: int) -> None:
        spec = spec_file(folder)
        self.size, self.one, self.all = size, folder / "one", folder / "all"
        self.places = folder / "places"
        extra = {
            "sums": training(spec, "plain_tiny", self.all / "sums", log_every=8),
            "relative": training(spec, "tiny", "relative"),
            "not seen": training(spec, "tiny", "relative", resume=True),
            "not shared": training(spec, "tiny", "odd", batch=31),
            "not grouped": training(
                spec, "tiny", "grouped", overrides=[*SPANNING[:1], "norm_images=24"]
            ),
        }
        jobs = {**_jobs(spec, self.all), **extra}
        found = together(self.places, size, list(jobs.values()))
        self.found = [dict(zip(jobs, each, strict=True)) for each in found]
        self.alone = {name: found_by_one(job) for name, job in _jobs(spec, self.one).items()}


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    return Runs(tmp_path_factory.mktemp("two"), 2)


@pytest.fixture(scope="module")
def four(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    return Runs(tmp_path_factory.mktemp("four"), 4)


@pytest.fixture(params=["two", pytest.param("four", marks=pytest.mark.slow)])
def runs(request: pytest.FixtureRequest) -> Runs:
    found: Runs = request.getfixturevalue(request.param)
    return found


@pytest.mark.parametrize("name", TRAININGS)
def test_several_processes_train_what_one_does(name: str, runs: Runs) -> None:
    """To rounding: gradients are summed in another order. `spanning` norms keep running averages
    of a process's own, which is all that differs."""
    one, several = (load_file(run / name / "weights.safetensors") for run in (runs.one, runs.all))
    own = ("num_batches_tracked", "running_mean", "running_var") if name == "spanning" else ()
    compared = [path for path in one if not path.endswith(own or "?")]
    assert len(compared) >= 4
    for path in compared:
        assert torch.allclose(one[path], several[path], rtol=1e-4, atol=2e-6), path
    rows = [read_metrics(run / name / "metrics.jsonl") for run in (runs.one, runs.all)]
    for a, b in zip(*rows, strict=True):
        assert (a.kind, a.step, a.epoch) == (b.kind, b.step, b.epoch)
        if a.kind == "train" or not own:
            assert a.loss == pytest.approx(b.loss, rel=1e-4)


@pytest.mark.parametrize("name", JUDGINGS)
def test_several_processes_judge_what_one_does(name: str, runs: Runs) -> None:
    """Each image counts once: 360 of them, and per class as many."""
    judged = [each[name]["gave"] for each in runs.found]
    assert all(each == judged[0] for each in judged)
    alone = runs.alone[name]["gave"]
    assert judged[0]["images"] == alone["images"] == 360
    assert judged[0]["per_class"] == alone["per_class"]
    assert judged[0]["loss"] == pytest.approx(alone["loss"], rel=1e-5)


@pytest.mark.parametrize("images", [1, 3, 4, 7, 360, 1001])
@pytest.mark.parametrize("size", [1, 2, 4, 5])
def test_every_image_is_judged_once(images: int, size: int) -> None:
    """Whether the processes divide the set or outnumber it, and no batch is empty."""
    parts = [part for rank in range(size) for part in share(images, World(rank, size), batch=16)]
    assert all(1 <= len(part) <= 16 for part in parts)
    assert sorted(torch.cat([part.indices for part in parts]).tolist()) == list(range(images))


def test_rank_0_alone_writes(runs: Runs) -> None:
    """Each process has a folder of its own to write `relative` into."""
    assert (runs.places / "0/relative/weights.safetensors").is_file()
    for rank in range(1, runs.size):
        assert [path.name for path in (runs.places / f"{rank}").iterdir()] == ["found.json"]
    rows = read_metrics(runs.places / "0/relative/metrics.jsonl")
    assert len({(row.kind, row.step) for row in rows}) == len(rows)


def test_every_process_is_told_what_is_wrong(runs: Runs) -> None:
    for each in runs.found:
        assert "cannot be shared equally" in each["not shared"]["said"]
        assert "24" in each["not grouped"]["said"]
    lost = runs.found[1]["not seen"]
    assert lost["raised"] == "UsageError"
    assert "process 1 finds no checkpoint and process 0 that of iteration 8" in lost["said"]
    assert "a disk that all hosts share" in lost["said"]
    told = runs.found[0]["not seen"]
    assert told["raised"] == "RunError"
    assert told["said"].endswith("a disk that all hosts share")


@pytest.mark.parametrize(
    ("name", "overrides", "said"),
    [
        ("sums", (), "batch norms take their statistics from 32 images instead of 16, for the rec"),
        ("synced", ("norm_sync=true", "precise_norm=60"), "the last bits may differ"),
    ],
)
def test_another_number_of_processes_goes_on_and_says_what_that_means(
    name: str,
    overrides: tuple[str, ...],
    said: str,
    two: Runs,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """From the middle between two readings: what both processes counted is not lost."""
    out = tmp_path / "run"
    shutil.copytree(two.all / name, out)
    for step in (6, 8):
        shutil.rmtree(out / f"checkpoints/step-{step:08d}")
    before = read_metrics(out / "metrics.jsonl")
    asked = {"data": "digits", "threads": 1, "progress": False, "device": "cpu", **LENGTH}
    log_every = 8 if name == "sums" else None
    options = TrainOptions(**asked, overrides=overrides, log_every=log_every, out=out, resume=True)
    train(tiny(tmp_path, "plain_tiny" if name == "sums" else "tiny"), options)
    assert f"number of processes: 2 then, 1 now; {said}" in capsys.readouterr().err
    for a, b in zip(before, read_metrics(out / "metrics.jsonl"), strict=True):
        assert (a.kind, a.step) == (b.kind, b.step)
        assert a.loss == pytest.approx(b.loss, rel=1e-4)
        assert a.error == pytest.approx(b.error, abs=1e-9)


def test_two_processes_give_the_bits_of_the_mean_of_two_halves(two: Runs, tmp_path: Path) -> None:
    """A sum of two has one order: this is what torch's reduction computes, by hand."""
    net = tiny(tmp_path, "plain_tiny")
    options = TrainOptions(
        data="digits", threads=1, device="cpu", iterations=8, batch=32, deterministic=True
    )
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    job = prepare(net, options, World(), CPU)
    state = initial_state(job, 0, World())
    step = Step(state, state.module, Mode(CPU), job.recipe, (8, 8), 0, 8)
    order = Order(len(job.train.images), 32, 0)
    update = state.optimizer.step

    def halves() -> None:
        """Stands where the step updates: gradients of either half, each halved, then summed."""

    state.optimizer.step = halves  # type: ignore[method-assign]
    for number in range(8):
        grads = []
        for rank in range(2):
            given = batches(job.train, [order.take(number, rank, 2)], CPU, job.workers)
            step(*next(iter(given)))
            state.step -= 1
            grads.append([p.grad / 2 for p in state.module.parameters()])  # type: ignore[operator]
        for parameter, first, second in zip(state.module.parameters(), *grads, strict=True):
            parameter.grad = first + second
        update()
        state.step += 1
    torch.set_num_threads(threads)
    trained = load_file(two.all / "plain/weights.safetensors")
    for path, tensor in state.module.state_dict().items():
        assert torch.equal(tensor, trained[path]), path
