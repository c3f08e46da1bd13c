"""Factors behind a layer become part of its weights."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest
from oracle import evaluate, seeded_inputs
from small_graphs import Builder, some_weights

import resnetc
from resnetc.backends.onnx import OnnxOptions, model_bytes
from resnetc.ir import Graph, GraphEditor, Node
from resnetc.ir.verify import verify
from resnetc.ops import (
    Add,
    Affine,
    BatchNorm,
    ChannelScale,
    Conv2d,
    ConvTranspose2d,
    GlobalAvgPool,
    PixelLinear,
    Relu,
)
from resnetc.passes import FoldScales, lower_for_inference


def lowered(graph: Graph) -> Graph:
    """The graph for inference, which must mean what the graph means."""
    after = lower_for_inference(graph).graph
    weights, inputs = some_weights(graph), seeded_inputs(graph)
    before = evaluate(graph, weights, inputs)
    for name, array in evaluate(after, weights, inputs).items():
        np.testing.assert_allclose(array, before[name], rtol=1e-5, atol=1e-6)
    return after


def factors(graph: Graph) -> list[str]:
    return [node.name for node in graph if isinstance(node.op, ChannelScale | Affine)]


def layer(b: Builder, kind: str) -> Node:
    """A layer of six channels that factors can follow."""
    x = b.input(4, 6, 6)
    match kind:
        case "biased":
            return b.add(Conv2d, "layer", x, out=6, kernel=(3, 3), bias=True)
        case "plain":
            return b.add(Conv2d, "layer", x, out=6, kernel=(1, 1))
        case "normed":
            return b.add(BatchNorm, "bn", b.add(Conv2d, "layer", x, out=6, kernel=(3, 3)))
        case "linear":
            return b.add(PixelLinear, "layer", x, out=6)
        case _:
            return b.add(ConvTranspose2d, "layer", x, out=6, kernel=(2, 2), stride=(2, 2))


KINDS = ("biased", "plain", "normed", "linear", "transposed")


@pytest.mark.parametrize("kind", KINDS)
def test_a_learned_factor_goes_into_the_weights(kind: str) -> None:
    b = Builder()
    graph = b.graph(out=b.add(Relu, "relu", b.add(ChannelScale, "scale", layer(b, kind))))
    after = lowered(graph)
    assert [node.name for node in after] == ["input", "layer", "relu"]
    assert "scale" not in after.parameters


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scale", [[0.17], [1.0, -2.0, 0.5, 3.0, 0.0, 1.5]])
def test_a_constant_factor_goes_into_the_weights(kind: str, scale: list[float]) -> None:
    b = Builder()
    graph = b.graph(out=b.add(Affine, "scale", layer(b, kind), scale=scale))
    assert factors(lowered(graph)) == []


def test_two_factors_in_a_row() -> None:
    """One goes in; what then follows the layer is a matter of another run."""
    b = Builder()
    x = b.add(ChannelScale, "first", layer(b, "biased"))
    graph = b.graph(out=b.add(Affine, "second", x, scale=[3.0]))
    assert factors(lowered(graph)) == ["second"]


def test_what_is_read_elsewhere_or_shifted_or_no_layer_stays() -> None:
    b = Builder()
    x = layer(b, "biased")
    both = b.add(Add, "add", b.add(ChannelScale, "read_twice", x), x)
    shifted = b.add(Affine, "shifted", b.add(Conv2d, "next", both, out=6, kernel=(1, 1)), shift=[1])
    pooled = b.add(GlobalAvgPool, "pool", shifted)
    graph = b.graph(out=b.add(Affine, "behind_a_pool", pooled, scale=[2.0]))
    assert factors(lowered(graph)) == ["read_twice", "shifted", "behind_a_pool"]


def test_a_layer_that_is_an_output_keeps_its_values() -> None:
    b = Builder()
    x = layer(b, "biased")
    graph = b.graph(features=x, out=b.add(ChannelScale, "scale", x))
    assert factors(lowered(graph)) == ["scale"]


def test_a_factor_that_is_an_output_keeps_its_name() -> None:
    b = Builder()
    x = b.add(ChannelScale, "scale", layer(b, "linear"))
    graph = b.graph(features=x, out=b.add(Relu, "relu", x))
    after = lowered(graph)
    assert factors(after) == []
    model = onnx.load_from_string(model_bytes(graph, some_weights(graph)))
    assert [value.name for value in model.graph.output] == ["features", "out"]


def test_a_node_behind_one_of_another_type_gets_its_type_anew() -> None:
    b = Builder()
    conv = b.add(Conv2d, "conv", b.input(4, 6, 6), out=6, kernel=(3, 3))
    graph = b.graph(out=b.add(Relu, "relu", conv))
    editor = GraphEditor(graph)
    for node in graph:
        if node.name == "conv":
            wider = Conv2d(4, 8, kernel=(3, 3), pad=(1, 1))
            weight = replace(node.parameters[0], type=wider.parameters()[0].type)
            editor.replace(node, wider, (weight,))
        else:
            editor.keep(node)
    after = editor.finish()
    assert [node.type.shape for node in after][1:] == [(8, 6, 6), (8, 6, 6)]
    verify(after)


def test_a_graph_without_factors_is_returned_as_it_is() -> None:
    b = Builder()
    after = lower_for_inference(b.graph(out=layer(b, "biased"))).graph
    assert FoldScales().run(after) is after


@pytest.mark.slow
def test_convnext_has_its_layer_scales_in_its_weights_and_one_node_a_gelu() -> None:
    graph = resnetc.load("convnext_tiny").graph
    weights = {p.path: np.zeros(p.type.shape, np.float32) for p in graph.parameters.values()}
    model = onnx.load_from_string(model_bytes(graph, weights))
    kinds = [node.op_type for node in model.graph.node]
    assert (len(kinds), kinds.count("Gelu"), kinds.count("Mul")) == (166, 18, 0)
    assert model.opset_import[0].version == 20
    older = onnx.load_from_string(model_bytes(graph, weights, OnnxOptions(opset=18)))
    assert "Gelu" not in {node.op_type for node in older.graph.node}
