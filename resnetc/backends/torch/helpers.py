"""What PyTorch lacks, written into the emitted source where a network needs it."""

from __future__ import annotations

import re
from collections.abc import Iterator

HELPERS = {
    "pad_channels": '''\
def pad_channels(x: Tensor, channels: int, before: int | str = 0) -> Tensor:
    """Zero channels around those of x, `before` of them (or "half") first: shortcut option A."""
    extra = channels - x.shape[1]
    first = extra // 2 if before == "half" else before
    return F.pad(x, (0, 0, 0, 0, first, extra - first))
''',
    "PadChannels": '''\
class PadChannels(nn.Module):
    """`pad_channels` as a layer."""

    def __init__(self, channels: int, before: int | str = 0):
        super().__init__()
        self.channels = channels
        self.before = before

    def forward(self, x: Tensor) -> Tensor:
        return pad_channels(x, self.channels, self.before)
''',
    "Subsample": '''\
class Subsample(nn.Module):
    """Every so many pixels of a map, from the first: shortcut option A."""

    def __init__(self, height: int, width: int):
        super().__init__()
        self.height = height
        self.width = width

    def forward(self, x: Tensor) -> Tensor:
        return x[:, :, :: self.height, :: self.width]
''',
    "ChannelAffine": '''\
class ChannelAffine(nn.Module):
    """A scale and a shift for each channel."""

    def __init__(self, channels: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight[:, None, None] + self.bias[:, None, None]
''',
    "scaled_norm": '''\
def scaled_norm(channels: int, gamma: float, **options: float) -> nn.BatchNorm2d:
    """A batch norm whose scales start at `gamma`."""
    norm = nn.BatchNorm2d(channels, **options)
    nn.init.constant_(norm.weight, gamma)
    return norm
''',
}


def helpers_for(source: str) -> Iterator[str]:
    """Sources of the helpers that a source calls, and of those that they call."""
    needed: set[str] = set()
    for name in reversed(HELPERS):
        calling = [source, *(HELPERS[n] for n in needed)]
        if any(re.search(rf"\b{name}\(", text) for text in calling):
            needed.add(name)
    return (text for name, text in HELPERS.items() if name in needed)
