"""What the ops say of their cost, held to what PyTorch does: products, saved tensors, windows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from oracle import evaluate
from small_graphs import Builder
from torch.utils.flop_counter import FlopCounterMode

from resnetc.analysis.cost import cost, node_costs
from resnetc.analysis.field import receptive_field
from resnetc.analysis.memory import saved_bytes
from resnetc.backends.torch import build_module
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
    Gelu,
    GlobalAvgPool,
    GroupNorm,
    Hardsigmoid,
    Hardswish,
    LayerNorm,
    LeakyRelu,
    Linear,
    Op,
    Pad,
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

Row = tuple[type[Op], dict[str, Any]]


def chain(*rows: Row, shape: tuple[int, int, int] = (4, 12, 10)) -> Graph:
    b = Builder()
    x = b.input(*shape)
    for index, (op, arguments) in enumerate(rows):
        x = b.add(op, f"{op.name}_{index}", x, **arguments)
    return b.graph(out=x)


# --------------------------------------------------------------------------------- multiplications


@pytest.mark.parametrize(
    "row",
    [
        (WsConv2d, {"kernel": (3, 3), "out": 6, "groups": 2, "stride": (2, 1)}),
        (ConvTranspose2d, {"kernel": (3, 2), "out": 6, "groups": 2, "stride": (2, 3)}),
        (ConvTranspose2d, {"kernel": (4, 4), "stride": (2, 2), "pad": (1, 1), "bias": True}),
        (Linear, {"out": 7}),
    ],
)
def test_macs_are_those_that_torch_runs(row: Row) -> None:
    graph = chain(row)
    module = build_module(graph).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(torch.zeros(1, 4, 12, 10))
    assert 2 * cost(graph).macs == counter.get_total_flops() > 0


def test_macs_of_a_filter_along_the_channels() -> None:
    graph = chain((GlobalAvgPool, {}), (ChannelConv1d, {"kernel": 3}))
    assert cost(graph).macs == 4 * 3


def test_flops_of_what_is_no_product() -> None:
    rows: list[tuple[Row, int]] = [
        ((Silu, {}), 480),
        ((LayerNorm, {}), 7 * 480),
        ((GroupNorm, {"groups": 2}), 7 * 480),
        ((ChannelScale, {}), 480),
        ((Affine, {"scale": [2.0]}), 480),
        ((Affine, {"scale": [2.0], "shift": [1.0, 2.0, 3.0, 4.0]}), 960),
        ((Affine, {}), 0),
        ((Pad, {"by": (1, 1)}), 0),
        ((ChannelShuffle, {"groups": 2}), 0),
        ((SliceChannels, {"start": 1, "stop": 3}), 0),
        ((Upsample, {"scale": 2}), 0),
        ((Upsample, {"scale": 2, "mode": "bilinear"}), 7 * 4 * 480),
        ((AdaptiveAvgPool, {"to": (5, 5)}), 4 * (3 + 3 + 4 + 3 + 3) * 10),
        ((BlurPool, {"kernel": 3, "stride": (2, 2)}), 2 * 9 * 4 * 6 * 5),
        ((DropPath, {"p": 0.5}), 0),
    ]
    for row, flops in rows:
        graph = chain(row)
        last = list(graph)[-1]
        assert node_costs(graph)[last.id].flops == flops, row
        assert node_costs(graph)[last.id].macs == 0


# ----------------------------------------------------------------------------------- saved tensors


@pytest.mark.parametrize(
    "row",
    [
        *((op, {}) for op in (Relu6, LeakyRelu, Silu, Gelu, Hardswish, Hardsigmoid)),
        *((op, {}) for op in (Sigmoid, Tanh, Softmax, ChannelScale, LayerNorm)),
        (GroupNorm, {"groups": 2}),
        (Linear, {"out": 4}),
        (WsConv2d, {"kernel": (3, 3)}),
        (ConvTranspose2d, {"kernel": (2, 2), "stride": (2, 2)}),
        (SliceChannels, {"start": 0, "stop": 2}),
        (Affine, {"shift": [1.0]}),
        (Pad, {"by": (1, 1)}),
        (AdaptiveAvgPool, {"to": (8, 8)}),
        (Upsample, {"scale": 2, "mode": "bilinear"}),
    ],
)
def test_saved_bytes_are_what_autograd_saves(row: Row) -> None:
    """Between two convolutions, which save their inputs. What a norm saves of its statistics is
    too small to count: less than one number for each channel."""
    around = (Conv2d, {"kernel": (1, 1)})
    graph = chain(around, row, around)
    module = build_module(graph).train()
    saved: dict[int, int] = {}
    small = 2 * 12 * 10

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.dim() > 1 and tensor.numel() > small:
            size = tensor.untyped_storage().nbytes()
            saved[tensor.untyped_storage().data_ptr()] = size // 2
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        output = module(torch.zeros(2, 4, 12, 10))
    assert output.requires_grad
    assert saved_bytes(graph) == sum(saved.values())


# ----------------------------------------------------------------------------------------- windows


def seen(graph: Graph, axis: int) -> list[int]:
    """For each output position along an axis: how many input lines it takes, first to last."""
    rng = np.random.default_rng(0)
    weights = {p.path: rng.uniform(0.5, 1, p.type.shape) for p in graph.parameters.values()}
    lines = graph.inputs[0].type.shape[1 + axis]
    batch = np.repeat(rng.uniform(0.5, 1, (1, *graph.inputs[0].type.shape)), lines + 1, axis=0)
    for line in range(lines):
        np.moveaxis(batch[line], 1 + axis, 0)[line] += 100
    (output,) = evaluate(graph, weights, {"input": batch}).values()
    changed = (np.abs(output[:-1] - output[-1:]) > 1e-9).any(axis=(1, 3 - axis))
    spans = [np.flatnonzero(column) for column in changed.T]
    return [int(span[-1] - span[0]) + 1 if len(span) else 0 for span in spans]


CONV = (Conv2d, {"kernel": (3, 3), "stride": (2, 2)})
STRIDED = (Subsample, {"stride": (2, 3)})


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize(
    "rows",
    [
        [CONV, (BlurPool, {"kernel": 3, "stride": (2, 1)})],
        [CONV, (Pad, {"by": (1, 2)}), CONV],
        [CONV, (Upsample, {"scale": 2}), (Conv2d, {"kernel": (3, 3)})],
        [CONV, (Upsample, {"scale": 3}), STRIDED],
        [CONV, (Upsample, {"scale": 2, "mode": "bilinear"}), (Conv2d, {"kernel": (5, 3)})],
        [(Upsample, {"scale": 2, "mode": "bilinear"})],
        [CONV, (ConvTranspose2d, {"kernel": (2, 2), "stride": (2, 2)}), CONV],
        [CONV, (ConvTranspose2d, {"kernel": (4, 3), "stride": (2, 1), "pad": (1, 1)})],
        [(ConvTranspose2d, {"kernel": (3, 5), "stride": (1, 2)}), (Conv2d, {"kernel": (3, 3)})],
        [CONV, (AdaptiveAvgPool, {"to": (6, 4)}), (Conv2d, {"kernel": (3, 1)})],
        [CONV, (LayerNorm, {}), (Linear, {"out": 3}), (Gelu, {}), CONV],
        [(WsConv2d, {"kernel": (3, 5), "stride": (2, 1)}), (ChannelScale, {})],
    ],
)
def test_a_receptive_field_is_the_most_that_an_output_sees(rows: list[Row], axis: int) -> None:
    graph = chain(*rows, shape=(2, 24, 32))
    assert max(seen(graph, axis)) == receptive_field(graph).size[axis]


def test_windows_that_differ_are_said_to_see_all() -> None:
    graph = chain((AdaptiveAvgPool, {"to": (5, 7)}))
    assert receptive_field(graph).size == (12, 10)
    assert max(seen(graph, 0)) == 4


def test_a_map_larger_than_the_input_has_a_jump_below_one() -> None:
    graph = chain((Upsample, {"scale": 2}))
    assert [float(jump) for jump in receptive_field(graph).jump] == [0.5, 0.5]
