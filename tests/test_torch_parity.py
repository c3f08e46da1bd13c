"""The zoo's networks in torch beside implementations that are not ours."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn
from torch_reference import assert_close, random_state

import resnetc
from resnetc.backends.torch import build_module, emit_source

TORCHVISION = ["resnet18", "resnet34", "resnet50", "resnet101", "resnet152"]


def assert_same_step(ours: nn.Module, theirs: nn.Module, x: Tensor) -> None:
    """Equal outputs in both modes; in training equal gradients and statistics too."""
    ours, theirs = ours.double(), theirs.double()
    ours.load_state_dict(theirs.state_dict(), strict=True)
    for training in (False, True):
        ours.train(training)
        theirs.train(training)
        mine, yours = (x.double().requires_grad_() for _ in range(2))
        found, expected = ours(mine), theirs(yours)
        assert_close(found, expected, f"training={training}")
        weight = torch.linspace(-1, 2, found.shape[1], dtype=torch.float64)
        (found * weight).sum().backward()
        (expected * weight).sum().backward()
        assert_close(mine.grad, yours.grad, "gradient of the input")
        for (name, a), b in zip(ours.named_parameters(), theirs.parameters(), strict=True):
            assert_close(a.grad, b.grad, f"gradient of {name}")
            a.grad = b.grad = None
        for (name, a), b in zip(ours.named_buffers(), theirs.buffers(), strict=True):
            assert_close(a.double(), b.double(), name)


@pytest.mark.parametrize(
    "name", [*TORCHVISION[:3], *(pytest.param(n, marks=pytest.mark.slow) for n in TORCHVISION[3:])]
)
def test_torchvision(name: str) -> None:
    graph = resnetc.load(name).graph
    ours = build_module(graph)
    theirs = getattr(torchvision.models, name)().double()
    assert list(ours.state_dict()) == list(theirs.state_dict())
    theirs.load_state_dict(random_state(graph))
    torch.manual_seed(0)
    assert_same_step(ours, theirs, torch.randn(2, 3, 33, 33))


ALONE = """
import sys
sys.modules["resnetc"] = None  # any import of it fails
import importlib.util, torch, torchvision
for name in {names!r}:
    spec = importlib.util.spec_from_file_location(name, f"{folder}/{{name}}.py")
    alone = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(alone)
    torch.manual_seed(0)
    ours, theirs = getattr(alone, name)().double(), getattr(torchvision.models, name)().double()
    with torch.no_grad():
        for tensor in theirs.state_dict().values():
            if tensor.ndim == 1:
                tensor.uniform_(0.5, 1.5)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    for training in (False, True):
        x = torch.randn(2, 3, 33, 33).double()
        found, expected = ours.train(training)(x), theirs.train(training)(x)
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
        found.square().sum().backward()
        expected.square().sum().backward()
        for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
            largest = b.grad.abs().max().item()
            torch.testing.assert_close(a.grad, b.grad, rtol=1e-9, atol=1e-9 * largest)
            a.grad = b.grad = None
    for a, b in zip(ours.buffers(), theirs.buffers(), strict=True):
        torch.testing.assert_close(a, b)
    print(name, "agrees")
"""


@pytest.mark.parametrize(
    "names",
    [
        ["resnet18", "resnet50"],
        pytest.param(["resnet34", "resnet101", "resnet152"], marks=pytest.mark.slow),
    ],
    ids=" ".join,
)
def test_the_source_stands_alone(names: list[str], tmp_path: Path) -> None:
    for name in names:
        resnetc.load(name).to_torch_source(tmp_path / f"{name}.py")
        imported = [
            node.module if isinstance(node, ast.ImportFrom) else node.names[0].name
            for node in ast.walk(ast.parse((tmp_path / f"{name}.py").read_text()))
            if isinstance(node, ast.Import | ast.ImportFrom)
        ]
        assert {found.partition(".")[0] for found in imported} == {"torch"}
    script = ALONE.format(names=names, folder=tmp_path)
    done = subprocess.run([sys.executable, "-I", "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[:-1] == [f"{name} agrees" for name in names]


@pytest.mark.parametrize("name", ["resnet50", "resnet101"])
def test_the_papers_bottleneck_strides_in_its_first_convolution(name: str) -> None:
    graph = resnetc.load(f"{name}_v1").graph
    theirs = getattr(torchvision.models, name)().double()
    for module in theirs.modules():
        if isinstance(module, torchvision.models.resnet.Bottleneck):
            module.conv1.stride, module.conv2.stride = module.conv2.stride, (1, 1)
    theirs.load_state_dict(random_state(graph))
    torch.manual_seed(0)
    assert_same_step(build_module(graph), theirs, torch.randn(2, 3, 33, 33))


# ---------------------------------------------------- CIFAR, written by hand from the paper


class Block(nn.Module):
    def __init__(self, inside: int, out: int, stride: int, shortcut: str) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inside, out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(out)
        self.conv2 = nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out)
        self.stride, self.shortcut = stride, shortcut

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.shortcut == "plain":
            return F.relu(y)
        new = y.shape[1] - x.shape[1]
        if new:
            x = x[:, :, :: self.stride, :: self.stride]
            zeros = [x.new_zeros(len(x), n, *x.shape[2:]) for n in (new // 2, new - new // 2)]
            sides = [zeros[0], x, zeros[1]] if self.shortcut == "both" else [x, *zeros]
            x = torch.cat(sides, 1)
        return F.relu(y + x)


class Cifar(nn.Module):
    def __init__(self, depth: int, shortcut: str) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        n = (depth - 2) // 6
        inside = 16
        for stage, out in enumerate((16, 32, 64), 1):
            blocks = []
            for index in range(n):
                stride = 2 if stage > 1 and index == 0 else 1
                blocks.append(Block(inside, out, stride, shortcut))
                inside = out
            self.add_module(f"layer{stage}", nn.Sequential(*blocks))
        self.fc = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.fc(x.mean((2, 3)))


@pytest.mark.parametrize(
    ("name", "depth", "shortcut"),
    [
        ("resnet20", 20, "after"),
        ("resnet56", 56, "after"),
        ("plain20", 20, "plain"),
        ("plain56", 56, "plain"),
    ],
)
def test_cifar(name: str, depth: int, shortcut: str) -> None:
    graph = resnetc.load(name).graph
    theirs = Cifar(depth, shortcut).double()
    theirs.load_state_dict(random_state(graph))
    torch.manual_seed(0)
    assert_same_step(build_module(graph), theirs, torch.randn(4, 3, 32, 32))


def test_option_a_with_zeros_on_both_sides() -> None:
    graph = resnetc.load("resnet20", {"shortcut": 'A(sides="both")'}).graph
    theirs = Cifar(20, "both").double()
    theirs.load_state_dict(random_state(graph))
    torch.manual_seed(0)
    assert_same_step(build_module(graph), theirs, torch.randn(4, 3, 32, 32))


def test_the_deepest_network_trains_and_is_short() -> None:
    graph = resnetc.load("resnet1202").graph
    assert len(emit_source(graph).splitlines()) < 100
    module = build_module(graph, seed=0)
    loss = F.cross_entropy(module(torch.randn(2, 3, 32, 32)), torch.tensor([3, 7]))
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in module.parameters())
    assert sum(p.numel() for p in module.parameters()) == 19_421_274
