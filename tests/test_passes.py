"""Passes: the runner, what each does, and that none changes what a graph means."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from oracle import assert_same_meaning, evaluate, seeded_inputs
from small_graphs import (
    Builder,
    cifar_resnet,
    imagenet_resnet,
    one_conv,
    random_graphs,
    some_weights,
)
from spec_files import ops

from resnetc.diagnostics import InternalError, RunError
from resnetc.ir import Graph, GraphEditor, Node
from resnetc.ir.verify import Stage, verify
from resnetc.ops import (
    Add,
    BatchNorm,
    Concat,
    Conv2d,
    Dropout,
    Identity,
    PadChannels,
    Relu,
    Subsample,
)
from resnetc.passes import (
    PASSES,
    FoldBatchNorm,
    ForInference,
    Pass,
    SelectionAsConv,
    Step,
    lower_for_inference,
    run_passes,
)
from resnetc.shapes import DType

# ----------------------------------------------------------------------------------- the runner


def test_every_pass_has_a_row() -> None:
    assert set(PASSES.values()) == set(Pass.__subclasses__()) - {_Break, _Nothing}
    assert all(name == each.name for name, each in PASSES.items())


@dataclass(frozen=True)
class _Nothing(Pass):
    name = "nothing"
    stages: ClassVar = {Stage.SOURCE: Stage.SOURCE}

    def visit(self, editor: GraphEditor, node: Node) -> None:
        editor.keep(node)


@dataclass(frozen=True)
class _Break(Pass):
    """Leaves a convolution that does not fit its operand's parameters."""

    name = "break"
    stages: ClassVar = {Stage.SOURCE: Stage.SOURCE}

    def visit(self, editor: GraphEditor, node: Node) -> None:
        if isinstance(node.op, Conv2d):
            editor.replace(node, replace(node.op, bias=True))
        else:
            editor.keep(node)


def test_a_pass_that_changes_nothing_returns_the_same_graph() -> None:
    graph = one_conv()
    outcome = run_passes(graph, [_Nothing()])
    assert outcome.graph is graph
    assert not outcome.changed


def test_the_runner_verifies_after_every_pass_and_names_it() -> None:
    with pytest.raises(InternalError, match=r"after break: conv: its parameters"):
        run_passes(one_conv(), [_Break(), _Nothing()])


def test_a_pass_may_only_follow_the_stages_it_names() -> None:
    with pytest.raises(InternalError, match="fold_batch_norm may not follow stage SOURCE"):
        run_passes(one_conv(), [FoldBatchNorm()])


def test_steps_say_stage_change_and_time() -> None:
    seen: list[Step] = []
    outcome = lower_for_inference(cifar_resnet(8), dtype=DType.F16, watch=seen.append)
    assert [(s.name, s.stage, s.changed) for s in seen] == [
        ("for_inference", Stage.INFERENCE, False),
        ("fold_batch_norm", Stage.FOLDED, True),
        ("fold_scales", Stage.FOLDED, False),
        ("selection_as_conv", Stage.FOLDED, True),
        ("set_precision", Stage.FOLDED_TYPED, True),
    ]
    assert tuple(seen) == outcome.steps
    assert all(step.seconds > 0 for step in seen)
    assert outcome.changed
    assert seen[-1].graph is outcome.graph


# ------------------------------------------------------------------------------- for inference


def test_identity_dropout_and_lone_merges_vanish() -> None:
    b = Builder()
    x = b.input(2, 4, 4)
    y = b.add(Dropout, "drop", b.add(Identity, "same", x))
    y = b.add(Relu, "relu", b.add(Add, "alone", y))
    y = b.add(Concat, "both", y, b.add(Identity, "again", x))
    graph = b.graph(out=b.add(Dropout, "last", y))
    after = run_passes(graph, [ForInference()]).graph
    assert ops(after) == ["input", "relu", "concat"]
    assert after[after.outputs["out"]].name == "both"
    assert_same_meaning(graph, after)


def test_a_concat_takes_up_another_that_only_it_reads() -> None:
    b = Builder()
    x = b.input(2, 4, 4)
    parts = [b.add(Relu, f"relu{i}", x) for i in range(4)]
    inner = b.add(Concat, "inner", parts[0], parts[1])
    middle = b.add(Concat, "middle", inner, parts[2])
    read = b.add(Concat, "read", parts[2], parts[3])
    given = b.add(Concat, "given", parts[0], parts[3])
    twice = b.add(Concat, "twice", parts[1])
    outer = b.add(Concat, "outer", middle, read, given, twice, twice)
    graph = b.graph(out=outer, given=given, also=b.add(Relu, "also", read))
    after = run_passes(graph, [ForInference()]).graph
    assert {node.name for node in after if node.op.name == "concat"} == {"read", "given", "outer"}
    (outer,) = (node for node in after if node.name == "outer")
    names = [after[operand].name for operand in outer.inputs]
    assert names == ["relu0", "relu1", "relu2", "read", "given", "relu1", "relu1"]
    assert_same_meaning(graph, after)


# ------------------------------------------------------------------------------------- folding


def fold(graph: Graph) -> Graph:
    return run_passes(graph, [ForInference(), FoldBatchNorm()]).graph


def test_a_norm_behind_a_convolution_becomes_its_bias() -> None:
    b = Builder()
    conv = b.add(Conv2d, "stem.conv", b.input(3, 8, 8), kernel=(3, 3), out=4)
    graph = b.graph(out=b.add(Relu, "relu", b.add(BatchNorm, "stem.bn", conv, eps=1e-3)))
    after = fold(graph)
    assert ops(after) == ["input", "conv2d", "relu"]
    assert list(after.parameters) == ["stem.conv.weight", "stem.conv.bias"]
    assert set(after.parameters["stem.conv.bias"].value.sources()) == {
        "stem.bn.bias",
        "stem.bn.running_mean",
        "stem.bn.weight",
        "stem.bn.running_var",
    }
    assert_same_meaning(graph, after)


def test_a_convolution_with_its_own_bias() -> None:
    b = Builder()
    conv = b.add(Conv2d, "conv", b.input(3, 8, 8), kernel=(1, 1), out=4, bias=True)
    graph = b.graph(out=b.add(BatchNorm, "bn", conv))
    after = fold(graph)
    assert list(after.parameters) == ["conv.weight", "conv.bias"]
    assert "conv.bias" in set(after.parameters["conv.bias"].value.sources())
    assert_same_meaning(graph, after)


def test_a_shared_convolution_keeps_its_weights() -> None:
    b = Builder()
    conv = b.add(Conv2d, "conv", b.input(3, 8, 8), kernel=(3, 3), out=4)
    left, right = b.add(BatchNorm, "left", conv), b.add(BatchNorm, "right", conv)
    graph = b.graph(out=b.add(Add, "add", left, right))
    after = fold(graph)
    assert Counter(ops(after)) == {"input": 1, "conv2d": 1, "channel_affine": 2, "add": 1}
    assert list(after.parameters) == [
        "conv.weight",
        "left.weight",
        "left.bias",
        "right.weight",
        "right.bias",
    ]
    assert_same_meaning(graph, after)


def test_a_convolution_that_is_an_output_keeps_its_weights() -> None:
    b = Builder()
    conv = b.add(Conv2d, "conv", b.input(3, 8, 8), kernel=(3, 3), out=4)
    graph = b.graph(out=b.add(BatchNorm, "bn", conv), features=conv)
    after = fold(graph)
    assert ops(after) == ["input", "conv2d", "channel_affine"]
    assert_same_meaning(graph, after)


def test_a_norm_behind_an_add_becomes_an_affine() -> None:
    b = Builder()
    x = b.input(3, 8, 8)
    total = b.add(Add, "add", b.add(Conv2d, "conv", x, kernel=(3, 3)), x)
    graph = b.graph(out=b.add(Conv2d, "next", b.add(BatchNorm, "bn", total), kernel=(3, 3)))
    after = fold(graph)
    assert ops(after) == ["input", "conv2d", "add", "channel_affine", "conv2d"]
    assert_same_meaning(graph, after)


def test_folding_computes_in_float64_and_rounds_once() -> None:
    b = Builder()
    conv = b.add(Conv2d, "conv", b.input(1, 4, 4), kernel=(3, 3), out=64)
    after = fold(b.graph(out=b.add(BatchNorm, "bn", conv)))
    weights = some_weights(b.graph(out=conv)) | some_weights(after, 3)
    rng = np.random.default_rng(0)
    for name, low in (("weight", -2), ("bias", -2), ("running_mean", -2), ("running_var", 0.1)):
        weights[f"bn.{name}"] = rng.uniform(low, 2, 64).astype(np.float32)
    exact = {path: array.astype(np.float64) for path, array in weights.items()}
    scale = exact["bn.weight"] / np.sqrt(exact["bn.running_var"] + 1e-5)
    shift = exact["bn.bias"] - exact["bn.running_mean"] * scale
    rows = exact["conv.weight"] * scale[:, None, None, None]
    found = {path: p.array(weights) for path, p in after.parameters.items()}
    np.testing.assert_array_equal(found["conv.weight"], rows.astype(np.float32))
    np.testing.assert_array_equal(found["conv.bias"], shift.astype(np.float32))


def test_folding_that_overflows_is_a_plain_error() -> None:
    b = Builder()
    conv = b.add(Conv2d, "conv", b.input(1, 4, 4), kernel=(1, 1))
    graph = b.graph(out=b.add(BatchNorm, "bn", conv))
    weights = some_weights(graph)
    weights["conv.weight"][:] = 3e38
    weights["bn.running_var"][:] = 0
    with pytest.raises(RunError, match=r"conv\.weight holds inf, but float32 ends at 3\.4e38"):
        fold(graph).parameters["conv.weight"].array(weights)


# ------------------------------------------------------------------------------------ option A


@pytest.mark.parametrize("sides", ["after", "both"])
@pytest.mark.parametrize("subsample_first", [True, False])
def test_option_a_becomes_one_convolution_with_the_same_bits(
    sides: str, subsample_first: bool
) -> None:
    b = Builder()
    y = b.input(3, 7, 5)
    stride = (2, 3)
    for first in (subsample_first, not subsample_first):
        if first:
            y = b.add(Subsample, "sub", y, stride=stride)
        else:
            y = b.add(PadChannels, "pad", y, to=8, sides=sides)
    graph = b.graph(out=y)
    after = run_passes(graph, [ForInference(), SelectionAsConv()]).graph
    assert ops(after) == ["input", "conv2d"]
    inputs = seeded_inputs(graph)
    expected, found = evaluate(graph, {}, inputs), evaluate(after, {}, inputs)
    np.testing.assert_array_equal(found["out"], expected["out"])


def test_subsample_or_pad_alone_stays() -> None:
    b = Builder()
    x = b.input(3, 8, 8)
    graph = b.graph(
        a=b.add(Subsample, "sub", x, stride=(2, 2)), b=b.add(PadChannels, "pad", x, to=5)
    )
    assert not run_passes(graph, [ForInference(), SelectionAsConv()]).changed


# ------------------------------------------------------------------------------------ the rules


def test_batch_norm_is_not_legal_after_folding() -> None:
    graph = cifar_resnet(8)
    verify(graph, Stage.INFERENCE)
    for stage in (Stage.FOLDED, Stage.FOLDED_TYPED):
        with pytest.raises(InternalError, match="batchnorm is not legal in stage"):
            verify(graph, stage)


def test_the_verifier_refuses_mixed_element_types() -> None:
    graph = one_conv()
    conv = graph[graph.outputs["out"]]
    weight = replace(conv.parameters[0], type=replace(conv.parameters[0].type, dtype=DType.F16))
    mixed = Graph("mixed", [graph.inputs[0], replace(conv, parameters=(weight,))], graph.outputs)
    with pytest.raises(InternalError, match="conv: float16 and float32 meet here without a cast"):
        verify(mixed)


# ---------------------------------------------------------------------------- any small graph


@settings(max_examples=150, deadline=None)
@given(random_graphs())
def test_lowering_keeps_the_meaning_of_any_graph(graph: Graph) -> None:
    outcome = lower_for_inference(graph)
    assert outcome.stage is Stage.FOLDED
    assert_same_meaning(graph, outcome.graph)
    assert lower_for_inference(graph).graph.hash == outcome.graph.hash


def test_a_deep_network_is_an_ordinary_input() -> None:
    outcome = lower_for_inference(cifar_resnet(1202), dtype=DType.F16)
    assert Counter(ops(outcome.graph)) == {
        "input": 1,
        "cast": 2,
        "conv2d": 1203,
        "relu": 1201,
        "add": 600,
        "gap": 1,
        "flatten": 1,
        "linear": 1,
    }


def test_folded_torchvision_layout() -> None:
    graph = lower_for_inference(imagenet_resnet((3, 4, 6, 3), bottleneck=True)).graph
    assert Counter(ops(graph))["conv2d"] == 53
    assert "layer1.0.downsample.0.bias" in graph.parameters
    assert not any("bn" in path for path in graph.parameters)
