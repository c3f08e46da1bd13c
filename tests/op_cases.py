"""Small graphs, one or more for every op: what each backend has to agree with the oracle on."""

from __future__ import annotations

from collections.abc import Callable

from small_graphs import Builder

from resnetc.ir import Graph
from resnetc.ops import (
    AdaptiveAvgPool,
    Add,
    Affine,
    AvgPool,
    BatchNorm,
    BlurPool,
    ChannelConv1d,
    ChannelScale,
    ChannelShuffle,
    Concat,
    Conv2d,
    ConvTranspose2d,
    Dropout,
    DropPath,
    Flatten,
    Gelu,
    GlobalAvgPool,
    GroupNorm,
    Hardsigmoid,
    Hardswish,
    Identity,
    LayerNorm,
    LeakyRelu,
    Linear,
    MaxPool,
    Mul,
    Op,
    Pad,
    PadChannels,
    RadixSoftmax,
    Relu,
    Relu6,
    Sigmoid,
    Silu,
    SliceChannels,
    Softmax,
    Subsample,
    Tanh,
    Upsample,
    WsConv2d,
)


def on_map(*placed: tuple[type[Op], dict[str, object]]) -> Callable[[], Graph]:
    """A graph of ops in a row on a 4x7x6 map."""

    def build() -> Graph:
        b = Builder()
        x = b.input(4, 7, 6)
        for index, (op, arguments) in enumerate(placed):
            x = b.add(op, f"{op.name}_{index}", x, **arguments)
        return b.graph(out=x)

    return build


def with_two(op: type[Op], count: int) -> Callable[[], Graph]:
    def build() -> Graph:
        b = Builder()
        x = b.input(4, 7, 6)
        others = [b.add(Relu, f"relu{i}", x) for i in range(count - 1)]
        return b.graph(out=b.add(op, "merge", x, *others))

    return build


def gated() -> Graph:
    b = Builder()
    x = b.input(4, 7, 6)
    gate = b.add(Sigmoid, "sigmoid", b.add(GlobalAvgPool, "gap", x))
    return b.graph(out=b.add(Mul, "mul", x, gate))


POOL = {"kernel": (3, 2), "stride": (2, 2), "pad": (1, 0)}
CASES: dict[str, Callable[[], Graph]] = {
    "conv2d": on_map((Conv2d, {"kernel": (3, 3), "out": 5})),
    "conv2d, everything": on_map(
        (
            Conv2d,
            {
                "kernel": (3, 1),
                "out": 8,
                "stride": (1, 2),
                "pad": (2, 1),
                "dilation": (2, 1),
                "groups": 2,
                "bias": True,
            },
        )
    ),
    "linear": on_map((Flatten, {}), (Linear, {"out": 3})),
    "linear without bias": on_map((Flatten, {}), (Linear, {"out": 3, "bias": False})),
    "batchnorm": on_map((BatchNorm, {"eps": 0.1})),
    "batchnorm behind conv": on_map((Conv2d, {"kernel": (1, 1)}), (BatchNorm, {})),
    "ws_conv2d": on_map((WsConv2d, {"kernel": (3, 3), "out": 6, "eps": 0.01})),
    "ws_conv2d, everything": on_map(
        (
            WsConv2d,
            {
                "kernel": (3, 1),
                "out": 6,
                "stride": (1, 2),
                "pad": (2, 1),
                "dilation": (2, 1),
                "groups": 2,
                "bias": True,
            },
        ),
        (BatchNorm, {}),
    ),
    "conv_transpose2d": on_map((ConvTranspose2d, {"kernel": (2, 2), "stride": (2, 2)})),
    "conv_transpose2d, everything": on_map(
        (
            ConvTranspose2d,
            {
                "kernel": (3, 4),
                "out": 6,
                "stride": (1, 2),
                "pad": (1, 1),
                "groups": 2,
                "bias": True,
            },
        )
    ),
    "batchnorm behind conv_transpose2d": on_map(
        (ConvTranspose2d, {"kernel": (2, 3), "out": 6, "stride": (2, 1), "groups": 2}),
        (BatchNorm, {"eps": 0.1}),
    ),
    "conv1d_channels": on_map((GlobalAvgPool, {}), (ChannelConv1d, {"kernel": 3})),
    "linear on a map": on_map((Linear, {"out": 3})),
    "linear on a map, then batchnorm": on_map((Linear, {"out": 3, "bias": False}), (BatchNorm, {})),
    "layernorm": on_map((Flatten, {}), (LayerNorm, {"eps": 0.1})),
    "layernorm of a map": on_map((LayerNorm, {"eps": 0.1})),
    "groupnorm": on_map((GroupNorm, {"groups": 2, "eps": 0.1})),
    "channel_scale": on_map((ChannelScale, {})),
    "affine": on_map((Affine, {"scale": [0.5, 1, 2, -1], "shift": [1, 2, 3, 4]})),
    "affine, one number": on_map((Affine, {"scale": [-1], "shift": [1]})),
    "affine, nothing": on_map((Affine, {})),
    "affine of a vector": on_map((GlobalAvgPool, {}), (Flatten, {}), (Affine, {"shift": [0.5]})),
    "relu": on_map((Relu, {})),
    "relu6": on_map((Affine, {"scale": [5]}), (Relu6, {})),
    "leaky_relu": on_map((LeakyRelu, {"slope": 0.3})),
    "silu": on_map((Silu, {})),
    "gelu": on_map((Gelu, {})),
    "hardswish": on_map((Affine, {"scale": [3]}), (Hardswish, {})),
    "hardsigmoid": on_map((Affine, {"scale": [3]}), (Hardsigmoid, {})),
    "sigmoid": on_map((Sigmoid, {})),
    "tanh": on_map((Tanh, {})),
    "softmax": on_map((Softmax, {})),
    "softmax of a vector": on_map((Flatten, {}), (Softmax, {})),
    "radix_softmax": on_map(
        (Conv2d, {"kernel": (1, 1), "out": 12}), (GlobalAvgPool, {}), (RadixSoftmax, {"radix": 3})
    ),
    "radix_softmax in groups": on_map(
        (Conv2d, {"kernel": (1, 1), "out": 12}),
        (GlobalAvgPool, {}),
        (RadixSoftmax, {"radix": 2, "groups": 3}),
    ),
    "radix_softmax of one": on_map((GlobalAvgPool, {}), (RadixSoftmax, {"radix": 1})),
    "identity": on_map((Identity, {})),
    "dropout": on_map((Dropout, {"p": 0.5})),
    "drop_path": on_map((DropPath, {"p": 0.5})),
    "maxpool": on_map((MaxPool, POOL)),
    "maxpool ceil": on_map((MaxPool, {**POOL, "ceil": True})),
    "avgpool": on_map((AvgPool, POOL)),
    "avgpool ceil": on_map((AvgPool, {"kernel": (3, 3), "stride": (2, 2), "ceil": True})),
    "avgpool ceil, unpadded": on_map(
        (AvgPool, {"kernel": (2, 2), "stride": (2, 2), "pad": (0, 0), "ceil": True})
    ),
    "avgpool, padding not counted": on_map((AvgPool, {**POOL, "count_pad": False})),
    "avgpool ceil, padding not counted": on_map(
        (AvgPool, {**POOL, "ceil": True, "count_pad": False})
    ),
    "adaptive_avgpool": on_map((AdaptiveAvgPool, {"to": (3, 4)})),
    "adaptive_avgpool of equal windows": on_map((AdaptiveAvgPool, {"to": (1, 3)})),
    "adaptive_avgpool to one": on_map((AdaptiveAvgPool, {"to": (1, 1)})),
    "adaptive_avgpool to as many": on_map((AdaptiveAvgPool, {"to": (7, 6)})),
    "adaptive_avgpool to more": on_map((AdaptiveAvgPool, {"to": (9, 6)})),
    "gap": on_map((GlobalAvgPool, {})),
    "blur_pool": on_map((BlurPool, {})),
    "blur_pool, even": on_map((BlurPool, {"kernel": 4, "stride": (1, 3)})),
    "upsample": on_map((Upsample, {"scale": 2})),
    "upsample, bilinear": on_map((Upsample, {"scale": 3, "mode": "bilinear"})),
    "upsample to a size": on_map((Upsample, {"to": (11, 9)})),
    "upsample to a multiple": on_map((Upsample, {"to": (14, 18)})),
    "upsample to a size, bilinear": on_map((Upsample, {"to": (11, 4), "mode": "bilinear"})),
    "pad": on_map((Pad, {"by": (1, 2)})),
    "pad with a number": on_map((Pad, {"by": (0, 1), "value": -2.5})),
    "slice_channels": on_map((SliceChannels, {"start": 1, "stop": 3})),
    "channel_shuffle": on_map(
        (Conv2d, {"kernel": (1, 1), "out": 6}), (ChannelShuffle, {"groups": 3})
    ),
    "flatten": on_map((Flatten, {})),
    "subsample": on_map((Subsample, {"stride": (2, 3)})),
    "pad_channels": on_map((PadChannels, {"to": 7, "sides": "both"})),
    "option A": on_map((Subsample, {"stride": (2, 2)}), (PadChannels, {"to": 9})),
    "add": with_two(Add, 2),
    "add of four": with_two(Add, 4),
    "add of one": with_two(Add, 1),
    "mul": with_two(Mul, 3),
    "mul with a gate": gated,
    "concat": with_two(Concat, 3),
}
