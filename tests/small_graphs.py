"""Graphs built by hand: a small builder, residual networks, and random graphs for hypothesis."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from resnetc.ir import Graph, Node, Parameter
from resnetc.ir.parameters import Stored
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
    Input,
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
    Role,
    Sigmoid,
    Silu,
    SliceChannels,
    Softmax,
    Subsample,
    Tanh,
    Upsample,
    WsConv2d,
)
from resnetc.shapes import TensorType


class Builder:
    """Builds a graph node by node; `add` takes an op's placing arguments and returns the node."""

    def __init__(self, name: str = "net") -> None:
        self.name = name
        self.nodes: list[Node] = []

    def input(self, *shape: int, name: str = "input") -> Node:
        return self._put(name, Input(TensorType(shape)), ())

    def add(self, op: type[Op], name: str, *operands: Node, **arguments: Any) -> Node:
        types = tuple(node.type for node in operands)
        return self._put(name, op.place(types, **arguments), operands)

    def _put(self, name: str, op: Op, operands: tuple[Node, ...]) -> Node:
        parameters = tuple(
            Parameter(path, spec.type, spec.role, Stored(path))
            for spec in op.parameters()
            for path in (f"{name}.{spec.name}" if spec.name else name,)
        )
        inputs = tuple(node.id for node in operands)
        output = op.result(*(node.type for node in operands))
        self.nodes.append(Node(len(self.nodes), name, op, inputs, output, parameters))
        return self.nodes[-1]

    def graph(self, **outputs: Node) -> Graph:
        return Graph(self.name, self.nodes, {name: node.id for name, node in outputs.items()})


def some_weights(graph: Graph, seed: int = 0) -> dict[str, np.ndarray]:
    """Seeded arrays for every parameter, with running statistics that are far from 0 and 1."""
    rng = np.random.default_rng(seed)
    draws = {
        Role.WEIGHT: lambda s: rng.normal(0, 1 / np.sqrt(max(1, np.prod(s[1:]))), s),
        Role.BIAS: lambda s: rng.normal(0, 0.3, s),
        Role.SCALE: lambda s: rng.uniform(0.3, 1.2, s),
        Role.SHIFT: lambda s: rng.normal(0, 0.3, s),
        Role.MEAN: lambda s: rng.normal(0, 0.5, s),
        Role.VARIANCE: lambda s: rng.uniform(0.3, 2, s),
        Role.COUNTER: lambda s: np.full(s, 7),
    }
    return {
        path: np.asarray(draws[p.role](p.type.shape), p.type.dtype.value)
        for path, p in graph.parameters.items()
    }


# ---------------------------------------------------------------------------- residual networks


def imagenet_resnet(
    depths: tuple[int, ...],
    *,
    bottleneck: bool = False,
    classes: int = 1000,
    side: int = 224,
    base: int = 64,
) -> Graph:
    """torchvision's ResNet (stride on the 3x3), with its parameter names."""
    b = Builder("resnet")
    x = _conv_norm(b, b.input(3, side, side), "conv1", "bn1", base, 7, 2)
    x = b.add(MaxPool, "maxpool", b.add(Relu, "relu", x), kernel=(3, 3), stride=(2, 2))
    for stage, depth in enumerate(depths):
        for index in range(depth):
            stride = 2 if stage and not index else 1
            place = f"layer{stage + 1}.{index}"
            x = _block(b, x, place, base * 2**stage, stride, bottleneck)
    x = b.add(Flatten, "flatten", b.add(GlobalAvgPool, "avgpool", x))
    return b.graph(logits=b.add(Linear, "fc", x, out=classes))


def _block(b: Builder, x: Node, place: str, width: int, stride: int, bottleneck: bool) -> Node:
    out = 4 * width if bottleneck else width
    plan = [(width, 1, 1), (width, 3, stride), (out, 1, 1)]
    if not bottleneck:
        plan = [(width, 3, stride), (width, 3, 1)]
    y = x
    for i, (channels, kernel, step) in enumerate(plan, 1):
        y = _conv_norm(b, y, f"{place}.conv{i}", f"{place}.bn{i}", channels, kernel, step)
        if i < len(plan):
            y = b.add(Relu, f"{place}.relu_{i}", y)
    if stride != 1 or x.type.shape[0] != out:
        x = _conv_norm(b, x, f"{place}.downsample.0", f"{place}.downsample.1", out, 1, stride)
    return b.add(Relu, f"{place}.relu", b.add(Add, f"{place}.add", y, x))


def _conv_norm(
    b: Builder, x: Node, conv: str, norm: str, out: int, kernel: int, stride: int = 1
) -> Node:
    y = b.add(Conv2d, conv, x, out=out, kernel=(kernel, kernel), stride=(stride, stride))
    return b.add(BatchNorm, norm, y)


def one_conv() -> Graph:
    b = Builder()
    return b.graph(out=b.add(Conv2d, "conv", b.input(2, 4, 4), kernel=(3, 3), out=3))


def cifar_resnet(depth: int, *, classes: int = 10, side: int = 32, base: int = 16) -> Graph:
    """The paper's 6n+2 network with option A."""
    b = Builder(f"resnet{depth}")
    x = b.add(Relu, "relu", _conv_norm(b, b.input(3, side, side), "conv1", "bn1", base, 3))
    for stage in range(3):
        for index in range((depth - 2) // 6):
            stride = 2 if stage and not index else 1
            place, width = f"layer{stage + 1}.{index}", base * 2**stage
            y = _conv_norm(b, x, f"{place}.conv1", f"{place}.bn1", width, 3, stride)
            y = b.add(Relu, f"{place}.relu_1", y)
            y = _conv_norm(b, y, f"{place}.conv2", f"{place}.bn2", width, 3)
            if stride != 1:
                x = b.add(Subsample, f"{place}.subsample", x, stride=(2, 2))
                x = b.add(PadChannels, f"{place}.pad_channels", x, to=width, sides="both")
            x = b.add(Relu, f"{place}.relu", b.add(Add, f"{place}.add", y, x))
    x = b.add(Flatten, "flatten", b.add(GlobalAvgPool, "gap", x))
    return b.graph(logits=b.add(Linear, "fc", x, out=classes))


# -------------------------------------------------------------------------------- random graphs


@st.composite
def random_graphs(draw: st.DrawFn) -> Graph:
    """Small graphs over every op, with shared values, unread nodes and several outputs."""
    b = Builder("random")
    maps = [b.input(draw(st.integers(1, 3)), draw(st.integers(3, 7)), draw(st.integers(3, 7)))]
    for index in range(draw(st.integers(1, 10))):
        grow = draw(st.sampled_from(_GROWTHS))
        # The newest value more often than not: long chains make the interesting cases.
        source = maps[-1] if draw(st.booleans()) else draw(st.sampled_from(maps))
        new = grow(draw, b, f"n{index}", source, maps)
        if new is not None:
            maps.append(new)
    outputs = {"map": maps[-1], "other": draw(st.sampled_from(maps))}
    if draw(st.booleans()):
        flat = b.add(Flatten, "flatten", maps[-1])
        outputs["logits"] = b.add(Linear, "fc", flat, out=3, bias=draw(st.booleans()))
    return b.graph(**outputs)


def _grow_conv(draw: st.DrawFn, b: Builder, name: str, x: Node, _: list[Node]) -> Node:
    kernel = draw(st.sampled_from([(1, 1), (3, 3), (1, 3)]))
    groups = draw(st.sampled_from([1, x.type.shape[0]]))
    out = groups * draw(st.integers(1, 3))
    stride = draw(st.sampled_from([(1, 1), (2, 1)]))
    bias = draw(st.booleans())
    conv = b.add(Conv2d, name, x, kernel=kernel, out=out, stride=stride, groups=groups, bias=bias)
    if draw(st.booleans()):
        return b.add(BatchNorm, f"{name}.bn", conv, eps=draw(st.sampled_from([1e-5, 1e-2])))
    return conv


def _grow_norm(draw: st.DrawFn, b: Builder, name: str, x: Node, _: list[Node]) -> Node:
    return b.add(BatchNorm, name, x)


def _grow_simple(draw: st.DrawFn, b: Builder, name: str, x: Node, _: list[Node]) -> Node:
    op = draw(st.sampled_from([*_ACTIVATIONS, Identity, Dropout, DropPath]))
    return b.add(op, name, x, **({"p": 0.5} if op is DropPath else {}))


_ACTIVATIONS = [
    *(Relu, Relu, Relu6, LeakyRelu, Silu, Gelu, Hardswish),
    *(Sigmoid, Hardsigmoid, Tanh, Softmax),
]


def _grow_layer(draw: st.DrawFn, b: Builder, name: str, x: Node, _: list[Node]) -> Node:
    """A layer with parameters, or constants, that keeps the map's size."""
    channels = x.type.shape[0]
    groups = draw(st.sampled_from([n for n in (1, 2, 3, channels) if channels % n == 0]))
    numbers = st.lists(st.floats(-2, 2), min_size=channels, max_size=channels)
    op, arguments = draw(
        st.sampled_from(
            [
                (Linear, {"out": draw(st.integers(1, 4)), "bias": draw(st.booleans())}),
                (LayerNorm, {"eps": 0.1}),
                (GroupNorm, {"groups": groups, "eps": 0.1}),
                (ChannelScale, {}),
                (Affine, {"scale": draw(numbers), "shift": [draw(st.integers(-1, 1))]}),
                (WsConv2d, {"kernel": (3, 3), "groups": groups, "eps": 0.1}),
                (ChannelShuffle, {"groups": groups}),
            ]
        )
    )
    layer = b.add(op, name, x, **arguments)
    if op in (Linear, WsConv2d) and draw(st.booleans()):
        return b.add(BatchNorm, f"{name}.bn", layer)
    return layer


def _grow_resized(draw: st.DrawFn, b: Builder, name: str, x: Node, _: list[Node]) -> Node:
    """A map of another size, or other channels of it."""
    channels, height, width = x.type.shape
    smaller = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    choices: list[tuple[type[Op], dict[str, Any]]] = [
        (AdaptiveAvgPool, {"to": smaller}),
        (Upsample, {"to": smaller, "mode": draw(st.sampled_from(["nearest", "bilinear"]))}),
        (SliceChannels, {"start": channels - 1, "stop": channels}),
    ]
    if min(height, width) > 2:
        stride = (1, draw(st.integers(1, 2)))
        choices.append((BlurPool, {"kernel": draw(st.integers(2, 3)), "stride": stride}))
    if max(height, width) < 10:
        mode = draw(st.sampled_from(["nearest", "bilinear"]))
        stride = (draw(st.integers(1, 2)), 1)
        choices += [
            (Upsample, {"scale": 2, "mode": mode}),
            (Pad, {"by": (draw(st.integers(0, 2)), 1), "value": draw(st.sampled_from([0, -1.5]))}),
            (ConvTranspose2d, {"kernel": (3, 2), "stride": stride, "bias": draw(st.booleans())}),
        ]
    op, arguments = draw(st.sampled_from(choices))
    layer = b.add(op, name, x, **arguments)
    if op is ConvTranspose2d and draw(st.booleans()):
        return b.add(BatchNorm, f"{name}.bn", layer)
    return layer


def _grow_pool(draw: st.DrawFn, b: Builder, name: str, x: Node, _: list[Node]) -> Node | None:
    side = draw(st.integers(1, min(3, *x.type.shape[1:])))
    arguments: dict[str, Any] = {
        "kernel": (side, side),
        "stride": (draw(st.integers(1, 3)), draw(st.integers(1, 2))),
        "pad": (draw(st.integers(0, side // 2)), draw(st.integers(0, side // 2))),
        "ceil": draw(st.booleans()),
    }
    pool = draw(st.sampled_from([MaxPool, AvgPool]))
    if pool is AvgPool:
        arguments["count_pad"] = draw(st.booleans())
    return b.add(pool, name, x, **arguments)


def _grow_merge(draw: st.DrawFn, b: Builder, name: str, x: Node, maps: list[Node]) -> Node:
    merge = draw(st.sampled_from([Add, Mul, Concat]))
    peers = [node for node in maps if node.type.shape[1:] == x.type.shape[1:]]
    if merge is not Concat:
        peers = [node for node in peers if node.type == x.type]
    others = draw(st.lists(st.sampled_from(peers), max_size=2))
    return b.add(merge, name, x, *others)


def _grow_gate(draw: st.DrawFn, b: Builder, name: str, x: Node, _: list[Node]) -> Node:
    gate = b.add(GlobalAvgPool, f"{name}.gap", x)
    if draw(st.booleans()):
        gate = b.add(ChannelConv1d, f"{name}.conv", gate, kernel=3)
    radix = draw(st.sampled_from([n for n in (1, 2, 3) if x.type.shape[0] % n == 0]))
    if draw(st.booleans()):
        gate = b.add(Sigmoid, f"{name}.sigmoid", gate)
    else:
        gate = b.add(RadixSoftmax, f"{name}.softmax", gate, radix=radix)
    return b.add(Mul, name, *draw(st.permutations([x, gate])))


def _grow_option_a(draw: st.DrawFn, b: Builder, name: str, x: Node, _: list[Node]) -> Node:
    def subsample(x: Node) -> Node:
        stride = draw(st.sampled_from([(2, 2), (2, 1), (1, 3)]))
        return b.add(Subsample, f"{name}.subsample", x, stride=stride)

    def pad(x: Node) -> Node:
        to = x.type.shape[0] + draw(st.integers(0, 3))
        return b.add(
            PadChannels, f"{name}.pad", x, to=to, sides=draw(st.sampled_from(["after", "both"]))
        )

    for step in draw(st.sampled_from([[subsample, pad], [pad, subsample], [subsample], [pad]])):
        x = step(x)
    return x


_GROWTHS = [
    _grow_conv,
    _grow_conv,
    _grow_norm,
    _grow_simple,
    _grow_simple,
    _grow_layer,
    _grow_layer,
    _grow_resized,
    _grow_pool,
    _grow_merge,
    _grow_gate,
    _grow_option_a,
]
