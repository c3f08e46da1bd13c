"""The pass that types a graph: everything between input and output narrow, what needs it wide."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from oracle import assert_same_meaning
from small_graphs import Builder, cifar_resnet, one_conv, random_graphs, some_weights
from spec_files import ops

from resnetc.diagnostics import RunError
from resnetc.ir import Graph
from resnetc.ir.verify import Stage
from resnetc.ops import GlobalAvgPool, Relu
from resnetc.passes import ForInference, SetPrecision, lower_for_inference, run_passes
from resnetc.shapes import DType


def test_precision_types_everything_between_input_and_output() -> None:
    graph = lower_for_inference(cifar_resnet(8), dtype=DType.F16).graph
    kinds = {node.name: node.type.dtype for node in graph}
    assert kinds["input"] is DType.F32
    assert kinds["fc.to_float32"] is DType.F32
    assert graph[graph.outputs["logits"]].name == "fc.to_float32"
    inner = [n for n in graph if n.name not in ("input", "fc.to_float32")]
    assert {node.type.dtype for node in inner} == {DType.F16}
    assert {p.type.dtype for p in graph.parameters.values()} == {DType.F16}
    assert ops(graph).count("cast") == 2


def test_full_precision_changes_nothing() -> None:
    graph = cifar_resnet(8)
    outcome = run_passes(graph, [ForInference(), SetPrecision(DType.F32)])
    assert not outcome.changed
    assert outcome.stage is Stage.TYPED


def test_an_output_that_is_also_read_is_cast_only_for_the_outside() -> None:
    b = Builder()
    relu = b.add(Relu, "relu", b.input(2, 4, 4))
    graph = b.graph(features=relu, twin=relu, out=b.add(GlobalAvgPool, "gap", relu))
    after = run_passes(graph, [ForInference(), SetPrecision(DType.BF16)]).graph
    assert {after[i].type.dtype for i in after.outputs.values()} == {DType.F32}
    gap = next(node for node in after if node.op.name == "gap")
    assert gap.type.dtype is DType.BF16
    assert after[gap.inputs[0]].name == "relu"
    assert ops(after).count("cast") == 3
    assert_same_meaning(graph, after)


def test_batch_norms_counter_stays_an_integer() -> None:
    graph = lower_for_inference(cifar_resnet(8), fold=False, dtype=DType.F16).graph
    assert graph.parameters["bn1.num_batches_tracked"].type.dtype is DType.I64
    assert graph.parameters["bn1.running_var"].type.dtype is DType.F16


def test_cast_names_do_not_collide_with_a_users() -> None:
    b = Builder()
    graph = b.graph(out=b.add(Relu, "input.to_float16", b.input(2, 4, 4)))
    after = run_passes(graph, [ForInference(), SetPrecision(DType.F16)]).graph
    assert len({node.name for node in after}) == len(after)


def test_a_weight_float16_cannot_hold_is_a_plain_error() -> None:
    graph = run_passes(one_conv(), [ForInference(), SetPrecision(DType.F16)]).graph
    weights = some_weights(one_conv())
    weights["conv.weight"][1, 1, 1, 1] = -7e4
    with pytest.raises(RunError, match=r"conv\.weight holds 7e\+04, but float16 ends at 65504"):
        graph.parameters["conv.weight"].array(weights)
    weights["conv.weight"][1, 1, 1, 1] = -6.5e4
    assert graph.parameters["conv.weight"].array(weights).dtype == np.float16
    weights["conv.weight"][1, 1, 1, 1] = np.nan  # the user's own: passed on
    assert np.isnan(graph.parameters["conv.weight"].array(weights)).sum() == 1


@settings(max_examples=50, deadline=None)
@given(random_graphs())
def test_typed_graphs_keep_inputs_and_outputs(graph: Graph) -> None:
    after = lower_for_inference(graph, fold=False, dtype=DType.BF16).graph
    assert [n.type for n in after.inputs] == [n.type for n in graph.inputs]
    for name, node_id in graph.outputs.items():
        assert after[after.outputs[name]].type == graph[node_id].type
    assert_same_meaning(graph, after)
