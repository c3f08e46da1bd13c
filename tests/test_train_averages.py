"""The average of the weights, and the statistics of batch norms, against loops."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from quick_runs import QUICK
from safetensors.torch import load_file
from tiny_networks import tiny
from torch import nn

from resnetc.recipes import Ema
from resnetc.train import EvaluateOptions, evaluate, train
from resnetc.train.averaging import Average
from resnetc.train.draws import Order
from resnetc.train.evaluation import Mode
from resnetc.train.norms import group_norms, measure_norms

CPU = Mode(torch.device("cpu"))


def _normed() -> Any:
    torch.manual_seed(0)
    parts = nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
    return nn.Sequential(*parts)


def test_the_average_is_a_loop_over_the_weights() -> None:
    module = _normed()
    average = Average(module, Ema(decay=0.9, every=2))
    state = module.state_dict()
    expected = {name: t.double().clone() for name, t in state.items()}
    for step in range(1, 9):
        with torch.no_grad():
            for tensor in state.values():
                tensor.add_(torch.randn_like(tensor) if tensor.is_floating_point() else 1)
        average.take(average.due(step, warming=step <= 2))
        if step == 2:
            expected = {name: t.double().clone() for name, t in state.items()}
        elif step % 2 == 0:
            for name, tensor in state.items():
                expected[name] = 0.9 * expected[name] + 0.1 * tensor.double()
    for name, tensor in average.tensors.items():
        if tensor.is_floating_point():
            assert torch.allclose(tensor.double(), expected[name], atol=1e-6), name
        else:
            assert int(tensor) == 8
    own = {name: t.clone() for name, t in state.items()}
    with average.shown():
        assert torch.equal(module[0].weight, average.tensors["0.weight"])
    assert all(torch.equal(state[name], own[name]) for name in own)


def test_norms_over_groups_are_norms_of_separate_batches() -> None:
    torch.manual_seed(3)
    images = torch.randn(12, 2, 9, 9)
    grouped, plain = _normed(), _normed()
    group_norms(grouped, 4)
    together = grouped(images)
    apart = torch.cat([plain(part) for part in torch.split(images, 4)])
    assert torch.equal(together, apart)
    (together.square().sum() + apart.square().sum()).backward()
    for one, two in zip(grouped.parameters(), plain.parameters(), strict=True):
        assert one.grad is not None
        assert two.grad is not None
        assert torch.allclose(one.grad, two.grad, atol=1e-4)
    for name, tensor in grouped.state_dict().items():
        assert torch.equal(tensor, plain.state_dict()[name]), name
    whole = _normed()
    assert not torch.allclose(whole(images), apart)
    assert torch.equal(grouped.eval()(images), plain.eval()(images))


def test_precise_statistics_are_the_average_over_all_values() -> None:
    torch.manual_seed(5)
    module = _normed().train()
    batches = [torch.randn(4, 2, 9, 9) * (i + 1) for i in range(3)]
    # What flows into each norm while norms normalise by their batches.
    first = [module[0](b) for b in batches]
    normal = [nn.functional.batch_norm(x, None, None, training=True) for x in first]
    second = [module[3](x.relu()) for x in normal]
    measure_norms(module, batches, CPU)
    for norm, seen in ((module[1], first), (module[4], second)):
        values = torch.cat(seen).detach().double().transpose(0, 1).flatten(1)
        assert torch.allclose(norm.running_mean.double(), values.mean(1), atol=1e-5)
        assert torch.allclose(norm.running_var.double(), values.var(1), rtol=1e-5)
    assert module.training


def test_a_run_ends_with_precise_statistics(tmp_path: Path) -> None:
    """By hand: the images of the steps that would come next, through the weights of the end."""
    net = tiny(tmp_path)
    overrides = ("precise_norm=60", "augment=[subtract_mean]", "ema=ema(decay=0.5)")
    options = replace(QUICK, iterations=3, overrides=overrides, seed=4)
    result = train(net, replace(options, out=tmp_path / "run"))
    trained = load_file(result.weights)
    plain = train(net, replace(options, out=tmp_path / "plain", overrides=overrides[1:]))
    assert all(
        torch.equal(tensor, trained[name]) != name.startswith("bn1.running")
        for name, tensor in load_file(plain.weights).items()
        if not name.endswith("num_batches_tracked")
    )
    from resnetc.train.datasets import TensorImages, Wanted, open_data

    data = open_data("digits", Wanted((1, 8, 8), 10))
    assert isinstance(data.train, TensorImages)
    pixels = data.train.pixels.double() / 255
    order = Order(1437, 32, 4)
    indices = torch.cat([order.take(step).indices for step in (3, 4)])
    flowing = nn.functional.conv2d(
        (pixels - pixels.mean(0))[indices], trained["conv1.weight"].double(), padding=1
    )
    values = flowing.transpose(0, 1).flatten(1)
    assert torch.allclose(trained["bn1.running_mean"].double(), values.mean(1), atol=1e-6)
    assert torch.allclose(trained["bn1.running_var"].double(), values.var(1), rtol=1e-5)
    judged = evaluate(net, result.run, EvaluateOptions(threads=1, device="cpu"))
    assert judged == result.test
