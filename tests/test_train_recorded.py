"""Recorded training steps: the same numbers as steps that are not, and what cannot be recorded."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from replaying import Replays
from steps import CPU, QUICK, a_step, as_on_a_device, plain_statistics, random_images, same_weights
from tiny_networks import tiny
from torch import nn

from resnetc.driver import Network
from resnetc.recipes import (
    Ema,
    Mixup,
    Pad,
    RandomCrop,
    Recipe,
    Sgd,
)
from resnetc.recipes import (
    Step as Drops,
)
from resnetc.train import TrainOptions, optimizer, train, trainer
from resnetc.train.draws import Order
from resnetc.train.evaluation import Mode
from resnetc.train.feed import Workers, batches, view
from resnetc.train.graphs import RecordedStep, obstacle
from resnetc.train.processes import World
from resnetc.train.state import State
from resnetc.train.step import Step


@pytest.fixture(autouse=True)
def _updates_as_on_a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plain steps update by the operations of recorded ones, as they do on a device."""
    monkeypatch.setattr(optimizer, "_waits_for_memory", lambda device: False)


@pytest.fixture
def net(tmp_path: Path) -> Network:
    return tiny(tmp_path)


@contextlib.contextmanager
def _replaying(recorder: Replays) -> Iterator[None]:
    """Runs on the CPU record and replay their steps."""
    with pytest.MonkeyPatch.context() as patch:
        as_on_a_device(patch)
        patch.setattr(trainer, "obstacle", lambda job, world: None)
        patch.setattr(trainer, "CudaGraphs", lambda device: recorder)
        yield


SCHEDULE = "schedule=[step(at=[4, 8])]"


@pytest.mark.parametrize(
    ("name", "overrides", "accumulate", "recorded"),
    [
        ("tiny", (), 1, 1),
        ("tiny", ("optimizer.form=torch", "optimizer.decay_norm=false"), 1, 1),
        ("tiny", ("optimizer=lamb(lr=0.01)",), 1, 1),
        ("dropping", ("ema=ema(decay=0.9, every=3)",), 1, 2),
        ("tiny", ("schedule=[warmup(lr=0.01, iterations=4, ramp=true), cosine]", "ema=ema"), 1, 2),
        ("tiny", ("norm_images=8", "precision=bf16"), 2, 1),
        ("tiny", ("resizing=progressive(start=0.5, increment=2)", "label_smoothing=0.1"), 1, 3),
    ],
    ids=["caffe", "torch", "lamb", "average", "warm-up", "accumulated", "resizing"],
)
def test_replayed_steps_give_the_weights_of_plain_ones(
    name: str, overrides: tuple[str, ...], accumulate: int, recorded: int, tmp_path: Path
) -> None:
    net = tiny(tmp_path, name)
    fixed = () if any("schedule" in text for text in overrides) else (SCHEDULE,)
    asked = replace(QUICK, overrides=(*fixed, *overrides), accumulate=accumulate)
    plain = train(net, replace(asked, out=tmp_path / "plain"))
    recorder = Replays()
    with _replaying(recorder):
        other = train(net, replace(asked, cuda_graph=True, out=tmp_path / "replayed"))
    assert (recorder.recorded, recorder.replayed) == (recorded, 12)
    assert same_weights(plain, other)
    assert other.train_error == plain.train_error


def test_a_replayed_run_goes_on_bit_for_bit(tmp_path: Path) -> None:
    """Plain steps, then replayed ones, then plain ones: one run."""
    net = tiny(tmp_path, "dropping")
    asked = replace(QUICK, overrides=(SCHEDULE, "ema=ema(decay=0.9)"), checkpoint_every=4)
    whole = train(net, replace(asked, out=tmp_path / "whole"))
    parts = replace(asked, out=tmp_path / "parts", resume=True)
    _train_to(net, parts, 4)
    recorder = Replays()
    with _replaying(recorder):
        _train_to(net, replace(parts, cuda_graph=True), 8)
    assert recorder.replayed == 4
    assert same_weights(whole, train(net, parts))


def _train_to(net: Network, options: TrainOptions, last: int) -> None:
    """Train as far as a step, and be interrupted."""

    def boundary(self: trainer.Trainer) -> None:
        at_boundary(self)
        if self.state.step == last:
            raise KeyboardInterrupt

    at_boundary = trainer.Trainer._at_boundary
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer.Trainer, "_at_boundary", boundary)
        with pytest.raises(KeyboardInterrupt):
            train(net, options)


def _taken(net: Network, recorder: Any, said: list[str], recipe: Recipe) -> State:
    """The state after six recorded steps."""
    step = a_step(net, recipe)
    seen = view(random_images(), (1, 8, 8), (Pad(1), RandomCrop(8)), plain_statistics())
    with pytest.MonkeyPatch.context() as patch:
        as_on_a_device(patch)
        recorded = RecordedStep(step, seen, recorder, said.append)
        for samples in Order(64, 16, seed=0).steps(0, 6):
            recorded(samples)
    return step.state


RULE = Recipe(optimizer=Sgd(lr=0.1), schedule=(Drops(at=(3,)),), iterations=6, ema=Ema(0.5, 2))


def _plain(net: Network) -> State:
    step = a_step(net, RULE)
    seen = view(random_images(), (1, 8, 8), (Pad(1), RandomCrop(8)), plain_statistics())
    for images, labels in batches(seen, Order(64, 16, seed=0).steps(0, 6), CPU, Workers()):
        step(images, labels)
    return step.state


def _equal(one: State, other: State) -> bool:
    ours, theirs = one.tensors(), other.tensors()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[n], theirs[n]) for n in ours)


def test_what_cannot_be_recorded_is_done_plainly(net: Network) -> None:
    class Failing(Replays):
        def record(self, work: Callable[[], object]) -> Callable[[], object]:
            super().record(work)
            raise RuntimeError("operation not permitted when stream is capturing\nmore of it")

    said: list[str] = []
    assert _equal(_taken(net, failing := Failing(), said, RULE), _plain(net))
    assert said == ["no CUDA graph: operation not permitted when stream is capturing"]
    assert failing.recorded == 1


def test_a_replay_that_is_another_step_is_not_used(net: Network) -> None:
    spoilt: list[nn.Parameter] = []
    real = a_step

    def spoil() -> None:
        with torch.no_grad():
            spoilt[0].add_(0.01)

    def remembered(*given: Any) -> Step:
        step = real(*given)
        spoilt[:] = list(step.state.module.parameters())
        return step

    said: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(f"{__name__}.a_step", remembered)
        state = _taken(net, recorder := Replays(spoil), said, RULE)
    assert said == ["no CUDA graph: a replayed step was not the step that was recorded"]
    assert recorder.replayed == 1
    assert _equal(state, _plain(net))


def test_why_steps_are_not_recorded(net: Network, capfd: pytest.CaptureFixture[str]) -> None:
    from types import SimpleNamespace

    def job(device: str = "cuda:0", there: str = "cpu", **recipe: Any) -> Any:
        seen = view(random_images(), (1, 8, 8), (), None).on(torch.device(there))
        mode, made = Mode(torch.device(device)), Recipe(**recipe)
        return SimpleNamespace(mode=mode, train=seen, recipe=made, memory=None)

    assert obstacle(job("cpu"), World()) == "there are none on cpu"
    assert "several processes" in str(obstacle(job(), World(0, 2)))
    assert "do not lie on the device" in str(obstacle(job(), World()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("resnetc.train.graphs.lies_on", lambda seen, device: True)
        assert "mixup" in str(obstacle(job(mix=(Mixup(0.2),)), World()))
        assert obstacle(job(), World()) is None
    train(net, replace(QUICK, iterations=1, cuda_graph=True, out=Path(net.reference).parent / "on"))
    assert "no CUDA graph: there are none on cpu" in capfd.readouterr().err
    train(net, replace(QUICK, iterations=1, out=Path(net.reference).parent / "left"))
    assert "CUDA graph" not in capfd.readouterr().err
