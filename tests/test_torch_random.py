"""Random graphs, emitted and run against the naive interpreter."""

from __future__ import annotations

from typing import Any
from zlib import crc32

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_graphs import random_graphs
from torch_reference import (
    assert_close,
    assert_same_training,
    interpret,
    random_state,
    seeded_inputs,
)

from graphs import Network, Place
from resnetc.backends.torch import build_module, emit_source
from resnetc.ir import Graph, Node
from resnetc.ir.verify import verify
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

LABELS = [
    "conv{}",
    "convs.{}",
    "9{}",
    "a.b{}",
    "block-{}",
    "_c{}",
    "__d{}",
    "type",
    "from",
    "train.{}",
]
KINDS = [
    *("conv", "conv", "norm", "relu", "relu", "add", "add"),
    *("sigmoid", "dropout", "identity", "pool", "gate", "concat", "sum3", "select", "own", "skip"),
    *("part", "residual", "residual"),
    *("act", "act", "norms", "scale", "scale", "matrix", "standard", "up", "blur", "shuffle"),
    *("slice", "constants", "pad", "adaptive", "attention", "drop_path"),
]

_ACTIVATIONS = (Relu6, LeakyRelu, Silu, Gelu, Hardswish, Hardsigmoid, Tanh, Softmax)

instruction = st.tuples(
    st.sampled_from(KINDS), st.integers(0, 3), st.integers(0, 9), st.sampled_from(LABELS)
)
Instruction = tuple[str, int, int, str]


@st.composite
def templates(draw: st.DrawFn, depth: int = 2) -> list[Any]:
    """A block's body: instructions, and blocks in it as (how often, kind of scope, body)."""
    leaf = instruction if depth == 0 else st.one_of(instruction, instruction, _nested(depth - 1))
    return draw(st.lists(leaf, min_size=1, max_size=6))


def _nested(depth: int) -> st.SearchStrategy[Any]:
    scope = st.sampled_from(["seq", "seq", "unit", "unit", "unlabelled", "repeat", "repeat"])
    return st.tuples(scope, st.integers(0, 9), templates(depth))


@st.composite
def networks(draw: st.DrawFn) -> Graph:
    """Graphs with scopes of all kinds: nested, repeated with other widths and parts, crossed by
    values in both directions, labelled oddly or not at all."""
    network = Network(draw(st.sampled_from(["net", "class", "2x", "resnet5"])))
    root = network.root
    values = [root.input(draw(st.integers(1, 3)), 6, 5, name="image")]
    if draw(st.booleans()):
        values.append(root.input(2, 6, 5, name="other"))
    numbers = draw(st.lists(st.integers(1, 3), min_size=4, max_size=4))
    _Filler(numbers).fill(root, draw(templates()), values, 0)
    maps = [value for value in values if value.op.name != "input"] or values
    outputs = {"map": maps[-1], "again": draw(st.sampled_from(maps))}
    if draw(st.booleans()):
        outputs = {"map": maps[-1]}
    if draw(st.booleans()):
        flat = root.layer(Flatten, root.layer(GlobalAvgPool, maps[-1]))
        outputs["logits"] = root.layer(Linear, flat, label="fc", out=3)
    return network.graph(**outputs)


class _Filler:
    """Carries out instructions; `numbers` vary from one instance of a block to the next."""

    def __init__(self, numbers: list[int]) -> None:
        self.numbers = numbers
        self.blocks = 0

    def fill(self, at: Place, body: list[Any], values: list[Node], turn: int) -> None:
        for place, part in enumerate(body):
            if isinstance(part[-1], list):
                self._scope(at, part, values, turn)
            else:
                kind, operand, number, label = part
                label = _free(at, label.format(place))
                x = values[-1 - operand % len(values)]
                new = self._place(at, kind, x, values, number, label, turn)
                if new is not None:
                    values.append(new)

    def _scope(self, at: Place, part: Any, values: list[Node], turn: int) -> None:
        kind, number, body = part
        self.blocks += 1
        label = f"s{self.blocks}"
        name = f"unit{crc32(repr(body).encode()) % 97}"
        if kind == "seq":
            self.fill(at.seq(label), body, values, turn)
        elif kind == "unit":
            self.fill(at.block(name, label), body, values, turn)
        elif kind == "unlabelled":
            self.fill(at.block(name), body, values, turn)
        else:
            layers = at.seq(label)
            for index in range(2 + number % 3):
                self.fill(layers.block(name), body, values, turn + index)

    def _place(
        self, at: Place, kind: str, x: Node, values: list[Node], number: int, label: str, turn: int
    ) -> Node | None:
        varied = self.numbers[(turn + number) % len(self.numbers)]
        channels, height, width = x.type.shape
        peers = [value for value in values if value.type == x.type]
        match kind:
            case "conv":
                return at.layer(
                    Conv2d,
                    x,
                    label=label,
                    kernel=(3, 1) if number == 9 else (3, 3),
                    out=varied,
                    stride=(1 + (number + turn) % 2,) * 2,
                    bias=number % 2 == 0,
                )
            case "own":
                # An unlabelled layer outside a seq has its scope's own path; only one may.
                if any(p.path.rpartition(".")[0] == at.scope.path for p in _owned(at)):
                    return None
                return at.layer(Conv2d, x, kernel=(1, 1), out=channels, bias=number > 4)
            case "norm":
                return at.layer(BatchNorm, x, label=f"{label}n", gamma=0.5 if number > 7 else 1.0)
            case "relu" | "sigmoid" | "identity":
                op = {"relu": Relu, "sigmoid": Sigmoid, "identity": Identity}[kind]
                return at.layer(op, x)
            case "skip":
                # A part that only some instances of a block have.
                return at.layer(Relu, at.layer(Sigmoid, x)) if (number + turn) % 2 else None
            case "part":
                if (number + turn) % 2:
                    return None
                return at.layer(Conv2d, x, label=label, kernel=(1, 1), out=channels)
            case "residual":
                return self._residual(at, x, varied if turn == 0 else channels, label, number, turn)
            case "dropout":
                return at.layer(Dropout, x, p=float(number == 9))
            case "pool":
                window: dict[str, Any] = {"kernel": (2, 2), "stride": (1, 2), "pad": (1, 0)}
                pool = MaxPool if number % 2 else AvgPool
                ceil = number > 4
                return at.layer(pool, x, ceil=ceil, **window) if min(height, width) > 1 else None
            case "gate":
                gate = at.layer(Sigmoid, at.layer(GlobalAvgPool, x))
                return at.layer(Mul, *((x, gate) if number % 2 else (gate, x)))
            case "add":
                return at.layer(Add, x, peers[number % len(peers)])
            case "sum3":
                return at.layer(Add, x, *(peers[number % len(peers)] for _ in range(number % 4)))
            case "concat":
                same = [value for value in values if value.type.shape[1:] == x.type.shape[1:]]
                return at.layer(Concat, x, *same[: number % 3])
            case "select":
                x = at.layer(Subsample, x, stride=(1 + number % 2, 2))
                sides = "both" if number % 2 else "after"
                return at.layer(PadChannels, x, to=channels + number % 4, sides=sides)
        return self._place_other(at, kind, x, number, label, varied)

    def _place_other(
        self, at: Place, kind: str, x: Node, number: int, label: str, varied: int
    ) -> Node | None:
        """The ops that are not the paper's."""
        channels, height, width = x.type.shape
        groups = 2 if channels % 2 == 0 else channels
        match kind:
            case "act":
                op = _ACTIVATIONS[number % len(_ACTIVATIONS)]
                slope = {"slope": varied / 10} if op is LeakyRelu else {}
                return at.layer(op, x, **slope)
            case "norms":
                if number % 2:
                    return at.layer(LayerNorm, x, label=label, eps=0.1)
                return at.layer(GroupNorm, x, label=label, groups=groups, eps=0.1)
            case "scale":
                return at.layer(ChannelScale, x, label=label, init=float(varied))
            case "matrix":
                return at.layer(Linear, x, label=label, out=varied, bias=number % 2 == 0)
            case "standard":
                return at.layer(WsConv2d, x, label=label, kernel=(3, 3), out=varied, eps=0.1)
            case "up" if max(height, width) < 9 and number % 2:
                stride = (2, 1 + varied % 2)
                return at.layer(
                    ConvTranspose2d, x, label=label, kernel=(2, 2), out=varied, stride=stride
                )
            case "up" if max(height, width) < 9:
                size = {"scale": 2} if number > 4 else {"to": (4 + varied, 7)}
                mode = "bilinear" if number % 4 else "nearest"
                return at.layer(Upsample, x, mode=mode, **size)
            case "blur" if min(height, width) > 2:
                return at.layer(BlurPool, x, kernel=2 + number % 2, stride=(1 + varied % 2, 1))
            case "shuffle":
                return at.layer(ChannelShuffle, x, groups=groups)
            case "slice" if channels > 1:
                return at.layer(SliceChannels, x, start=number % 2, stop=channels)
            case "constants":
                scale = [0.5 + place for place in range(channels)] if number % 2 else [varied / 2]
                return at.layer(Affine, x, scale=scale, shift=[number % 3])
            case "pad" if max(height, width) < 9:
                return at.layer(Pad, x, by=(number % 2, 1), value=varied / 2 if number > 5 else 0.0)
            case "adaptive":
                return at.layer(AdaptiveAvgPool, x, to=(varied, 1 + number % 5))
            case "attention":
                gate = at.layer(GlobalAvgPool, x)
                if number % 2:
                    gate = at.layer(ChannelConv1d, gate, label=label, kernel=3)
                radix = 2 if channels % 2 == 0 else 1
                return at.layer(Mul, x, at.layer(RadixSoftmax, gate, radix=radix))
            case "drop_path":
                return at.layer(DropPath, x, p=float(number == 9))
            case "up" | "blur" | "slice" | "pad":
                return None
        raise AssertionError(kind)

    def _residual(self, at: Place, x: Node, out: int, label: str, number: int, turn: int) -> Node:
        """The first of several blocks halves the map, the others have an identity shortcut."""
        stride = (1, 1) if turn else (2, 2)
        y = at.layer(Conv2d, x, label=label, kernel=(3, 3), out=out, stride=stride)
        y = at.layer(BatchNorm, y, label=f"{label}n")
        if y.type != x.type and number % 2:
            down = at.seq(_free(at, "downsample"))
            x = down.layer(Conv2d, x, kernel=(1, 1), out=out, stride=stride)
        elif y.type != x.type and out >= x.type.shape[0]:
            x = at.layer(Subsample, x, stride=stride)
            x = at.layer(PadChannels, x, to=out, sides="both")
        return at.layer(Relu, at.layer(Add, y, x) if x.type == y.type else y)


def _free(at: Place, label: str) -> str:
    """The label, or one like it that nothing in the network has at this place."""
    taken = {node.name for node in at.network.nodes} | {s.path for s in at.network.scopes}
    taken |= {p.path.rpartition(".")[0] for p in _owned(at)}
    while at.join(label) in taken or at.join(f"{label}n") in taken:
        label += "q"
    return label


def _owned(at: Place) -> list[Any]:
    return [p for node in at.network.nodes for p in node.parameters]


relaxed = settings(
    deadline=None,
    report_multiple_bugs=False,
    max_examples=25,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.large_base_example],
)


@relaxed
@given(networks())
def test_networks_train_as_the_graph_says(graph: Graph) -> None:
    verify(graph)
    assert_same_training(graph, build_module(graph), tolerance=1e-6)


@relaxed
@given(random_graphs())
def test_graphs_without_scopes_compute_the_same(graph: Graph) -> None:
    module = build_module(graph).double().eval()
    state = random_state(graph)
    module.load_state_dict(state)
    found = module(*seeded_inputs(graph))
    found = found if isinstance(found, dict) else dict.fromkeys(graph.outputs, found)
    expected = interpret(graph, state, seeded_inputs(graph), training=False)
    for name, tensor in expected.items():
        assert_close(found[name], tensor, name)


@pytest.mark.slow
@settings(parent=relaxed, max_examples=400)
@given(networks())
def test_many_networks(graph: Graph) -> None:
    assert_same_training(graph, build_module(graph), tolerance=1e-6)


def test_the_source_depends_on_the_graph_alone() -> None:
    @settings(parent=relaxed, max_examples=20)
    @given(networks())
    def check(graph: Graph) -> None:
        assert emit_source(graph) == emit_source(graph)
        compile(emit_source(graph), "<emitted>", "exec")

    torch.manual_seed(0)
    check()
