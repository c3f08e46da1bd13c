"""A training step of the emitted module beside the same network by other hands, on the CPU.

    python benchmarks/train_step.py     # writes benchmarks/results/train_step.json

Both modules hold the same weights and take the same bare step: forward, cross-entropy, backward,
SGD with momentum. They take turns within every round, so a ratio is of neighbours in time. The
peer of ResNet-50 is torchvision's; that of CIFAR ResNet-56, which torchvision does not have, is
written below, in the same style as torchvision writes its own. Each runs in torch's default
memory layout and in channels_last.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

import harness
from resnetc.backends.torch import build_module
from resnetc.driver import load


class Block(nn.Module):
    """The basic block with option A, zeros after the channels."""

    def __init__(self, inplanes: int, planes: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inplanes, planes, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(planes, planes, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.stride = stride
        self.extra = planes - inplanes

    def forward(self, x: Tensor) -> Tensor:
        identity = x
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        if self.extra:
            identity = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.extra))
        out += identity
        return self.relu(out)


class CifarResNet(nn.Module):
    """The paper's 6n + 2 network for CIFAR-10."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.relu = nn.ReLU(inplace=True)
        self.layer1 = nn.Sequential(*(Block(16, 16, 1) for _ in range(n)))
        self.layer2 = nn.Sequential(Block(16, 32, 2), *(Block(32, 32, 1) for _ in range(n - 1)))
        self.layer3 = nn.Sequential(Block(32, 64, 2), *(Block(64, 64, 1) for _ in range(n - 1)))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.fc(torch.flatten(self.avgpool(x), 1))


CASES: dict[str, tuple[int, str, Callable[[], nn.Module]]] = {
    "resnet50": (8, "torchvision", torchvision.models.resnet50),
    "resnet56": (128, "written by hand", lambda: CifarResNet(9)),
}
LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}


def step_of(module: nn.Module, x: Tensor, target: Tensor) -> Callable[[], None]:
    """One step of training, with an optimizer of its own."""
    optimizer = torch.optim.SGD(module.parameters(), lr=1e-3, momentum=0.9, weight_decay=1e-4)
    module.train()

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(module(x), target).backward()
        optimizer.step()

    return step


def measure(name: str, layout: str, rounds: int) -> dict[str, Any]:
    batch, peer_name, make_peer = CASES[name]
    graph = load(name).graph
    shape = graph.inputs[0].type.shape
    ours, peer = build_module(graph, seed=0), make_peer()
    peer.load_state_dict(ours.state_dict(), strict=True)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(batch, *shape, generator=generator).to(memory_format=LAYOUTS[layout])
    target = torch.randint(10, (batch,), generator=generator)
    modules = {"resnetc": ours, "peer": peer}
    steps = {
        key: step_of(module.to(memory_format=LAYOUTS[layout]), x, target)
        for key, module in modules.items()
    }
    times = harness.interleave(steps, rounds, warmup=2)
    print(f"{name}, {layout}: done", file=sys.stderr)
    return {
        "batch": batch,
        "input": "x".join(map(str, shape)),
        "layout": layout,
        "peer": peer_name,
        "resnetc_seconds": harness.summary(times["resnetc"]),
        "peer_seconds": harness.summary(times["peer"]),
        "peer_over_resnetc": harness.ratio(times["peer"], times["resnetc"]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    results = {
        f"{name}, {layout}": measure(name, layout, arguments.rounds)
        for name in CASES
        for layout in LAYOUTS
    }
    setup = {"rounds": arguments.rounds, "threads": arguments.threads, "dtype": "float32"}
    document = {**setup, **results}
    print(harness.write("train_step", document, ("torch", "torchvision", "numpy")).read_text())


if __name__ == "__main__":
    main()
