"""Ops in a few words, as the paper's Figure 3 writes them: "3x3 conv, 64, /2"."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import MISSING, fields

from resnetc.ops import (
    AvgPool,
    Conv2d,
    ConvTranspose2d,
    Input,
    Linear,
    MaxPool,
    Op,
    PixelLinear,
    Subsample,
    WsConv2d,
)

_WORDS = {
    "gap": "global avg pool",
    "batchnorm": "batch norm",
    "layernorm": "layer norm",
    "groupnorm": "group norm",
    "pad_channels": "zero channels",
}
"""Ops whose name is not the field's term."""


def describe(op: Op) -> str:
    """An op in words: what it is, how many channels it gives, its stride, what else is unusual."""
    if isinstance(op, Input):
        return f"input {op.type}"
    if isinstance(op, Conv2d | WsConv2d):
        return ", ".join(_conv(op))
    if isinstance(op, ConvTranspose2d):
        return ", ".join([f"{value_text(op.kernel, whole=True)} transposed conv", *_channels(op)])
    if isinstance(op, Linear | PixelLinear):
        return f"fc, {op.out_features}"
    if isinstance(op, MaxPool | AvgPool):
        kind = "max pool" if isinstance(op, MaxPool) else "avg pool"
        return ", ".join([f"{value_text(op.kernel, whole=True)} {kind}", *_stride(op.stride)])
    if isinstance(op, Subsample):
        return ", ".join(["subsample", *_stride(op.stride)])
    return ", ".join([_WORDS.get(op.name, op.name.replace("_", " ")), *_unusual(op)])


def _conv(op: Conv2d | WsConv2d) -> Iterator[str]:
    kind = "conv"
    if isinstance(op, WsConv2d):
        kind = "standardized conv"
    if 1 < op.groups == op.in_channels:
        kind = f"depthwise {kind}"
    yield f"{value_text(op.kernel, whole=True)} {kind}"
    yield from _channels(op)
    if 1 < op.groups < op.in_channels:
        yield f"{op.groups} groups"
    if op.dilation != (1, 1):
        yield f"dilation {value_text(op.dilation)}"


def _channels(op: Conv2d | WsConv2d | ConvTranspose2d) -> Iterator[str]:
    yield str(op.out_channels)
    yield from _stride(op.stride)


def _stride(stride: tuple[int, int]) -> Iterator[str]:
    if stride != (1, 1):
        yield f"/{value_text(stride)}"


def _unusual(op: Op) -> Iterator[str]:
    """Attributes that are not their defaults, without what the operand decides."""
    for field in fields(op):
        value = getattr(op, field.name)
        default = field.default
        if field.default_factory is not MISSING:
            default = field.default_factory()
        if field.name not in ("channels", "features") and value != default:
            yield f"{field.name} {value_text(value)}"


def value_text(value: object, *, whole: bool = False) -> str:
    """An attribute's value as the language writes it; a square is one number unless `whole`."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, tuple):
        square = len(value) == 2 and value[0] == value[1] and not whole
        return value_text(value[0]) if square else "x".join(map(value_text, value))
    return str(value)
