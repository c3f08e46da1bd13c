"""New weights: by role, by recipe, by seed."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

import resnetc
from graphs import Network
from resnetc.backends.torch import build_module, emit_source, initialise
from resnetc.backends.torch.live import _compiled
from resnetc.backends.torch.source import factory_name
from resnetc.ir import Graph
from resnetc.ops import (
    BatchNorm,
    ChannelConv1d,
    ChannelScale,
    Conv2d,
    ConvTranspose2d,
    Flatten,
    GlobalAvgPool,
    GroupNorm,
    LayerNorm,
    Linear,
    Mul,
    WsConv2d,
)
from resnetc.recipes import HeNormal


def grouped() -> Graph:
    network = Network("grouped")
    root = network.root
    x = root.layer(Conv2d, root.input(64, 4, 4), label="conv", kernel=(3, 3), out=128, groups=4)
    x = root.layer(Conv2d, x, label="biased", kernel=(1, 3), pad=(0, 1), out=96, bias=True)
    x = root.layer(BatchNorm, root.layer(BatchNorm, x, label="bn"), label="zero", gamma=0.0)
    return network.graph(y=root.layer(Linear, root.layer(Flatten, x), label="fc", out=200))


@pytest.mark.parametrize(
    ("fan", "deviations"),
    [
        ("in", {"conv": 64 / 4 * 9, "biased": 128 * 3, "fc": 96 * 16}),
        ("out", {"conv": 128 / 4 * 9, "biased": 96 * 3, "fc": 96 * 16}),
    ],
)
def test_weights_are_he_normal(fan: str, deviations: dict[str, float]) -> None:
    state = build_module(grouped(), HeNormal(fan), seed=0).state_dict()
    for name, fan_size in deviations.items():
        weight = state[f"{name}.weight"]
        expected = math.sqrt(2 / fan_size)
        assert weight.std().item() == pytest.approx(expected, rel=0.03), name
        assert abs(weight.mean().item()) < 4 * expected / math.sqrt(weight.numel())
        # Normal, not uniform: a normal has one in 370 beyond three deviations.
        beyond = (weight.abs() > 3 * expected).double().mean().item()
        assert beyond == pytest.approx(0.0027, abs=0.002), name


def test_all_else_starts_where_its_role_says() -> None:
    state = build_module(grouped(), seed=0).state_dict()
    starts = {
        "biased.bias": 0.0,
        "fc.bias": 0.0,
        "bn.weight": 1.0,
        "zero.weight": 0.0,
        "bn.bias": 0.0,
        "bn.running_mean": 0.0,
        "bn.running_var": 1.0,
        "bn.num_batches_tracked": 0,
    }
    for path, start in starts.items():
        assert torch.equal(state[path], torch.full_like(state[path], start)), path


def modern() -> Graph:
    """Layers whose fans are not a plain convolution's, and what starts at another number."""
    network = Network("modern")
    root = network.root
    x = root.layer(
        ConvTranspose2d,
        root.input(32, 4, 4),
        label="up",
        kernel=(4, 4),
        out=64,
        stride=(2, 2),
        groups=2,
        bias=True,
    )
    x = root.layer(WsConv2d, x, label="ws", kernel=(3, 3), out=48, eps=0.1)
    x = root.layer(ChannelScale, x, label="scale", init=0.25)
    x = root.layer(LayerNorm, root.layer(GroupNorm, x, label="gn", groups=4), label="ln")
    gate = root.layer(ChannelConv1d, root.layer(GlobalAvgPool, x), label="eca", kernel=2001)
    x = root.layer(Linear, root.layer(Mul, x, gate), label="pixel", out=96)
    return network.graph(y=x)


@pytest.mark.parametrize(
    ("fan", "deviations"),
    [
        ("in", {"up": 16 * 16 / 4, "ws": 64 * 9, "eca": 2001, "pixel": 48}),
        ("out", {"up": 32 * 16, "ws": 48 * 9, "eca": 2001, "pixel": 48}),
    ],
)
def test_other_layers_have_their_own_fans(fan: str, deviations: dict[str, float]) -> None:
    state = build_module(modern(), HeNormal(fan), seed=0).state_dict()
    for name, fan_size in deviations.items():
        found = state[f"{name}.weight"].std().item()
        assert found == pytest.approx(math.sqrt(2 / fan_size), rel=0.05), name
    assert torch.equal(state["scale"], torch.full((48, 1, 1), 0.25))
    assert torch.equal(state["ln.weight"], torch.ones(48))
    assert torch.equal(state["gn.bias"], torch.zeros(48))


@pytest.mark.parametrize("fan", ["in", "out"])
@pytest.mark.parametrize("build", [grouped, modern])
def test_the_source_starts_like_the_live_module(build: Callable[[], Graph], fan: str) -> None:
    """Not with the same draws, but in every statistic; what is not drawn is equal."""
    graph, init = build(), HeNormal(fan)
    torch.manual_seed(0)
    alone = _compiled(graph, emit_source(graph, init))[factory_name(graph)]().state_dict()
    for path, tensor in build_module(graph, init, seed=0).state_dict().items():
        if path.endswith(".weight") and tensor.ndim > 1:
            assert alone[path].std().item() == pytest.approx(tensor.std().item(), rel=0.08), path
            assert alone[path].mean().abs() < tensor.std() / 10
        else:
            assert torch.equal(alone[path], tensor), path


def test_the_default_is_he_normal_by_fan_in() -> None:
    graph = grouped()
    for path, tensor in build_module(graph, seed=3).state_dict().items():
        assert torch.equal(tensor, build_module(graph, HeNormal("in"), 3).state_dict()[path])


def test_one_seed_gives_one_network() -> None:
    network = resnetc.load("resnet20")
    a, b, c = (build_module(network.graph, seed=seed) for seed in (7, 7, 8))
    for path, tensor in a.state_dict().items():
        assert torch.equal(tensor, b.state_dict()[path])
    assert not torch.equal(a.conv1.weight, c.conv1.weight)
    # No two layers of one shape get the same numbers.
    assert not torch.equal(a.layer1[0].conv1.weight, a.layer1[1].conv1.weight)


def test_a_seed_leaves_torchs_generator_alone_and_without_one_it_decides() -> None:
    network = resnetc.load("resnet20")
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    build_module(network.graph, seed=0)
    assert torch.equal(before, torch.random.get_rng_state())
    drawn = build_module(network.graph).state_dict()
    other = build_module(network.graph).state_dict()
    torch.manual_seed(1)
    again = build_module(network.graph).state_dict()
    assert torch.equal(drawn["conv1.weight"], again["conv1.weight"])
    assert not torch.equal(drawn["conv1.weight"], other["conv1.weight"])


def test_any_module_of_the_graph_can_be_initialised() -> None:
    """A module in another precision, or made by the stand-alone source, gets the same weights."""
    graph = resnetc.load("resnet20").graph
    expected = build_module(graph, seed=5)
    half = initialise(build_module(graph).to(torch.bfloat16), graph, seed=5)
    for path, tensor in half.state_dict().items():
        assert torch.equal(tensor, expected.state_dict()[path].to(tensor.dtype)), path
        assert tensor.dtype in (torch.bfloat16, torch.int64)
    assert isinstance(half, nn.Module)
    channels_last = build_module(graph).to(memory_format=torch.channels_last)
    for path, tensor in initialise(channels_last, graph, seed=5).state_dict().items():
        assert torch.equal(tensor, expected.state_dict()[path]), path


def test_building_a_module_does_not_import_the_compiler() -> None:
    """torch._dynamo takes longer to import than a network to build."""
    script = (
        "import sys, resnetc; resnetc.load('resnet20').to_torch();"
        "assert 'torch._dynamo' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_signals_keep_their_size_through_152_layers() -> None:
    module = build_module(resnetc.load("resnet152").graph, seed=0)
    with torch.no_grad():
        deviation = module(torch.randn(2, 3, 64, 64)).std().item()
    assert 0.1 < deviation < 100


def test_the_driver_writes_source_and_module(tmp_path: Path) -> None:
    network = resnetc.load("resnet20")
    path = network.to_torch_source(tmp_path / "made" / "resnet20.py")
    assert path.read_text() == emit_source(network.graph)
    module = network.to_torch()
    assert module.training
    assert list(module.state_dict()) == list(network.graph.parameters)
