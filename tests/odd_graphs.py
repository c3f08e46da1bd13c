"""A network that has what no ordinary one has, and what its module is held to."""

from __future__ import annotations

import torch
from torch_reference import assert_same_training

from graphs import Network
from resnetc.backends.torch import build_module
from resnetc.ir import Graph
from resnetc.ops import (
    Add,
    AvgPool,
    BatchNorm,
    Concat,
    Conv2d,
    Dropout,
    Identity,
    MaxPool,
    Relu,
    Sigmoid,
)

THREE = (3, 3)


def body(source: str) -> str:
    """A source without its docstring, which names version and hash."""
    return source.split('"""\n\n', 1)[1]


def odd() -> Graph:
    """What no ordinary network has, at once: see the labels."""
    network = Network("9 odd-names")
    root = network.root
    x = root.layer(Conv2d, root.input(3, 8, 8, name="image"), label="convs.0", kernel=THREE, out=4)
    x = root.layer(Conv2d, root.layer(Relu, x), label="convs.1", kernel=THREE)
    x = root.layer(BatchNorm, x, label="convs.norm-1", gamma=0.5)
    seen = root.block("two ways", "type")
    y = seen.layer(Conv2d, x, label="class", kernel=THREE)
    z = seen.layer(AvgPool, y, kernel=THREE, stride=(1, 1), count_pad=False)
    act = root.block("norm_act", "bn1")  # owns parameters itself, as timm's BatchNormAct2d does
    w = act.layer(Relu, act.layer(BatchNorm, root.layer(Add, y, z)))
    features = root.seq("features")
    v = features.layer(Conv2d, w, kernel=(1, 3), pad=(0, 1))
    v = features.layer(Sigmoid, v)
    v = features.layer(Dropout, features.layer(Identity, v), p=0.0)
    inner = root.block("free")  # without a label: part of the network
    u = inner.layer(Conv2d, v, label="features_tail", kernel=(1, 1), groups=4, bias=True)
    u = root.layer(MaxPool, root.layer(Concat, u, w, z), kernel=(2, 2), stride=(2, 1), ceil=True)
    return network.graph(map=u, again=z)


def assert_names_and_numbers(graph: Graph) -> torch.nn.Module:
    module = build_module(graph)
    assert set(module.state_dict()) == set(graph.parameters)
    assert_same_training(graph, module, tolerance=1e-7)
    return module
