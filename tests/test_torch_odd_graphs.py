"""Odd graphs keep their names, and their numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from odd_graphs import THREE, assert_names_and_numbers, odd

import graphs
from graphs import Network, Place
from resnetc.backends.torch import build_module, emit_source
from resnetc.ir import Graph, Node
from resnetc.ops import (
    Add,
    BatchNorm,
    Concat,
    Conv2d,
    MaxPool,
    Mul,
    Relu,
    Sigmoid,
)


def test_odd_labels_keep_their_names() -> None:
    module = assert_names_and_numbers(odd())
    assert isinstance(module.get_submodule("features"), torch.nn.Sequential)
    assert isinstance(module.get_submodule("bn1"), torch.nn.BatchNorm2d)


@pytest.mark.parametrize(
    "label",
    [
        "stride",
        "weight",
        "bias",
        "forward",
        "_modules",
        "__x",
        "",
        "é",
        "if",
        'a"b',
        "a\\",
    ],
)
def test_any_label_can_be_under_a_layer_or_a_block(label: str) -> None:
    network = Network("net")
    root = network.root
    extended = root.block("extended", "own")
    x = extended.layer(Conv2d, root.input(2, 5, 5), kernel=THREE, bias=False)
    x = extended.layer(Conv2d, x, label=f"a.{label}", kernel=THREE, bias=True)
    x = extended.layer(Conv2d, x, label=label or ".", kernel=THREE, bias=True)
    layered = root.layer(Conv2d, x, label="plain", kernel=THREE)
    layered = root.layer(BatchNorm, layered, label=f"plain.{label}")
    x = root.block("block", "inner").layer(Conv2d, layered, label=label or ".", kernel=THREE)
    assert_names_and_numbers(network.graph(y=x))


def test_a_scope_that_something_else_lies_under_is_inlined() -> None:
    network = Network("net")
    root = network.root
    layer = root.seq("layer")
    x = layer.layer(Relu, layer.layer(Conv2d, root.input(2, 5, 5), kernel=THREE))
    x = root.layer(Conv2d, x, label="layer.tail", kernel=THREE)
    module = assert_names_and_numbers(network.graph(y=x))
    assert list(module.state_dict()) == ["layer.0.weight", "layer.tail.weight"]


def test_a_scope_whose_work_is_interrupted_is_inlined() -> None:
    network = Network("net")
    root = network.root
    block = root.block("block", "b")
    x = block.layer(Conv2d, root.input(2, 5, 5), label="first", kernel=THREE)
    x = root.layer(BatchNorm, x, label="between")
    x = block.layer(Conv2d, x, label="second", kernel=THREE)
    module = assert_names_and_numbers(network.graph(y=x))
    paths = ["b.first.weight", "b.second.weight"]
    assert [p for p in module.state_dict() if p.startswith("b.")] == paths


def test_two_scopes_of_one_path_are_inlined() -> None:
    network = Network("net")
    root = network.root
    x = root.input(2, 5, 5)
    for name in ("a", "b"):
        x = root.block("block", "same").layer(Conv2d, x, label=name, kernel=THREE)
    assert_names_and_numbers(network.graph(y=x))


def test_a_sequence_that_is_read_in_the_middle() -> None:
    network = Network("net")
    root = network.root
    seq = root.seq("s")
    middle = seq.layer(Conv2d, root.input(2, 5, 5), kernel=THREE)
    end = seq.layer(BatchNorm, middle)
    only_middle = root.seq("t")
    early = only_middle.layer(Conv2d, end, kernel=THREE)
    only_middle.layer(Sigmoid, early)
    assert_names_and_numbers(network.graph(y=end, m=root.layer(Add, middle, early)))


def test_an_optional_layer_with_a_child_that_stays() -> None:
    network = Network("net")
    root = network.root
    x = root.input(2, 5, 5)
    layers = root.seq("layers")
    for index in range(4):
        at = layers.block("block")
        x = at.layer(Conv2d, x, label="a", kernel=THREE) if index % 2 else x
        x = at.layer(BatchNorm, x, label="a.norm")
    assert_names_and_numbers(network.graph(y=x))


def repeated(fill: Callable[[Place, Node, bool], Node]) -> Graph:
    """Four instances of one block, every other one with something that the rest lack."""
    network = Network("net")
    x = network.root.layer(Conv2d, network.root.input(2, 6, 6), label="stem", kernel=THREE)
    layers = network.root.seq("layers")
    for index in range(4):
        x = fill(layers.block("block"), x, bool(index % 2))
    return network.graph(y=x)


def test_a_part_of_two_values_is_not_optional() -> None:
    network = Network("net")
    root = network.root
    a = root.input(2, 5, 5)
    layers = root.seq("layers")
    b = root.layer(Sigmoid, a)
    for index in range(4):
        at = layers.block("block")
        x = at.layer(Sigmoid, at.layer(Add, a, b) if index % 2 else a)
        a = at.layer(Add, x, b)
    assert_names_and_numbers(network.graph(y=a))


def test_a_part_that_no_number_tells_of_has_a_parameter_of_its_own() -> None:
    network = Network("net")
    x = network.root.input(2, 5, 5)
    layers = network.root.seq("layers")
    for width, gated in [(4, False), (4, True), (8, True), (8, False)]:
        at = layers.block("block")
        x = at.layer(Conv2d, x, label="conv", kernel=THREE, out=width)
        x = at.layer(Conv2d, x, label="extra", kernel=(1, 1)) if gated else x
    graph = network.graph(y=x)
    assert "extra: bool = False" in emit_source(graph)
    assert_names_and_numbers(graph)


@pytest.mark.parametrize("reader", [Relu, Add])
def test_what_one_instance_may_overwrite_another_may_not(reader: Any) -> None:
    def fill(at: Place, x: Node, odd: bool) -> Node:
        inner = at.block("inner", "i")
        y = inner.layer(BatchNorm, x, label="bn")
        y = inner.layer(Sigmoid, y) if odd else y  # sigmoid's backward reads its output
        return at.layer(reader, y) if reader is Relu else at.layer(reader, y, x)

    graph = repeated(fill)
    assert "with_sigmoid" in emit_source(graph)
    assert_names_and_numbers(graph)


def test_a_block_that_extends_a_layer_keeps_the_layers_attributes() -> None:
    def fill(at: Place, x: Node, odd: bool) -> Node:
        x = at.layer(Conv2d, x, kernel=THREE)
        return at.layer(MaxPool, x, kernel=THREE, stride=(2, 2) if odd else (1, 1))

    graph = repeated(fill)
    assert "self.own_stride = stride" in emit_source(graph)
    assert_names_and_numbers(graph)


def test_variables_live_until_they_are_read() -> None:
    def fill(at: Place, x: Node, odd: bool) -> Node:
        a = at.layer(Sigmoid, at.layer(Relu, x))
        late = at.layer(Conv2d, a, label="late", kernel=THREE)  # written where `product` is
        b = at.layer(Relu, at.layer(Conv2d, x, label="conv", kernel=THREE))
        product = at.layer(Mul, late, b)
        both = at.layer(Concat, product, x)
        return at.layer(Conv2d, both, label="last", kernel=(1, 1), out=2)

    assert_names_and_numbers(repeated(fill))


def test_a_part_leaves_the_variables_around_it_alone() -> None:
    def fill(at: Place, x: Node, odd: bool) -> Node:
        a = at.layer(Relu, x)
        b = at.layer(Relu, at.layer(Conv2d, x, label="conv", kernel=THREE))
        if odd:
            inner = at.layer(Relu, at.layer(Conv2d, b, label="inner", kernel=THREE))
            b = at.layer(Mul, b, inner)
        both = at.layer(Concat, b, a, x)
        return at.layer(Conv2d, both, label="last", kernel=(1, 1), out=2)

    graph = repeated(fill)
    assert "if self.inner is not None:" in emit_source(graph)
    assert_names_and_numbers(graph)


def test_blocks_that_differ_in_what_they_give_back() -> None:
    network = Network("net")
    root = network.root
    x = y = root.input(2, 5, 5)
    layers = root.seq("layers")
    for index in range(3):
        at = layers.block("block")
        y = at.layer(Conv2d, x, label="conv", kernel=THREE)
        z = at.layer(Sigmoid, y)
        x = root.layer(Add, y, z) if index == 1 else z
    assert_names_and_numbers(network.graph(x=x, y=y))


def test_dead_branches_keep_their_parameters() -> None:
    network = Network("net")
    root = network.root
    x = root.input(2, 5, 5)
    dead = root.seq("dead")
    dead.layer(Sigmoid, dead.layer(Conv2d, x, kernel=THREE))
    root.layer(BatchNorm, x, label="also_dead")
    y = root.layer(Relu, root.layer(Conv2d, x, label="alive", kernel=THREE))
    module = assert_names_and_numbers(network.graph(y=y))
    assert set(module.state_dict()) >= {"dead.0.weight", "also_dead.weight"}


def test_blocks_that_nest_in_themselves() -> None:
    network = Network("net")
    at = network.root
    x = at.input(2, 5, 5)
    for depth in range(4):
        at = at.block("nest", f"n{depth % 2}")
        x = at.layer(Conv2d, x, label="conv", kernel=THREE)
    assert_names_and_numbers(network.graph(y=x))


def stage(at: Place, x: Node, width: int, depth: int) -> Node:
    layers = at.seq("blocks")
    for index in range(depth):
        stride = 1 if index else 2
        x = graphs.basic(layers.block("basic"), x, width, stride, graphs.projection_if_changed)
    return x


def test_stages_of_different_depth_are_one_class() -> None:
    network = Network("net")
    root = network.root
    x = root.input(4, 32, 32)
    for number, (width, depth) in enumerate([(4, 2), (8, 5), (16, 3)]):
        x = stage(root.block("stage", f"s{number}"), x, width, depth)
    graph = network.graph(y=x)
    assert emit_source(graph).count("\nclass ") == 3
    assert "range(depth" in emit_source(graph)
    assert_names_and_numbers(graph)


def test_a_deep_network_without_blocks() -> None:
    network = Network("deep")
    x = network.root.input(1, 2, 2)
    for place in range(3000):
        x = network.root.layer(Conv2d, x, label=f"conv{place}", kernel=(1, 1))
        x = network.root.layer(Relu, x)
    module = build_module(network.graph(y=x))
    module(torch.ones(1, 1, 2, 2)).sum().backward()
