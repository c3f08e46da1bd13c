"""What recipes mean, against references written out by hand."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from quick_runs import QUICK
from safetensors.torch import load_file
from tiny_networks import tiny
from torch import nn
from torchvision.transforms import v2

from resnetc.diagnostics import UsageError
from resnetc.driver import load
from resnetc.recipes import (
    PRESETS,
    Cosine,
    PcaColor,
    Progressive,
    RandAugment,
    RandomErase,
    RandomResizedCrop,
    Recipe,
    Sgd,
    Step,
    Transform,
    TrivialAugment,
    Warmup,
    torchvision_v2,
)
from resnetc.train import EvaluateOptions, TrainOptions, evaluate, train
from resnetc.train.draws import Order, Samples, permutation
from resnetc.train.plan import make_plan
from resnetc.train.recorded import recorded_recipe
from resnetc.train.resizing import require_size, resized, size_at
from resnetc.train.run_folder import record
from resnetc.train.schedule import Schedule
from resnetc.train.transforms import PCA_EIGENVALUES, PCA_EIGENVECTORS, apply, check


def _many(count: int, seed: int = 0) -> Samples:
    return Samples(seed, torch.zeros(count, dtype=torch.int64), torch.arange(count))


# ------------------------------------------------------------------------------- the learning rate


def test_a_ramp_rises_in_a_line_and_a_cosine_falls_to_the_end() -> None:
    recipe = Recipe(
        optimizer=Sgd(lr=0.5),
        schedule=(Warmup(lr=0.1, iterations=4, ramp=True), Cosine(end=0.02)),
        iterations=12,
    )
    schedule = Schedule(recipe)
    found = [schedule.lr(step) for step in range(13)]
    assert found[:4] == pytest.approx([0.1, 0.2, 0.3, 0.4])
    expected = [0.02 + 0.48 * (1 + math.cos(math.pi * t / 8)) / 2 for t in range(9)]
    assert found[4:] == pytest.approx(expected)
    assert (found[4], found[12]) == (0.5, 0.02)


def test_a_cosine_is_torchs() -> None:
    parameter = nn.Parameter(torch.zeros(1))
    theirs = torch.optim.SGD([parameter], lr=0.5)
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(theirs, T_max=10, eta_min=0.01)
    recipe = Recipe(optimizer=Sgd(lr=0.5), schedule=(Cosine(0.01),), iterations=10)
    ours = Schedule(recipe)
    for step in range(10):
        assert ours.lr(step) == pytest.approx(theirs.param_groups[0]["lr"])
        theirs.step()
        falling.step()


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        (Recipe(schedule=(Cosine(), Step(at=(3,))), iterations=9), "of its own"),
        (Recipe(schedule=(Cosine(), Cosine()), iterations=9), "of its own"),
        (Recipe(schedule=(Cosine(),)), "where the run ends"),
        (Recipe(schedule=(Warmup(ramp=True, iterations=0),)), "to rise over"),
    ],
)
def test_schedules_that_cannot_be(recipe: Recipe, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Schedule(recipe)


def test_epochs_of_a_warm_up_become_iterations_and_are_scaled_with_the_run() -> None:
    recipe = replace(torchvision_v2(), batch=100)
    plan = make_plan(recipe, TrainOptions(), images=1000)
    assert plan.iterations == 6000
    assert plan.recipe.schedule[0] == Warmup(lr=0.005, iterations=50, ramp=True)
    half = make_plan(recipe, TrainOptions(epochs=300, batch=50), images=1000)
    assert half.iterations == 6000
    assert half.recipe.schedule[0] == Warmup(lr=0.005, iterations=50, ramp=True)
    short = make_plan(recipe, TrainOptions(epochs=60), images=1000)
    assert short.recipe.schedule[0] == Warmup(lr=0.005, iterations=5, ramp=True)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("repeats=0", "repeats is 0"),
        ("norm_images=0", "norm_images is 0"),
        ("precise_norm=-1", "precise_norm is -1"),
        ("label_smoothing=1.0", "label_smoothing is 1.0"),
        ("ema=ema(decay=1.0)", "decay is 1.0"),
        ("ema=ema(every=0)", "every is 0"),
        ("mix=mixup(0.0)", "mixup's alpha is 0.0"),
        ("resizing=progressive(start=0.0)", r"start is 0.0; it must lie in \(0, 1\]"),
        ("resizing=progressive(delay=0.9)", "at most 1"),
        ("resizing=progressive(increment=0)", "increment is 0"),
    ],
)
def test_options_that_mean_nothing(override: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make_plan(Recipe(iterations=10), TrainOptions(overrides=(override,)), images=100)


# -------------------------------------------------------------------------------------- the images


def test_pca_noise_has_the_covariance_of_its_components() -> None:
    count = 40_000
    noise = apply([PcaColor(0.1)], torch.zeros(count, 3, 1, 1), _many(count), None)
    found = torch.cov(noise[:, :, 0, 0].double().T)
    vectors = torch.tensor(PCA_EIGENVECTORS, dtype=torch.float64)
    scales = 0.1 * torch.tensor(PCA_EIGENVALUES, dtype=torch.float64)
    expected = vectors @ torch.diag(scales.square()) @ vectors.T
    assert torch.allclose(found, expected, atol=0.03 * float(expected.abs().max()))


AUGMENTS: list[tuple[Transform, v2.Transform]] = [
    (RandomResizedCrop(8), v2.RandomResizedCrop((8, 8), (0.08, 1.0), (0.75, 4 / 3))),
    (RandAugment(2, 12), v2.RandAugment(2, 12)),
    (TrivialAugment(), v2.TrivialAugmentWide()),
    (RandomErase(0.9), v2.RandomErasing(0.9)),
]


@pytest.mark.parametrize(("ours", "theirs"), AUGMENTS, ids=lambda a: type(a).__name__)
def test_torchvisions_transforms_are_theirs_under_the_samples_draw(
    ours: Transform, theirs: v2.Transform
) -> None:
    images = torch.randint(0, 256, (6, 3, 12, 12), dtype=torch.uint8)
    samples = _many(6, seed=4)
    before = torch.get_rng_state()
    done = apply([ours], images, samples, None)
    assert torch.equal(torch.get_rng_state(), before)
    for i, bits in enumerate(samples.bits(0).tolist()):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(bits)
            assert torch.equal(done[i], theirs(images[i])), i
    alone = Samples(4, samples.epochs[3:4], samples.indices[3:4])
    assert torch.equal(apply([ours], images[3:4], alone, None)[0], done[3])
    assert len({tuple(image.flatten().tolist()) for image in done}) > 3


def test_whole_colours_are_asked_for() -> None:
    from resnetc.recipes import SubtractPixelMean

    with pytest.raises(UsageError, match=r"place it before `subtract_pixel_mean`"):
        check([SubtractPixelMean(), TrivialAugment()], (8, 8), (3, 8, 8))


def test_repeated_images_follow_each_other_and_differ_in_their_draws() -> None:
    order = Order(samples=10, batch=6, seed=3, repeats=3)
    plain = permutation(10, seed=3, epoch=0)
    first, second = order.take(0), order.take(1)
    both = torch.cat([first.indices, second.indices])[:10]
    assert both.tolist() == [int(plain[i // 3]) for i in range(10)]
    # The second epoch begins at the eleventh place, with a permutation of its own.
    assert second.indices[4:].tolist() == [int(permutation(10, 3, 1)[0])] * 2
    keys = {*zip(*(torch.cat([getattr(s, n) for s in (first, second)]).tolist()
                   for n in ("epochs", "indices")), strict=True)}  # fmt: skip
    assert len(keys) == 12
    assert len(set(first.uniform(0).tolist())) == 6


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_survives_the_lock_file(name: str) -> None:
    recipe = PRESETS[name](32)
    kept = json.loads(json.dumps(record(recipe)))
    data = {"name": "digits", "train": 3, "val": 0}
    found = recorded_recipe({"recipe": kept, "data_set": data})
    assert replace(found, data=recipe.data) == recipe


# ------------------------------------------------------------------------------------------- sizes


def test_images_grow_as_the_run_goes_on() -> None:
    rule = Progressive(start=0.5, delay=0.5, settle=0.2, increment=4)
    sizes = [size_at(rule, (30, 30), step, 100)[0] for step in range(100)]
    assert sizes[:51] == [16] * 51  # 15 pixels, to the next multiple of 4
    assert sizes[80:] == [30] * 20
    assert sizes[65] == 24  # half way: 0.75 * 30 = 22.5
    assert sizes == sorted(sizes)
    assert resized(torch.zeros(2, 1, 8, 8), (4, 4)).shape == (2, 1, 4, 4)


def test_a_network_says_whether_it_takes_other_sizes(tmp_path: Path) -> None:
    require_size(tiny(tmp_path).graph, (4, 4))
    require_size(load("resnet20").graph, (24, 24))
    with pytest.raises(UsageError, match=r"declared for images of 8x8 and cannot be run on 6x6"):
        require_size(tiny(tmp_path, "pointed").graph, (6, 6))


def test_option_a_adds_no_parameter() -> None:
    plain, residual = load("plain20"), load("resnet20")
    assert residual.cost.params == plain.cost.params
    assert list(residual.graph.parameters) == list(plain.graph.parameters)


# -------------------------------------------------------------------------------------- everything

MODERN = (
    "augment=[rand_augment(ops=1), subtract_mean, pad(1), random_crop(8), random_erase(0.5)]",
    "mix=[mixup, cutmix]",
    "resizing=progressive(delay=0.25, settle=0.25)",
    "repeats=2",
    "optimizer=sgd(lr=0.1, decay_norm=false)",
    "schedule=[warmup(lr=0.01, iterations=3, ramp=true), cosine]",
    "label_smoothing=0.1",
    "ema=ema(decay=0.8, every=2)",
    "norm_images=16",
    "precise_norm=64",
)


def test_everything_at_once_goes_on_bit_for_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os
    import signal

    from resnetc.train import StoppedError
    from resnetc.train.checkpoint import found, read
    from resnetc.train.trainer import Trainer

    net = tiny(tmp_path, "dropping")
    options = replace(QUICK, iterations=12, overrides=MODERN, workers=0)
    whole = train(net, replace(options, out=tmp_path / "whole"))
    step = Trainer._step

    def interrupted(self: Trainer, images: torch.Tensor, labels: torch.Tensor) -> None:
        if self.state.step in (2, 5, 9):
            os.kill(os.getpid(), signal.SIGTERM)
        step(self, images, labels)

    monkeypatch.setattr(Trainer, "_step", interrupted)
    parts = replace(options, out=tmp_path / "parts", resume=True)
    stops = 0
    while True:
        try:
            result = train(net, parts)
        except StoppedError:
            stops += 1
            continue
        break
    assert stops == 3
    one, two = load_file(whole.weights), load_file(result.weights)
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert result.test == whole.test
    last = read(found(result.run / "checkpoints")[0])
    assert last.ema.keys() == last.weights.keys()
    assert not torch.equal(last.ema["fc.weight"], last.weights["fc.weight"])
    assert torch.equal(last.ema["fc.weight"], two["fc.weight"])


def test_a_checkpoint_with_an_average_is_judged_by_it(tmp_path: Path) -> None:
    net = tiny(tmp_path)
    overrides = ("ema=ema(decay=0.9)",)
    result = train(net, replace(QUICK, out=tmp_path / "run", iterations=4, overrides=overrides))
    checkpoint = result.run / "checkpoints/step-00000004"
    judge = EvaluateOptions(threads=1, device="cpu")
    assert evaluate(net, checkpoint, judge) == result.test
    assert evaluate(net, checkpoint / "weights.safetensors", judge) != result.test
