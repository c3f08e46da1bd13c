"""Every op as PyTorch runs it: called in `forward`, standing in a sequence, alone in its file."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from op_cases import CASES
from torch_reference import assert_close as close
from torch_reference import assert_same_training, interpret, random_state, seeded_inputs

from graphs import Network
from resnetc.backends.torch import build_module, emit_source
from resnetc.ir import Graph
from resnetc.ops import (
    AdaptiveAvgPool,
    Affine,
    BlurPool,
    ChannelConv1d,
    ChannelScale,
    ChannelShuffle,
    Conv2d,
    ConvTranspose2d,
    DropPath,
    GlobalAvgPool,
    GroupNorm,
    LayerNorm,
    LeakyRelu,
    Linear,
    Op,
    Pad,
    RadixSoftmax,
    Relu,
    SliceChannels,
    Softmax,
    Upsample,
    WsConv2d,
)


@pytest.mark.parametrize("case", CASES)
def test_op_in_evaluation(case: str) -> None:
    graph = CASES[case]()
    module = build_module(graph).double().eval()
    state = random_state(graph)
    module.load_state_dict(state)
    (expected,) = interpret(graph, state, seeded_inputs(graph), training=False).values()
    with torch.no_grad():
        close(module(*seeded_inputs(graph)), expected)


ROWS: list[tuple[type[Op], dict[str, object]]] = [
    (Pad, {"by": (1, 2), "value": 0.5}),
    (WsConv2d, {"kernel": (3, 3), "out": 12, "eps": 0.1}),
    (GroupNorm, {"groups": 3, "eps": 0.1}),
    (LeakyRelu, {"slope": 0.2}),
    (ChannelShuffle, {"groups": 4}),
    (DropPath, {"p": 0.0}),
    (BlurPool, {"kernel": 3, "stride": (1, 2)}),
    (LayerNorm, {"eps": 0.1}),
    (Linear, {"out": 8}),
    (Upsample, {"scale": 2, "mode": "bilinear"}),
    (Upsample, {"to": (9, 5)}),
    (Affine, {"scale": [0.5], "shift": [float(i) for i in range(8)]}),
    (SliceChannels, {"start": 2, "stop": 8}),
    (ConvTranspose2d, {"kernel": (2, 3), "out": 12, "stride": (1, 2), "groups": 2}),
    (Softmax, {}),
    (AdaptiveAvgPool, {"to": (3, 2)}),
    (GlobalAvgPool, {}),
    (ChannelConv1d, {"kernel": 5}),
    (RadixSoftmax, {"radix": 2, "groups": 3}),
]


def sequence() -> Graph:
    network = Network("sequence")
    root = network.root
    x = root.input(4, 6, 5)
    body = root.seq("body")
    for op, arguments in ROWS:
        x = body.layer(op, x, **arguments)
    return network.graph(y=x)


def test_ops_in_a_sequence_train_as_the_graph_says() -> None:
    graph = sequence()
    assert "self.body = nn.Sequential(" in emit_source(graph)
    assert_same_training(graph, build_module(graph), tolerance=1e-8)


def test_the_file_of_all_ops_needs_torch_alone() -> None:
    names: dict[str, object] = {}
    source = emit_source(sequence())
    exec(compile(source, "alone.py", "exec"), names)
    module = names["sequence"]()  # type: ignore[operator]
    assert module.eval()(torch.zeros(1, 4, 6, 5)).shape == (1, 12, 1, 1)
    imported = [line for line in source.splitlines() if line.startswith(("import", "from"))]
    assert imported == [
        "import math",
        "import torch",
        "import torch.nn.functional as F",
        "from torch import Tensor, nn",
    ]


def test_helpers_are_written_only_where_they_are_used() -> None:
    assert "def " not in emit_source(CASES["gelu"]()).split("class Net")[0]
    assert "class WsConv2d" in emit_source(CASES["ws_conv2d"]())


# --------------------------------------------------------------------------------- channel_scale


def scales(first: bool, second: bool) -> Graph:
    """Two blocks of one kind, each with or without a scale."""
    network = Network("scales")
    root = network.root
    x = root.input(3, 4, 4)
    layers = root.seq("layers")
    for with_scale in (first, second):
        block = layers.block("unit")
        x = block.layer(Conv2d, x, label="conv", kernel=(1, 1))
        if with_scale:
            x = block.layer(ChannelScale, x, label="gamma", init=0.5)
        x = block.layer(Relu, x)
    return network.graph(y=x)


def in_a_sequence() -> Graph:
    network = Network("indexed")
    root = network.root
    body = root.seq("body")
    x = body.layer(Conv2d, root.input(3, 4, 4), kernel=(1, 1))
    return network.graph(y=body.layer(ChannelScale, x))


def under_odd_names() -> Graph:
    network = Network("odd")
    root = network.root
    x = root.input(3, 4, 4)
    for label in ("type", "from", "9", "a.b", "_c", "self"):
        x = root.layer(ChannelScale, x, label=label)
    return network.graph(y=x)


@pytest.mark.parametrize(
    "build",
    [
        lambda: scales(True, True),
        lambda: scales(True, False),
        lambda: scales(False, True),
        in_a_sequence,
        under_odd_names,
    ],
)
def test_a_scale_is_a_parameter_wherever_it_stands(build: Callable[[], Graph]) -> None:
    graph = build()
    module = build_module(graph)
    assert_same_training(graph, module)


def test_a_part_that_is_a_scale_alone_is_a_product_where_it_is_there() -> None:
    source = emit_source(scales(True, False))
    assert "self.gamma = None" in source
    assert "* self.gamma" in source
    assert "self.gamma(" not in source


# ------------------------------------------------------------------------------------- drop_path


def test_drop_path_drops_samples_whole_and_scales_the_others() -> None:
    network = Network("drop")
    root = network.root
    graph = network.graph(y=root.layer(DropPath, root.input(2, 3, 3), p=0.25))
    module = build_module(graph).train()
    torch.manual_seed(0)
    found = module(torch.ones(4000, 2, 3, 3)).flatten(1)
    assert (found == found[:, :1]).all()
    assert set(found[:, 0].tolist()) == {0.0, torch.tensor(1 / 0.75).item()}
    assert (found[:, 0] == 0).double().mean().item() == pytest.approx(0.25, abs=0.02)
    assert torch.equal(module.eval()(torch.ones(2, 2, 3, 3)), torch.ones(2, 2, 3, 3))
