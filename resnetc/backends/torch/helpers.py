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
    "WsConv2d": '''\
class WsConv2d(nn.Conv2d):
    """A convolution whose filters have mean 0 and variance 1 (Qiao et al., arXiv 1903.10520)."""

    def __init__(self, *sizes: int | tuple[int, int], eps: float = 1e-6, **options: int):
        super().__init__(*sizes, **options)
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        variance, mean = torch.var_mean(self.weight, (1, 2, 3), correction=0, keepdim=True)
        weight = (self.weight - mean) / torch.sqrt(variance + self.eps)
        return self._conv_forward(x, weight, self.bias)
''',
    "ChannelConv1d": '''\
class ChannelConv1d(nn.Conv1d):
    """One filter along the channels of a Cx1x1 map (Wang et al., arXiv 1910.03151)."""

    def __init__(self, kernel: int):
        super().__init__(1, 1, kernel, padding=kernel // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.flatten(1)[:, None]).view_as(x)
''',
    "PixelLinear": '''\
class PixelLinear(nn.Linear):
    """A linear layer over the channels of every pixel."""

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight[:, :, None, None], self.bias)
''',
    "PixelLayerNorm": '''\
class PixelLayerNorm(nn.LayerNorm):
    """Layer normalization over the channels of every pixel."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)
''',
    "drop_path": '''\
def drop_path(x: Tensor, p: float, training: bool) -> Tensor:
    """Drop samples with probability p: stochastic depth (Huang et al., arXiv 1603.09382)."""
    if p == 0 or not training:
        return x
    kept = x.new_empty(x.shape[0], *[1] * (x.ndim - 1)).bernoulli_(1 - p)
    return x * kept / (1 - p if p < 1 else 1)
''',
    "DropPath": '''\
class DropPath(nn.Module):
    """`drop_path` as a layer."""

    def __init__(self, p: float):
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        return drop_path(x, self.p, self.training)
''',
    "affine": '''\
def affine(
    x: Tensor, scale: float | tuple[float, ...] = 1.0, shift: float | tuple[float, ...] = 0.0
) -> Tensor:
    """x * scale + shift with constants: one of each, or one for each channel."""
    axes = (-1, *[1] * (x.ndim - 2))
    if isinstance(scale, tuple):
        x = x * x.new_tensor(scale).view(axes)
    elif scale != 1:
        x = x * scale
    if isinstance(shift, tuple):
        x = x + x.new_tensor(shift).view(axes)
    elif shift != 0:
        x = x + shift
    return x
''',
    "Affine": '''\
class Affine(nn.Module):
    """`affine` as a layer."""

    def __init__(
        self, scale: float | tuple[float, ...] = 1.0, shift: float | tuple[float, ...] = 0.0
    ):
        super().__init__()
        self.scale = scale
        self.shift = shift

    def forward(self, x: Tensor) -> Tensor:
        return affine(x, self.scale, self.shift)
''',
    "cast": '''\
def cast(x: Tensor, dtype: str) -> Tensor:
    """x in another element type."""
    return x.to(getattr(torch, dtype))
''',
    "Cast": '''\
class Cast(nn.Module):
    """`cast` as a layer."""

    def __init__(self, dtype: str):
        super().__init__()
        self.dtype = dtype

    def forward(self, x: Tensor) -> Tensor:
        return cast(x, self.dtype)
''',
    "quantize": '''\
def quantize(x: Tensor, scale: float, zero_point: int, dtype: str) -> Tensor:
    """The numbers of eight bits that stand for x, held in floats: gradients pass the rounding."""
    exact = x.float() / scale
    if dtype == "float8_e4m3fn":
        exact = exact.clamp(-448, 448)
        return (exact + (exact.to(torch.float8_e4m3fn).float() - exact).detach()).to(x.dtype)
    low, high = (-128, 127) if dtype == "int8" else (0, 255)
    rounded = exact + (exact.round() - exact).detach()
    return (rounded + zero_point).clamp(low, high).to(x.dtype)
''',
    "Quantize": '''\
class Quantize(nn.Module):
    """`quantize` as a layer."""

    def __init__(self, scale: float, zero_point: int, dtype: str):
        super().__init__()
        self.scale = scale
        self.zero_point = zero_point
        self.dtype = dtype

    def forward(self, x: Tensor) -> Tensor:
        return quantize(x, self.scale, self.zero_point, self.dtype)
''',
    "dequantize": '''\
def dequantize(x: Tensor, scale: float, zero_point: int) -> Tensor:
    """What numbers of eight bits stand for."""
    return ((x - zero_point).float() * scale).to(x.dtype)
''',
    "Dequantize": '''\
class Dequantize(nn.Module):
    """`dequantize` as a layer."""

    def __init__(self, scale: float, zero_point: int):
        super().__init__()
        self.scale = scale
        self.zero_point = zero_point

    def forward(self, x: Tensor) -> Tensor:
        return dequantize(x, self.scale, self.zero_point)
''',
    "SliceChannels": '''\
class SliceChannels(nn.Module):
    """Channels from `start` up to `stop`."""

    def __init__(self, start: int, stop: int):
        super().__init__()
        self.start = start
        self.stop = stop

    def forward(self, x: Tensor) -> Tensor:
        return x[:, self.start : self.stop]
''',
    "blur_pool": '''\
def blur_pool(x: Tensor, kernel: int, stride: int | tuple[int, int]) -> Tensor:
    """Binomial blur with reflected edges, and a stride (Zhang, arXiv 1904.11486)."""
    high, wide = (stride, stride) if isinstance(stride, int) else stride
    rows, columns = (high + kernel - 2) // 2, (wide + kernel - 2) // 2
    binomial = [math.comb(kernel - 1, i) / 2 ** (kernel - 1) for i in range(kernel)]
    line = x.new_tensor(binomial)
    weight = torch.outer(line, line).expand(x.shape[1], 1, kernel, kernel)
    x = F.pad(x, (columns, columns, rows, rows), mode="reflect")
    return F.conv2d(x, weight, stride=stride, groups=x.shape[1])
''',
    "BlurPool": '''\
class BlurPool(nn.Module):
    """`blur_pool` as a layer."""

    def __init__(self, kernel: int, stride: int | tuple[int, int]):
        super().__init__()
        self.kernel = kernel
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        return blur_pool(x, self.kernel, self.stride)
''',
    "radix_softmax": '''\
def radix_softmax(x: Tensor, radix: int, groups: int = 1) -> Tensor:
    """Softmax among the splits of every group, splits first (Zhang et al., arXiv 2004.08955)."""
    if radix == 1:
        return torch.sigmoid(x)
    splits = x.view(x.shape[0], groups, radix, -1).transpose(1, 2)
    return torch.softmax(splits, 1).reshape(x.shape)
''',
    "RadixSoftmax": '''\
class RadixSoftmax(nn.Module):
    """`radix_softmax` as a layer."""

    def __init__(self, radix: int, groups: int = 1):
        super().__init__()
        self.radix = radix
        self.groups = groups

    def forward(self, x: Tensor) -> Tensor:
        return radix_softmax(x, self.radix, self.groups)
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
        if any(re.search(rf"\b{name}(?:\(|\):)", text) for text in calling):
            needed.add(name)
    return (text for name, text in HELPERS.items() if name in needed)
