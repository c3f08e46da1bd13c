"""LAMB and AdamW against those of timm and torch, and how they are saved and gone on with."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import timm.optim
import torch
from quick_runs import QUICK
from safetensors.torch import load_file
from tiny_networks import tiny
from torch import nn

from resnetc.diagnostics import UsageError
from resnetc.driver import Network, load
from resnetc.recipes import AdamW, Lamb, Optimizer, Recipe, Sgd
from resnetc.train import StoppedError, TrainOptions, train
from resnetc.train.lamb import LAMB
from resnetc.train.optimizer import load_state, make_optimizer, set_lr, state_by_path
from resnetc.train.plan import make_plan
from resnetc.train.stop import StopRequest
from resnetc.train.trainer import Trainer


@pytest.fixture
def net(tmp_path: Path) -> Network:
    return tiny(tmp_path)


def _module() -> nn.Module:
    torch.manual_seed(0)
    layers = nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(12, 4)
    module = nn.Sequential(*layers).double()
    nn.init.zeros_(layers[0].bias)  # type: ignore[arg-type]  # of no length: the ratio's other case
    return module


def _groups(module: nn.Module, decay: float) -> list[dict[str, Any]]:
    """Biases and norms do not decay."""
    parts: tuple[list[Any], list[Any]] = ([], [])
    for p in module.parameters():
        parts[p.ndim < 2].append(p)
    return [{"params": parts[0], "weight_decay": decay}, {"params": parts[1], "weight_decay": 0.0}]


def _follow(ours: torch.optim.Optimizer, theirs: torch.optim.Optimizer, pair: list[nn.Module],
            scale: float) -> None:  # fmt: skip
    """Eight steps of both on gradients of this size, the rate dropped on the way."""
    generator = torch.Generator().manual_seed(3)
    for step in range(8):
        if step == 5:
            set_lr(ours, 1e-3)
            set_lr(theirs, 1e-3)
        for one, two in zip(*(m.parameters() for m in pair), strict=True):
            gradient = scale * torch.randn(one.shape, generator=generator, dtype=torch.float64)
            one.grad, two.grad = gradient.clone(), gradient.clone()
        ours.step()
        theirs.step()
        for one, two in zip(*(m.parameters() for m in pair), strict=True):
            assert torch.allclose(one, two, rtol=0, atol=1e-7), step
            assert one.grad is not None
            assert torch.equal(one.grad, two.grad)  # clipping leaves gradients alone


@pytest.mark.parametrize("scale", [1e-3, 10.0], ids=["small", "clipped"])
@pytest.mark.parametrize("clip", [1.0, None])
@pytest.mark.parametrize("decay", [0.02, 0.0])
def test_lamb_is_timms(scale: float, clip: float | None, decay: float) -> None:
    first, second = _module(), _module()
    ours = LAMB(_groups(first, decay), lr=0.01, betas=(0.8, 0.95), clip_norm=clip)
    theirs = timm.optim.Lamb(
        _groups(second, decay), lr=0.01, betas=(0.8, 0.95), max_grad_norm=clip, foreach=False
    )
    _follow(ours, theirs, [first, second], scale)


def test_lamb_by_hand() -> None:
    """Two steps of one weight vector, from the paper's algorithm 2."""
    p = nn.Parameter(torch.tensor([3.0, 4.0], dtype=torch.float64))
    optimizer = LAMB([{"params": [p], "weight_decay": 0.1}], lr=0.5, clip_norm=None)
    m = v = torch.zeros(2, dtype=torch.float64)
    expected = p.detach().clone()
    for t, gradient in enumerate(([1.0, -2.0], [0.5, 3.0]), 1):
        p.grad = torch.tensor(gradient, dtype=torch.float64)
        optimizer.step()
        m = 0.9 * m + 0.1 * p.grad
        v = 0.999 * v + 0.001 * p.grad.square()
        u = (m / (1 - 0.9**t)) / ((v / (1 - 0.999**t)).sqrt() + 1e-6) + 0.1 * expected
        expected = expected - 0.5 * expected.norm() / u.norm() * u
        # The count of steps is float32, and so are the corrections: 1 - 0.999 keeps 5 digits.
        assert torch.allclose(p.detach(), expected, rtol=1e-4)


def test_lamb_leaves_alone_what_has_no_gradient() -> None:
    one, two = (nn.Parameter(torch.ones(2)) for _ in range(2))
    optimizer = LAMB([one, two], lr=0.1)
    one.grad = torch.ones(2)
    optimizer.step()
    assert not torch.equal(one, torch.ones(2))
    assert torch.equal(two, torch.ones(2))
    assert two not in optimizer.state


def test_adamw_is_torchs(net: Network) -> None:
    module = net.to_torch().double()
    recipe = AdamW(lr=0.01, beta1=0.8, beta2=0.95, eps=1e-5, weight_decay=0.1)
    twin = copy.deepcopy(module)
    ours = make_optimizer(module, net.graph, recipe)
    theirs = torch.optim.AdamW(
        twin.parameters(), lr=0.01, betas=(0.8, 0.95), eps=1e-5, weight_decay=0.1, foreach=False
    )
    _follow(ours, theirs, [module, twin], 1.0)


@pytest.mark.parametrize("kind", [AdamW, Lamb])
def test_every_setting_of_a_recipe_reaches_the_optimizer(
    kind: type[AdamW] | type[Lamb], net: Network
) -> None:
    recipe = kind(
        lr=0.3, beta1=0.7, beta2=0.8, eps=1e-4, weight_decay=0.2, decay_norm=False, decay_bias=False
    )
    module = net.to_torch()
    optimizer = make_optimizer(module, net.graph, recipe)
    names = {id(p): name for name, p in module.named_parameters()}
    for group in optimizer.param_groups:
        assert (group["lr"], group["betas"], group["eps"]) == (0.3, (0.7, 0.8), 1e-4)
    decays = {
        names[id(p)]: group["weight_decay"]
        for group in optimizer.param_groups
        for p in group["params"]
    }
    spared = {"bn1.weight", "bn1.bias", "fc.bias"}
    assert decays == {name: 0.0 if name in spared else 0.2 for name in names.values()}


@pytest.mark.parametrize("clip", [None, 0.25])
def test_lambs_clip_is_the_recipes(clip: float | None, net: Network) -> None:
    steps = []
    for bound in (clip, 1.0):
        module = net.to_torch()
        optimizer = make_optimizer(module, net.graph, Lamb(clip_norm=bound, decay_bias=False))
        for p in module.parameters():
            p.grad = torch.full_like(p, 10.0)
        optimizer.step()
        steps.append({n: t for n, t in state_by_path(module, optimizer).items() if "avg" in n})
    norms = [
        torch.stack([t.norm() for n, t in kept.items() if n.startswith("exp_avg/")]).norm() * 10
        for kept in steps
    ]
    assert float(norms[1]) == pytest.approx(1.0, rel=1e-4)
    assert float(norms[0]) == pytest.approx(0.25) if clip else float(norms[0]) > 2.0


RECIPES: list[Optimizer] = [Sgd(), Sgd(form="torch"), Sgd(momentum=0.0), AdamW(), Lamb()]


@pytest.mark.parametrize("recipe", RECIPES, ids=str)
def test_the_state_is_saved_by_path_and_gone_on_with(recipe: Optimizer, net: Network) -> None:
    one, two = net.to_torch(), net.to_torch()
    two.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    first = make_optimizer(one, net.graph, recipe)
    for value in (0.3, -1.0):
        for p in one.parameters():
            p.grad = torch.full_like(p, value)
        first.step()
    saved = {key: t.clone() for key, t in state_by_path(one, first).items()}
    paths = [name for name, _ in one.named_parameters()]
    kinds = ["step", "exp_avg", "exp_avg_sq"] if not isinstance(recipe, Sgd) else [""]
    expected = {f"{kind}/{path}" if kind else path for kind in kinds for path in paths}
    assert set(saved) == (set() if recipe == Sgd(form="torch", momentum=0.0) else expected)
    second = make_optimizer(two, net.graph, recipe)
    two.load_state_dict(one.state_dict())
    load_state(two, second, saved)
    for optimizer, module in ((first, one), (second, two)):
        for p in module.parameters():
            p.grad = torch.ones_like(p)
        optimizer.step()
    for a, b in zip(one.parameters(), two.parameters(), strict=True):
        assert torch.equal(a, b)


def test_moments_lie_in_memory_as_their_parameters(net: Network) -> None:
    module = net.to_torch().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    kept = {"exp_avg/conv1.weight": torch.randn(4, 1, 3, 3), "step/conv1.weight": torch.tensor(7.0)}
    optimizer = make_optimizer(module, net.graph, Lamb())
    load_state(module, optimizer, kept)
    held = optimizer.state[module.conv1.weight]
    assert held["exp_avg"].stride() == module.conv1.weight.stride()
    assert torch.equal(held["exp_avg"], kept["exp_avg/conv1.weight"])
    assert held["step"].item() == 7.0


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optimizer=lamb(beta1=1.0)", r"beta1 is 1\.0; it must lie in \[0, 1\)"),
        ("optimizer=adamw(beta2=-0.1)", r"beta2 is -0\.1"),
        ("optimizer=adamw(eps=0.0)", r"eps is 0\.0; it must be above 0"),
        ("optimizer=lamb(clip_norm=0.0)", r"clip_norm is 0\.0"),
        ("optimizer=lamb(lr=0.0)", r"lr is 0\.0"),
        ("optimizer=sgd(momentum=1.0)", r"momentum is 1\.0"),
        ("optimizer.weight_decay=-1.0", r"weight_decay is -1\.0; it must not be negative"),
    ],
)
def test_numbers_with_which_nothing_is_learnt(override: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make_plan(Recipe(iterations=10), TrainOptions(overrides=(override,)), images=100)


@pytest.mark.parametrize(
    "overrides",
    [
        ("optimizer=lamb(lr=0.05)", "loss=bce(threshold=0.2)", "mix=[mixup, cutmix]"),
        ("optimizer=adamw(lr=0.02)", "ema=ema(decay=0.8)"),
    ],
    ids=["lamb", "adamw"],
)
def test_a_run_that_is_stopped_goes_on_bit_for_bit(
    overrides: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = tiny(tmp_path, "dropping")
    options = replace(QUICK, iterations=12, overrides=overrides)
    whole = train(net, replace(options, out=tmp_path / "whole"))
    must_stop = Trainer._must_stop

    def at_times(self: Trainer, stop: StopRequest) -> bool:
        if self.state.step in (3, 8) and self.state.step > stopped[-1]:
            stopped.append(self.state.step)
            stop.signal = 15
        return must_stop(self, stop)

    stopped = [0]
    monkeypatch.setattr(Trainer, "_must_stop", at_times)
    parts = replace(options, out=tmp_path / "parts", resume=True)
    for _ in range(2):
        with pytest.raises(StoppedError):
            train(net, parts)
    result = train(net, parts)
    assert stopped == [0, 3, 8]
    one, two = load_file(whole.weights), load_file(result.weights)
    assert all(torch.equal(one[name], two[name]) for name in one)
    kept = [
        load_file(run.run / "checkpoints/step-00000012/optimizer.safetensors")
        for run in (whole, result)
    ]
    assert kept[0].keys() == kept[1].keys()
    assert all(torch.equal(kept[0][name], kept[1][name]) for name in kept[0])
    assert {t.item() for name, t in kept[0].items() if name.startswith("step/")} == {12.0}


@pytest.mark.parametrize(
    "overrides",
    [
        ("optimizer=lamb(lr=0.02)",),
        ("optimizer=adamw(lr=0.01)",),
        ("optimizer=lamb(lr=0.02, weight_decay=0.02, decay_norm=false)", "loss=bce"),
    ],
    ids=["lamb", "adamw", "lamb and bce"],
)
def test_digits_are_learnt(overrides: tuple[str, ...], tmp_path: Path) -> None:
    net = load("digits_resnet14", {"depth": "8"})
    asked = replace(QUICK, iterations=60, out=tmp_path / "run", overrides=overrides)
    assert train(net, replace(asked, batch=64)).test.top1 > 0.9
