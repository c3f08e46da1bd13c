"""Training with auxiliary heads, beside a loop written by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from resnetc.backends.torch import build_module
from resnetc.diagnostics import UsageError
from resnetc.driver import Network, load
from resnetc.train import EvaluateOptions, TrainOptions, evaluate, train
from resnetc.train.datasets import TensorImages, Wanted, open_data
from resnetc.train.draws import Order

QUICK = TrainOptions(
    data="digits", threads=1, progress=False, deterministic=True, device="cpu", batch=32
)
SPEC = """
network helped(classes: int = 10, other: int = 10) {
  input 1x8x8
  conv1: conv(3x3, 4, bias=true) -> act
  aux near: group { gap -> flatten -> fc: linear(classes) }
  conv2: conv(3x3, 4, bias=true) -> act
  aux deep: group { maxpool(8x8, pad=0) -> flatten -> fc: linear(other) }
  gap -> flatten -> fc: linear(classes)
}

recipe short {
  data = digits
  iterations = 3
  schedule = [step(at=[2])]
  aux_weight = 0.5
}
"""


class Helped(nn.Module):
    """The same network by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 4, 3, padding=1)
        self.near = nn.ModuleDict({"fc": nn.Linear(4, 10)})
        self.conv2 = nn.Conv2d(4, 4, 3, padding=1)
        self.deep = nn.ModuleDict({"fc": nn.Linear(4, 10)})
        self.fc = nn.Linear(4, 10)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = self.conv1(x).clamp(min=0)
        near = self.near["fc"](x.mean((2, 3)))
        x = self.conv2(x).clamp(min=0)
        deep = self.deep["fc"](x.amax((2, 3)))
        return self.fc(x.mean((2, 3))), near, deep


@pytest.fixture
def net(tmp_path: Path) -> Network:
    file = tmp_path / "helped.rnet"
    file.write_text(SPEC)
    return load(f"{file}:helped")


def _digits() -> TensorImages:
    images = open_data("digits", Wanted((1, 8, 8), 10)).train
    assert isinstance(images, TensorImages)
    return images


@pytest.mark.parametrize(
    ("overrides", "weight"), [((), 0.5), (("aux_weight=0",), 0.0), (("aux_weight=2",), 2.0)]
)
def test_steps_are_those_of_the_loop(
    net: Network, tmp_path: Path, overrides: tuple[str, ...], weight: float
) -> None:
    out = tmp_path / "run"
    train(net, replace(QUICK, out=out, iterations=3, overrides=overrides, seed=5))
    module = Helped().double()
    module.load_state_dict(build_module(net.graph, seed=5).state_dict())
    images = _digits()
    pixels = images.pixels.double() / 255
    pixels = pixels - pixels.mean(0)
    velocity = {name: torch.zeros_like(p) for name, p in module.named_parameters()}
    for step, lr in enumerate((0.1, 0.1, 0.01)):
        taken = Order(1437, 32, 5).take(step).indices
        logits, near, deep = module(pixels[taken])
        labels = images.labels[taken]
        loss = F.cross_entropy(logits, labels)
        loss = loss + weight * (F.cross_entropy(near, labels) + F.cross_entropy(deep, labels))
        module.zero_grad()
        loss.backward()
        with torch.no_grad():
            for name, p in module.named_parameters():
                assert p.grad is not None
                velocity[name] = 0.9 * velocity[name] + lr * (p.grad + 1e-4 * p)
                p -= velocity[name]
    trained = load_file(out / "weights.safetensors")
    assert trained.keys() == module.state_dict().keys()
    for name, p in module.named_parameters():
        assert torch.allclose(trained[name].double(), p, atol=2e-6), name


def test_the_default_is_googlenets(net: Network) -> None:
    assert net.recipes["short"].aux_weight == 0.5
    silent = net.path.with_name("silent.rnet")
    silent.write_text(SPEC.replace("  aux_weight = 0.5\n", ""))
    assert load(silent).recipes["short"].aux_weight == 0.3


def test_evaluation_runs_no_head(net: Network, tmp_path: Path) -> None:
    result = train(net, replace(QUICK, out=tmp_path / "run", iterations=10))
    module = Helped()
    module.load_state_dict(load_file(result.weights))
    mean = (_digits().pixels.double() / 255).mean(0).float()
    test = open_data("digits", Wanted((1, 8, 8), 10)).test
    assert isinstance(test, TensorImages)
    with torch.no_grad():
        logits, *_ = module(test.pixels / 255 - mean)
    assert result.test.loss == pytest.approx(F.cross_entropy(logits, test.labels).item(), rel=1e-4)
    judged = evaluate(net, result.run, EvaluateOptions(threads=1, device="cpu"))
    assert judged == result.test


def test_the_loss_that_is_shown_is_the_networks_own(net: Network, tmp_path: Path) -> None:
    """With heads that weigh nothing or much, the first step shows the same loss."""
    from resnetc.train.metrics import read

    losses = []
    for weight in (0, 100):
        out = tmp_path / f"run{weight}"
        options = replace(QUICK, out=out, iterations=1, overrides=(f"aux_weight={weight}",))
        train(net, options)
        losses += [row.loss for row in read(out / "metrics.jsonl") if row.kind == "train"]
    assert len(losses) == 2
    assert losses[0] == losses[1]


def test_heads_take_the_classes_of_the_data(net: Network, tmp_path: Path) -> None:
    wrong = load(net.reference, other=7)
    with pytest.raises(UsageError, match=r"deep of helped is 7; .* it must be 10"):
        train(wrong, replace(QUICK, out=tmp_path / "run", iterations=1))


@pytest.mark.parametrize("weight", ["-0.1", "-1"])
def test_a_weight_below_zero_is_refused(net: Network, tmp_path: Path, weight: str) -> None:
    options = replace(
        QUICK, out=tmp_path / "run", iterations=1, overrides=(f"aux_weight={weight}",)
    )
    with pytest.raises(UsageError, match="aux_weight"):
        train(net, options)
