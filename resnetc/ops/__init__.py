"""The closed set of ops: one row each.

`PRIMITIVES` are what a spec may place (their signatures stand in `specs/std/nn.rnet`), `MERGES`
join the branches of a `|` body, and the rest are made by the compiler.
"""

from __future__ import annotations

from resnetc.ops.base import Op, OpError, ParameterSpec, Role
from resnetc.ops.conv import Conv2d, Linear
from resnetc.ops.elementwise import Cast, Dropout, Identity, Relu, Sigmoid
from resnetc.ops.layout import Flatten, Input, PadChannels, Subsample
from resnetc.ops.merge import Add, Concat, Mul
from resnetc.ops.norm import BatchNorm, ChannelAffine
from resnetc.ops.pool import AvgPool, GlobalAvgPool, MaxPool

PRIMITIVES: dict[str, type[Op]] = {
    op.name: op
    for op in (
        Conv2d,
        Linear,
        BatchNorm,
        Relu,
        Sigmoid,
        Identity,
        Dropout,
        MaxPool,
        AvgPool,
        GlobalAvgPool,
        Flatten,
        Subsample,
        PadChannels,
    )
}
MERGES: dict[str, type[Op]] = {op.name: op for op in (Add, Mul, Concat)}
OPS: dict[str, type[Op]] = {
    **PRIMITIVES,
    **MERGES,
    **{op.name: op for op in (Input, ChannelAffine, Cast)},
}

__all__ = [
    "MERGES",
    "OPS",
    "PRIMITIVES",
    "Add",
    "AvgPool",
    "BatchNorm",
    "Cast",
    "ChannelAffine",
    "Concat",
    "Conv2d",
    "Dropout",
    "Flatten",
    "GlobalAvgPool",
    "Identity",
    "Input",
    "Linear",
    "MaxPool",
    "Mul",
    "Op",
    "OpError",
    "PadChannels",
    "ParameterSpec",
    "Relu",
    "Role",
    "Sigmoid",
    "Subsample",
]
