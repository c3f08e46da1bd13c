"""The closed set of ops: one row each.

`PRIMITIVES` are what a spec may place (their signatures stand in `specs/std/nn.rnet`), `MERGES`
join the branches of a `|` body, and the rest are made by the compiler.
"""

from __future__ import annotations

from resnetc.ops.activation import (
    Activation,
    Gelu,
    Hardsigmoid,
    Hardswish,
    LeakyRelu,
    RadixSoftmax,
    Relu,
    Relu6,
    Sigmoid,
    Silu,
    Softmax,
    Tanh,
)
from resnetc.ops.base import Op, OpError, ParameterSpec, Role
from resnetc.ops.conv import ChannelConv1d, Conv2d, ConvTranspose2d, WsConv2d
from resnetc.ops.elementwise import Affine, Cast, Dropout, DropPath, Identity
from resnetc.ops.layout import (
    ChannelShuffle,
    Flatten,
    Input,
    Pad,
    PadChannels,
    SliceChannels,
    Subsample,
)
from resnetc.ops.linear import Linear, PixelLinear
from resnetc.ops.merge import Add, Concat, Mul
from resnetc.ops.norm import (
    BatchNorm,
    ChannelAffine,
    ChannelScale,
    GroupNorm,
    LayerNorm,
    PixelLayerNorm,
)
from resnetc.ops.pool import AdaptiveAvgPool, AvgPool, BlurPool, GlobalAvgPool, MaxPool
from resnetc.ops.quantize import Dequantize, Quantize
from resnetc.ops.resize import Resize, Upsample

PRIMITIVES: dict[str, type[Op]] = {
    op.name: op
    for op in (
        Conv2d,
        WsConv2d,
        ConvTranspose2d,
        ChannelConv1d,
        Linear,
        BatchNorm,
        LayerNorm,
        GroupNorm,
        ChannelScale,
        Affine,
        Relu,
        Relu6,
        LeakyRelu,
        Silu,
        Gelu,
        Hardswish,
        Hardsigmoid,
        Sigmoid,
        Tanh,
        Softmax,
        RadixSoftmax,
        Identity,
        Dropout,
        DropPath,
        MaxPool,
        AvgPool,
        AdaptiveAvgPool,
        GlobalAvgPool,
        BlurPool,
        Upsample,
        Flatten,
        Pad,
        Subsample,
        PadChannels,
        SliceChannels,
        ChannelShuffle,
    )
}
MERGES: dict[str, type[Op]] = {op.name: op for op in (Add, Mul, Concat)}
OPS: dict[str, type[Op]] = {
    **PRIMITIVES,
    **MERGES,
    **{op.name: op for op in (Input, PixelLinear, PixelLayerNorm, Resize, ChannelAffine, Cast)},
    **{op.name: op for op in (Quantize, Dequantize)},
}

__all__ = [
    "MERGES",
    "OPS",
    "PRIMITIVES",
    "Activation",
    "AdaptiveAvgPool",
    "Add",
    "Affine",
    "AvgPool",
    "BatchNorm",
    "BlurPool",
    "Cast",
    "ChannelAffine",
    "ChannelConv1d",
    "ChannelScale",
    "ChannelShuffle",
    "Concat",
    "Conv2d",
    "ConvTranspose2d",
    "Dequantize",
    "DropPath",
    "Dropout",
    "Flatten",
    "Gelu",
    "GlobalAvgPool",
    "GroupNorm",
    "Hardsigmoid",
    "Hardswish",
    "Identity",
    "Input",
    "LayerNorm",
    "LeakyRelu",
    "Linear",
    "MaxPool",
    "Mul",
    "Op",
    "OpError",
    "Pad",
    "PadChannels",
    "ParameterSpec",
    "PixelLayerNorm",
    "PixelLinear",
    "Quantize",
    "RadixSoftmax",
    "Relu",
    "Relu6",
    "Resize",
    "Role",
    "Sigmoid",
    "Silu",
    "SliceChannels",
    "Softmax",
    "Subsample",
    "Tanh",
    "Upsample",
    "WsConv2d",
]
