"""References that no package offers, written out: U-Net after milesial/Pytorch-UNet, highways."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING

from zoo.reference import Reference

if TYPE_CHECKING:
    from torch import Tensor, nn


def unet(base: int, depth: int) -> nn.Module:
    """U-Net with transposed convolutions, as unet_model.py and unet_parts.py have it."""
    import torch
    from torch import nn

    def double_conv(inside: int, out: int) -> nn.Module:
        rows: list[nn.Module] = []
        for channels in (inside, out):
            conv = nn.Conv2d(channels, out, 3, padding=1, bias=False)
            rows += [conv, nn.BatchNorm2d(out), nn.ReLU(inplace=True)]
        return _holding(double_conv=nn.Sequential(*rows))

    class Up(nn.Module):
        def __init__(self, inside: int):
            super().__init__()
            self.up = nn.ConvTranspose2d(inside, inside // 2, kernel_size=2, stride=2)
            self.conv = double_conv(inside, inside // 2)

        def forward(self, below: Tensor, kept: Tensor) -> Tensor:
            return self.conv(torch.cat([kept, self.up(below)], dim=1))

    class UNet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inc = double_conv(3, base)
            for i in range(1, depth + 1):
                pooled = nn.Sequential(
                    nn.MaxPool2d(2), double_conv(base * 2 ** (i - 1), base * 2**i)
                )
                self.add_module(f"down{i}", _holding(maxpool_conv=pooled))
            for i in range(1, depth + 1):
                self.add_module(f"up{i}", Up(base * 2 ** (depth - i + 1)))
            self.outc = _holding(conv=nn.Conv2d(base, 2, kernel_size=1))

        def forward(self, x: Tensor) -> Tensor:
            kept = [self.inc(x)]
            for i in range(1, depth + 1):
                kept.append(getattr(self, f"down{i}")(kept[-1]))
            x = kept.pop()
            for i in range(1, depth + 1):
                x = getattr(self, f"up{i}")(x, kept.pop())
            return self.outc(x)

    return UNet()


def highway_dense(depth: int, carry: float) -> nn.Module:
    """Srivastava et al. 2015, equation 3, for layers of 50 units."""
    from torch import nn

    layers = [_highway(functools.partial(nn.Linear, 50, 50), carry) for _ in range(depth - 2)]

    class HighwayDense(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Linear(784, 50)
            self.layers = nn.Sequential(*layers)
            self.fc = nn.Linear(50, 10)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(self.layers(self.first(x.flatten(1)).relu()))

    return HighwayDense()


def highway_conv(n: int) -> nn.Module:
    """The same for convolutions, in three stages."""
    from torch import nn

    class HighwayConv(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            inside = 3
            for stage, width in enumerate((16, 32, 64), 1):
                conv = nn.Conv2d(inside, width, 3, stride=min(stage, 2), padding=1)
                transform = functools.partial(nn.Conv2d, width, width, 3, padding=1)
                layers = [_highway(transform, -2) for _ in range(n)]
                self.add_module(f"conv{stage}", conv)
                self.add_module(f"layer{stage}", nn.Sequential(*layers))
                inside = width
            self.fc = nn.Linear(64, 10)

        def forward(self, x: Tensor) -> Tensor:
            for stage in (1, 2, 3):
                x = getattr(self, f"conv{stage}")(x).relu()
                x = getattr(self, f"layer{stage}")(x)
            return self.fc(x.mean((2, 3)))

    return HighwayConv()


def _highway(transform: Callable[[], nn.Module], carry: float) -> nn.Module:
    from torch import nn

    class Highway(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gate = transform()
            self.plain = transform()

        def forward(self, x: Tensor) -> Tensor:
            # In the paper the gate's bias starts at `carry`; here that is added to it.
            share = (self.gate(x) + carry).sigmoid()
            return self.plain(x).relu() * share + x * (1 - share)

    return Highway()


def _holding(**children: nn.Module) -> nn.Module:
    """A module that is one other under a name."""
    from torch import nn

    class Holder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            for name, child in children.items():
                self.add_module(name, child)

        def forward(self, x: Tensor) -> Tensor:
            (child,) = self.children()
            return child(x)

    return Holder()


def _written(what: str, build: Callable[..., nn.Module], *arguments: float, side: int) -> Reference:
    return Reference(what, functools.partial(build, *arguments), side=side)


_UNET = "milesial's Pytorch-UNet"
_PAPER = "Srivastava et al., eq. 3"

REFERENCES: dict[str, Reference] = {
    "unet": _written(_UNET, unet, 64, 4, side=32),
    "unet_small": _written(f"{_UNET}, narrower", unet, 16, 3, side=32),
    "highway_dense10": _written(f"{_PAPER}, 10 layers", highway_dense, 10, -2, side=28),
    "highway_dense50": _written(f"{_PAPER}, 50 layers", highway_dense, 50, -4, side=28),
    "highway_dense100": _written(f"{_PAPER}, 100 layers", highway_dense, 100, -6, side=28),
    "highway_conv19": _written(f"{_PAPER}, convolutions, 19", highway_conv, 5, side=32),
    "highway_conv31": _written(f"{_PAPER}, convolutions, 31", highway_conv, 9, side=32),
}
