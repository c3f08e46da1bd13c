"""The learning rate of every step, the optimizer's two forms, the plan's arithmetic."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_networks import tiny
from torch import nn

from resnetc.diagnostics import CompileError, UsageError
from resnetc.driver import Network, load
from resnetc.recipes import (
    PRESETS,
    AdamW,
    Condition,
    DataSet,
    HorizontalFlip,
    Lamb,
    Plateau,
    Recipe,
    Sgd,
    Step,
    Warmup,
    default_recipe,
    he2015_cifar,
)
from resnetc.train import optimizer as optimizing
from resnetc.train import train
from resnetc.train.optimizer import CaffeSGD, make_optimizer, set_lr
from resnetc.train.options import TrainOptions
from resnetc.train.plan import choose_recipe, make_plan
from resnetc.train.schedule import Schedule

RESNET110 = Recipe(
    schedule=(
        Warmup(lr=0.01, until=Condition("train_error", "<", 0.8)),
        Step(at=(32_000, 48_000)),
    )
)


def _close(value: float, expected: float) -> bool:
    return abs(value - expected) < 1e-12


# ------------------------------------------------------------------------------------- schedule


def test_steps_divide_the_rate_at_their_iterations() -> None:
    schedule = Schedule(he2015_cifar())
    steps = [0, 31_999, 32_000, 47_999, 48_000, 63_999]
    rates = [schedule.lr(step) for step in steps]
    for rate, expected in zip(rates, [0.1, 0.1, 0.01, 0.01, 0.001, 0.001], strict=True):
        assert _close(rate, expected)


def test_the_warm_up_of_resnet110_ends_when_the_error_falls_below_80_percent() -> None:
    schedule = Schedule(RESNET110)
    assert schedule.lr(0) == 0.01
    schedule.after_training(100, 0.89)
    assert schedule.lr(100) == 0.01
    schedule.after_training(300, 0.80)
    assert schedule.lr(300) == 0.01
    schedule.after_training(400, 0.7999)
    assert schedule.lr(400) == 0.1
    schedule.after_training(500, 0.95)
    assert schedule.lr(500) == 0.1
    assert _close(schedule.lr(32_000), 0.01)


def test_a_warm_up_by_iterations_counts_from_its_own_beginning() -> None:
    warmups = (Warmup(lr=0.001, iterations=5), Warmup(lr=0.01, iterations=3))
    schedule = Schedule(Recipe(schedule=warmups))
    assert [schedule.lr(step) for step in range(10)] == [0.001] * 5 + [0.01] * 3 + [0.1] * 2


def test_a_warm_up_that_cannot_end_is_refused() -> None:
    with pytest.raises(UsageError, match="never end"):
        Schedule(Recipe(schedule=(Warmup(),)))


def test_two_plateaus_are_refused() -> None:
    with pytest.raises(UsageError, match="one plateau"):
        Schedule(Recipe(schedule=(Plateau(), Plateau())))


def test_the_rate_drops_when_the_error_has_stopped_falling() -> None:
    schedule = Schedule(Recipe(schedule=(Plateau(patience=2, threshold=0.01),)))
    dropped = [schedule.after_evaluation(e) for e in (0.5, 0.4, 0.395, 0.3, 0.299, 0.31)]
    assert dropped == [False, False, False, False, False, True]
    assert _close(schedule.lr(0), 0.01)
    # A drop starts the count anew.
    assert [schedule.after_evaluation(0.3) for _ in range(2)] == [False, True]
    assert _close(schedule.lr(0), 0.001)


def test_a_plateau_that_test_images_steer_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = TrainOptions(data="digits", threads=1, device="cpu", iterations=2, batch=8)
    net = tiny(tmp_path)
    for name, override, val in (
        ("steered", "schedule=[plateau()]", None),
        ("split", "schedule=[plateau()]", 100),
        ("steps", "schedule=[step(at=[1])]", None),
    ):
        recipe = replace(net.recipes["short"], data=DataSet("digits", 900, val))
        asked = replace(options, out=tmp_path / name, overrides=(override,))
        train(replace(net, recipes={"short": recipe}), asked)
        said = capsys.readouterr().err
        assert ("the plateau is found by the test images" in said) == (name == "steered")


def test_the_rate_does_not_drop_below_the_least() -> None:
    schedule = Schedule(Recipe(schedule=(Plateau(patience=1, min_lr=0.005),)))
    schedule.after_evaluation(0.5)
    assert [schedule.after_evaluation(0.5) for _ in range(4)] == [True, True, False, False]
    assert schedule.lr(0) == 0.005


def test_plateaus_are_not_counted_during_a_warm_up() -> None:
    recipe = Recipe(schedule=(Warmup(lr=0.01, iterations=10), Plateau(patience=1)))
    schedule = Schedule(recipe)
    schedule.lr(0)
    assert not any(schedule.after_evaluation(0.5) for _ in range(5))
    assert schedule.lr(10) == 0.1
    assert schedule.after_evaluation(0.5) is False
    assert schedule.after_evaluation(0.5) is True


def test_a_schedule_goes_on_where_it_was_saved() -> None:
    recipe = Recipe(
        schedule=(Warmup(until=Condition("train_error", "<", 0.8)), Plateau(patience=3))
    )
    one = Schedule(recipe)
    one.after_training(40, 0.7)
    for error in (0.5, 0.5, 0.5):
        one.after_evaluation(error)
    two = Schedule(recipe)
    two.restore(json.loads(json.dumps(one.to_json())))
    assert two.lr(41) == one.lr(41) == 0.1
    assert one.after_evaluation(0.5) is two.after_evaluation(0.5) is True
    assert two.lr(42) == one.lr(42)


# ------------------------------------------------------------------------------------- optimizer


def _parameter(value: float = 1.0) -> nn.Parameter:
    return nn.Parameter(torch.tensor([value], dtype=torch.float64))


def test_caffe_momentum_keeps_the_old_rate_in_the_velocity() -> None:
    p = _parameter()
    optimizer = CaffeSGD([p], lr=0.1, momentum=0.9, weight_decay=0.01)
    value, velocity = 1.0, 0.0
    for step, gradient in enumerate([0.5, -0.2, 0.3, 0.1, 0.4]):
        lr = 0.1 if step < 2 else 0.01
        set_lr(optimizer, lr)
        p.grad = torch.tensor([gradient], dtype=torch.float64)
        optimizer.step()
        velocity = 0.9 * velocity + lr * (gradient + 0.01 * value)
        value -= velocity
        assert abs(p.item() - value) < 1e-12


def test_the_forms_agree_until_the_rate_changes() -> None:
    ours, theirs = _parameter(), _parameter()
    caffe = CaffeSGD([ours], lr=0.1, momentum=0.9, weight_decay=0.01)
    plain = torch.optim.SGD([theirs], lr=0.1, momentum=0.9, weight_decay=0.01)
    for step in range(8):
        if step == 5:
            assert torch.allclose(ours, theirs, atol=1e-12)
            set_lr(caffe, 0.01)
            set_lr(plain, 0.01)
        for p, optimizer in ((ours, caffe), (theirs, plain)):
            p.grad = p.detach() * 2 - 1
            optimizer.step()
    assert abs(ours.item() - theirs.item()) > 1e-3


@pytest.mark.parametrize("momentum", [0.9, 0.0])
@pytest.mark.parametrize("decay", [0.01, 0.0])
def test_one_pass_is_the_step_of_a_device(
    momentum: float, decay: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rates that change, stand at 0 and come back; a filter that lies channels last; a vector."""
    generator = torch.Generator().manual_seed(0)
    filters = torch.randn(5, 3, 3, 3, generator=generator, dtype=torch.float64)
    start = filters.to(memory_format=torch.channels_last), torch.ones(7, dtype=torch.float64)
    pair = [[nn.Parameter(each.clone()) for each in start] for _ in range(2)]
    makers = [CaffeSGD(each, lr=0.1, momentum=momentum, weight_decay=decay) for each in pair]
    for rate in (0.1, 0.1, 0.01, 0.0, 0.02):
        gradients = [
            torch.randn(each.shape, generator=generator, dtype=torch.float64) for each in start
        ]
        for one_pass, parameters, maker in zip((True, False), pair, makers, strict=True):
            monkeypatch.setattr(optimizing, "_waits_for_memory", lambda device, it=one_pass: it)
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.grad = torch.empty_like(parameter).copy_(gradient)
            set_lr(maker, rate)
            maker.step()
        for ours, theirs in zip(*pair, strict=True):
            assert torch.allclose(ours, theirs, rtol=0, atol=1e-14), rate


@pytest.fixture
def net(tmp_path: Path) -> Network:
    return tiny(tmp_path)


@pytest.mark.parametrize(
    ("sgd", "spared"),
    [
        (Sgd(), set()),
        (Sgd(decay_norm=False), {"bn1.weight", "bn1.bias"}),
        (Sgd(decay_bias=False, form="torch"), {"fc.bias"}),
        (Sgd(decay_norm=False, decay_bias=False), {"bn1.weight", "bn1.bias", "fc.bias"}),
    ],
)
def test_what_decays_is_told_by_role(sgd: Sgd, spared: set[str], net: Network) -> None:
    module = net.to_torch()
    optimizer = make_optimizer(module, net.graph, sgd)
    assert isinstance(optimizer, CaffeSGD) == (sgd.form == "caffe")
    names = {id(p): name for name, p in module.named_parameters()}
    decay = {
        names[id(p)]: group["weight_decay"]
        for group in optimizer.param_groups
        for p in group["params"]
    }
    assert {name for name, rate in decay.items() if rate == 0} == spared
    assert decay["conv1.weight"] == decay["fc.weight"] == 1e-4


@pytest.mark.parametrize("recipe", [Sgd, AdamW, Lamb])
def test_nothing_but_the_weights_of_convolutions_may_decay(
    recipe: type[Sgd | AdamW | Lamb], net: Network
) -> None:
    """FAIR's reading of the paper: "just the weights of the convolution layers"."""
    module = net.to_torch()
    asked = recipe(decay_norm=False, decay_bias=False, decay_linear=False)
    optimizer = make_optimizer(module, net.graph, asked)
    names = {id(p): name for name, p in module.named_parameters()}
    decayed = {
        names[id(p)]
        for group in optimizer.param_groups
        for p in group["params"]
        if group["weight_decay"]
    }
    assert decayed == {"conv1.weight"}


# ------------------------------------------------------------------------------------------ plan


def test_a_shorter_run_scales_milestones_and_says_so() -> None:
    plan = make_plan(he2015_cifar(), TrainOptions(iterations=2000), images=50_000)
    assert plan.recipe.schedule == (Step(at=(1000, 1500)),)
    assert plan.iterations == plan.recipe.iterations == 2000
    note = "2,000 iterations instead of the recipe's 64,000; drops at 1,000 and 1,500 instead of"
    assert note in plan.notes[0]


def test_warm_up_and_evaluations_are_scaled_too() -> None:
    recipe = Recipe(schedule=(Warmup(iterations=400), Plateau()), iterations=1000, eval_every=100)
    plan = make_plan(recipe, TrainOptions(iterations=500), images=100)
    assert plan.recipe.schedule == (Warmup(iterations=200), Plateau())
    assert plan.eval_every == 50
    assert "warm-up of 200 instead of 400" in plan.notes[0]


def test_the_recipes_own_length_changes_nothing() -> None:
    plan = make_plan(he2015_cifar(), TrainOptions(iterations=64_000), images=50_000)
    assert plan.recipe == he2015_cifar()
    assert plan.notes == ()
    assert plan.eval_every == 391
    assert plan.log_every == 100


def test_milestones_that_are_overridden_are_not_scaled() -> None:
    options = TrainOptions(iterations=100, overrides=("schedule.step.at=[60, 120]",))
    plan = make_plan(he2015_cifar(), options, images=1000)
    assert plan.recipe.schedule == (Step(at=(60, 120)),)
    assert "120 lie behind the end" in plan.notes[-1]


def test_epochs_end_with_the_batch_that_holds_their_last_image() -> None:
    recipe = replace(he2015_cifar(), iterations=None, epochs=3, schedule=())
    assert make_plan(recipe, TrainOptions(), images=1000).iterations == 24
    assert make_plan(recipe, TrainOptions(epochs=1, batch=100), images=1000).iterations == 10


def test_named_options_override_fields() -> None:
    options = TrainOptions(
        batch=32, lr=0.05, precision="bf16", overrides=("optimizer.momentum=0.8", "batch=64")
    )
    recipe = make_plan(he2015_cifar(), options, images=1000).recipe
    assert (recipe.batch, recipe.precision) == (32, "bf16")
    assert (recipe.optimizer.lr, recipe.optimizer.momentum) == (0.05, 0.8)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (TrainOptions(iterations=0), "iterations is 0"),
        (TrainOptions(epochs=-1), "epochs is -1"),
        (TrainOptions(batch=0), "batch is 0"),
        (TrainOptions(lr=-0.1), "lr is -0.1"),
        (TrainOptions(lr=float("nan")), "lr is nan"),
        (TrainOptions(seed=-1), "seed is -1"),
        (TrainOptions(keep=0), "keep is 0"),
        (TrainOptions(iterations=1, epochs=1), "give one"),
        (TrainOptions(overrides=("optimizer.momentum=1.5",)), "momentum is 1.5"),
        (TrainOptions(overrides=("bach=3",)), "did you mean `batch`"),
        (TrainOptions(overrides=("batch",)), "KEY=VALUE"),
        (TrainOptions(overrides=("schedule.plateau.patience=3",)), "there is no `plateau`"),
        (TrainOptions(overrides=("augment.pad=3",)), "say which part of `pad`"),
        (TrainOptions(overrides=("batch.size=3",)), "`batch` has no parts"),
        (TrainOptions(overrides=("iterations=none",)), "how long to train"),
    ],
)
def test_requests_that_make_no_sense(options: TrainOptions, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make_plan(he2015_cifar(), options, images=1000)


@pytest.mark.parametrize("text", ["batch=0.5", "batch=1 +", "precision=fp8", "augment=[crop(3)]"])
def test_override_values_of_the_wrong_kind_are_located(text: str) -> None:
    with pytest.raises(CompileError, match=r"--override \w+:1:"):
        make_plan(he2015_cifar(), TrainOptions(overrides=(text,)), images=1000)


def test_recipes_that_are_there_are_named_once() -> None:
    net = load("digits_resnet14")
    with pytest.raises(UsageError, match=r"no recipe `nosuch`\. There are ") as refused:
        choose_recipe(net, "nosuch", 8, None)
    assert str(refused.value).count("digits") == 1


def test_overrides_are_written_as_in_a_spec() -> None:
    texts = (
        "augment.pad.pixels=2",
        "augment.hflip.p=0.25",
        "optimizer.form=torch",
        "data=cifar10(train=45000, val=5000)",
        "schedule=[warmup(lr=0.01, until=train_error < 80%), step(at=[5])]",
    )
    recipe = make_plan(he2015_cifar(), TrainOptions(overrides=texts), images=1000).recipe
    assert recipe.augment[1].pixels == 2  # type: ignore[union-attr]
    assert recipe.augment[3] == HorizontalFlip(0.25)
    assert recipe.optimizer.form == "torch"
    assert recipe.data == DataSet("cifar10", 45_000, 5_000)
    assert recipe.schedule[0] == Warmup(0.01, Condition("train_error", "<", 0.8))


class _Net:
    name = "net"

    def __init__(self, **recipes: Recipe) -> None:
        self.recipes = recipes
        self.recipe = next(iter(recipes.values()), None)


def test_recipes_are_chosen_by_name_then_by_network_then_by_size() -> None:
    own, other = Recipe(batch=1), Recipe(batch=2)
    net = _Net(own=own, other=other)
    assert choose_recipe(net, None, 32, None)[0] is own
    assert choose_recipe(net, "other", 32, None)[0] is other
    assert choose_recipe(net, "he2015_cifar", 32, None)[0] == PRESETS["he2015_cifar"](32)
    with pytest.raises(UsageError, match="did you mean `other`"):
        choose_recipe(net, "othr", 32, None)
    for size, data in ((32, None), (224, None), (32, "digits")):
        assert choose_recipe(_Net(), None, size, data)[0] == default_recipe(size, data)
    assert default_recipe(32).batch == 128
    assert default_recipe(224).batch == 256
    assert default_recipe(32, "digits").iterations == 800
