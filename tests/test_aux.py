"""Auxiliary heads: outputs of training only, from the graph to every backend."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from click.testing import CliRunner
from heads import BODY, HEAD, graph
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from oracle import evaluate, seeded_inputs
from small_graphs import random_graphs, some_weights
from spec_files import Folder, folder, ops
from torch import nn
from torch_reference import assert_same_training

from resnetc.analysis import cost, stages
from resnetc.analysis.memory import inference_bytes, training_bytes
from resnetc.backends.onnx import OnnxOptions, model_bytes
from resnetc.backends.torch import build_module, emit_source
from resnetc.cli.info import info
from resnetc.diagnostics import InternalError
from resnetc.ir import Graph
from resnetc.ir.verify import Stage, verify
from resnetc.passes import PASSES, ForInference, lower_for_inference, run_passes
from resnetc.shapes import DType

__all__ = ["folder", "graph"]


# ---------------------------------------------------------------------------------------------- IR


def test_the_hash_knows_heads(folder: Folder) -> None:
    hashes = {
        folder.body(statements).hash
        for statements in (
            "conv1: conv(3x3) -> relu",
            "conv1: conv(3x3)  aux a: conv(1x1)  relu",
            "conv1: conv(3x3)  aux b: conv(1x1)  relu",
            "conv1: conv(3x3)  a: conv(1x1)  relu",
        )
    }
    assert len(hashes) == 4


def test_what_is_needed_by_heads_alone_is_of_training_only(graph: Graph) -> None:
    names = {graph[i].name for i in graph.training_only}
    assert names == {node.name for node in graph if "near" in node.name} | {
        "layer1.deep",
        "layer1.3",
        "layer1.4",
        "layer1.5",
        "layer1.6",
    }


def test_the_verifier_refuses_heads_in_inference(graph: Graph) -> None:
    verify(graph, Stage.SOURCE)
    with pytest.raises(InternalError, match="deep is of training only"):
        verify(graph, Stage.INFERENCE)
    both = Graph("n", graph, graph.outputs, graph.scopes, {"logits": graph.aux["near"]})
    with pytest.raises(InternalError, match="logits is also"):
        verify(both)
    absent = Graph("n", graph, graph.outputs, graph.scopes, {"far": 1_000})
    with pytest.raises(InternalError, match="far is not in the graph"):
        verify(absent)


def test_inference_drops_heads_and_keeps_the_outputs(graph: Graph) -> None:
    held, inputs = some_weights(graph), seeded_inputs(graph)
    outcome = run_passes(graph, [ForInference()])
    assert outcome.changed
    assert not outcome.graph.aux
    assert not outcome.graph.training_only
    assert len(outcome.graph) == len(graph) - len(graph.training_only)
    expected = evaluate(graph, held, inputs)["logits"]
    for each, rtol in ((outcome.graph, 1e-12), (lower_for_inference(graph).graph, 1e-5)):
        np.testing.assert_allclose(evaluate(each, held, inputs)["logits"], expected, rtol)


def test_a_head_on_the_last_tensor_is_dropped_too(folder: Folder) -> None:
    """Nothing else changes here, so that only the head can tell that something did."""
    graph = folder.body("conv1: conv(3x3)  aux a: relu")
    assert ops(run_passes(graph, [ForInference()]).graph) == ["input", "conv2d"]
    alias = folder.body("conv1: conv(3x3)  aux a: seq { }  relu")
    assert alias.aux == {}


def test_no_other_pass_loses_a_head(graph: Graph) -> None:
    """Only `for_inference` may follow SOURCE, so none but it ever sees one."""
    assert [name for name, each in PASSES.items() if Stage.SOURCE in each.stages] == [
        "for_inference"
    ]


# ------------------------------------------------------------------------------------------- torch


def test_torch_computes_heads_in_training(graph: Graph) -> None:
    module = build_module(graph)
    assert list(module.state_dict()) == list(graph.parameters)
    assert_same_training(graph, module)


def test_evaluation_returns_what_it_does_without_heads(graph: Graph) -> None:
    module = build_module(graph, seed=0)
    called: list[str] = []
    for name, child in module.named_modules():
        child.register_forward_hook(lambda *_, name=name: called.append(name))
    x = torch.randn(2, 4, 8, 8)
    found = module.train()(x)
    assert list(found) == ["logits", "near", "deep"]
    assert "near" in called
    assert "layer1.deep" in called
    called.clear()
    assert isinstance(module.eval()(x), torch.Tensor)
    assert not any("near" in name or "deep" in name for name in called)


def test_several_outputs_stay_a_dict(folder: Folder) -> None:
    graph = folder.body("conv1: conv(3x3) as a  aux x: gap -> flatten  relu as b  output a, b")
    module = build_module(graph)
    x = torch.randn(2, 4, 8, 8)
    assert list(module.train()(x)) == ["a", "b", "x"]
    assert list(module.eval()(x)) == ["a", "b"]
    assert_same_training(graph, module)


NAMES = ["self", "F", "torch", "x", "out", "print", "a.b", "7", "training_", "class"]


@pytest.mark.parametrize("name", NAMES)
def test_any_label_can_name_a_head(folder: Folder, name: str) -> None:
    """Whatever Python makes of it: `F` as a variable would hide torch's functions."""
    graph = folder.body(f'conv1: conv(3x3)  aux "{name}": conv(1x1)  relu -> conv2: conv(3x3)')
    assert list(graph.aux) == [name]
    assert_same_training(graph, build_module(graph))


def test_a_tensor_that_a_head_reads_is_not_overwritten(folder: Folder) -> None:
    for statements in (
        "conv1: conv(3x3) -> bn1: norm  aux a: conv(1x1)  act -> conv2: conv(3x3)",
        "conv1: conv(3x3)  aux a: sigmoid  residual(shortcut=B) { conv2: conv(3x3) }",
        "conv1: conv(3x3)  aux a: group { act -> conv(1x1) }  act  aux b: gap  conv2: conv(3x3)",
    ):
        graph = folder.body(statements)
        assert_same_training(graph, build_module(graph))


def test_the_source_reads_as_a_person_writes_it(graph: Graph) -> None:
    source = emit_source(graph)
    assert (
        """
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)  # 6x8x8
        if self.training:
            near = self.near(x)  # 5
"""
        in source
    )
    assert source.count("if self.training:") == 3
    assert (
        """
        if self.training:
            return {"logits": out, "near": near, "deep": deep}
        return out
"""
        in source
    )
    assert "def forward(self, x: Tensor) -> Tensor | dict[str, Tensor]:" in source


def test_a_block_without_heads_stays_a_module(folder: Folder) -> None:
    graph = folder.body("layer1: seq { conv(3x3) -> act }  aux a: head(3)  conv2: conv(3x3)", HEAD)
    module = build_module(graph)
    assert isinstance(module.layer1, nn.Sequential)
    assert type(module.a).__name__ == "Head"


# -------------------------------------------------------------------------------- ONNX, TensorRT


@pytest.mark.parametrize("fold", [True, False])
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_an_onnx_file_holds_nothing_of_the_heads(graph: Graph, fold: bool, precision: str) -> None:
    held = some_weights(graph)
    data = model_bytes(graph, held, OnnxOptions(fold=fold, precision=precision))
    model = onnx.load(io.BytesIO(data))
    names = {t.name for t in model.graph.initializer} | {n.name for n in model.graph.node}
    names |= {name for node in model.graph.node for name in (*node.input, *node.output)}
    assert [output.name for output in model.graph.output] == ["logits"]
    assert not any("near" in name or "deep" in name for name in names)
    assert {t.name for t in model.graph.initializer if t.name.startswith("layer1")} >= {
        "layer1.0.weight",
        "layer1.7.weight",
    }


def test_parity_holds_with_heads(graph: Graph) -> None:
    from resnetc.backends.parity import check_parity, require_parity

    require_parity(check_parity(graph, some_weights(graph)))


def test_every_inference_graph_is_without_heads(graph: Graph) -> None:
    """What TensorRT and ONNX start from."""
    for fold in (True, False):
        for dtype in (DType.F32, DType.F16):
            lowered = lower_for_inference(graph, fold=fold, dtype=dtype).graph
            assert not lowered.aux
            assert not any("near" in path or "deep" in path for path in lowered.parameters)


# -------------------------------------------------------------------------------------------- cost


def test_cost_counts_the_weights_of_heads_and_the_work_of_inference(
    folder: Folder, graph: Graph
) -> None:
    before, _, rest = BODY.partition("  aux near: head(5)\n")
    plain = folder.body(before + rest.replace("aux deep: conv(1x1, 3) -> ", "    #"), HEAD)
    with_heads, without = cost(graph), cost(plain)
    near, deep = 6 * 5 + 5, 3 * 6 + 2 * 3 + 3 * 64 * 5 + 5
    assert with_heads.params - without.params == near + deep
    assert with_heads.buffers - without.buffers == 2 * 3 + 1
    for figure in ("macs", "flops", "activations", "peak_inference_bytes"):
        assert getattr(with_heads, figure) == getattr(without, figure), figure
    assert with_heads.peak_training_bytes > without.peak_training_bytes


def test_memory_of_training_is_that_of_a_network_with_all_outputs(graph: Graph) -> None:
    whole = Graph(graph.name, graph, graph.results, graph.scopes)
    assert training_bytes(graph) == training_bytes(whole)
    kept = [node for node in graph if node.id not in graph.training_only]
    without = inference_bytes(Graph(graph.name, kept, graph.outputs, graph.scopes))
    assert inference_bytes(graph) == without | dict.fromkeys(graph.training_only, 0)


def test_info_shows_heads_behind_the_stages(graph: Graph) -> None:
    rows = stages(graph)
    assert [(row.label, row.training) for row in rows] == [
        ("conv1", False),
        ("layer1", False),
        ("conv2", False),
        ("downsample", False),
        ("add", False),
        ("head", False),
        ("near", True),
        ("deep", True),
    ]
    total = cost(graph)
    for figure in ("params", "buffers", "macs", "flops", "activations"):
        assert sum(getattr(row.cost, figure) for row in rows) == getattr(total, figure), figure
    near, deep = rows[-2:]
    assert near.cost.params == 6 * 5 + 5
    assert near.cost.macs == 0
    assert near.layers == 1
    assert deep.output.shape == (5,)


def test_heads_that_share_a_part_are_told_apart(folder: Folder) -> None:
    graph = folder.body("conv1: conv(3x3)  aux a: conv(1x1, 3) as x -> gap  relu", HEAD)
    assert [row.label for row in stages(graph)] == ["conv1", "a"]


def test_the_info_verb_marks_heads(folder: Folder) -> None:
    file = folder.write(f"{HEAD}\nnetwork n {{ input 4x8x8 {BODY} }}")
    printed = CliRunner().invoke(info, [f"{file}:n"], catch_exceptions=False).stdout
    assert "near (training)" in printed
    assert "inference does not run it" in printed
    printed = CliRunner().invoke(info, [f"{file}:n", "--json"], catch_exceptions=False).stdout
    document = json.loads(printed)
    assert document["aux"] == {"near": [5], "deep": [5]}
    assert [row["label"] for row in document["stages"] if row.get("training")] == ["near", "deep"]


def test_a_tensorrt_engine_holds_nothing_of_the_heads(tmp_path: Path, graph: Graph) -> None:
    from resnetc.backends.tensorrt import TensorRtOptions, build_engine

    options = TensorRtOptions(batch=2, library="tensorrt_rtx", capabilities=("8.0",))
    report = build_engine(graph, tmp_path / "n.engine", some_weights(graph), options=options)
    (sidecar,) = tmp_path.glob("*.json")
    tensors = json.loads(sidecar.read_text())["tensors"]
    assert [t["name"] for t in tensors if t["mode"] == "output"] == ["logits"]
    engine = report.path.read_bytes()
    assert b"conv2" in engine  # layers are called like the nodes
    assert b"near" not in engine
    assert b"layer1.deep" not in engine


# ---------------------------------------------------------------------------------- random graphs


@settings(max_examples=25, deadline=None)
@given(random_graphs(), st.data())
def test_any_tensor_can_be_an_auxiliary_output(graph: Graph, data: st.DataObject) -> None:
    """Of random graphs, with dead ends, aliases and several outputs."""
    assume(not any(node.op.name in ("dropout", "drop_path") for node in graph))
    ids = st.sampled_from([node.id for node in graph])
    ends = data.draw(st.lists(ids, min_size=1, max_size=3))
    aux = {f"aux{i}": end for i, end in enumerate(ends)}
    helped = Graph(graph.name, graph, graph.outputs, graph.scopes, aux)
    verify(helped)
    module = build_module(helped)
    assert_same_training(helped, module, tolerance=1e-6)
    held, inputs = some_weights(helped), seeded_inputs(helped)
    expected = evaluate(graph, held, inputs)
    lowered = lower_for_inference(helped).graph
    assert lowered.hash == lower_for_inference(graph).graph.hash
    for name, array in evaluate(lowered, held, inputs).items():
        np.testing.assert_allclose(
            array, expected[name], atol=1e-5 * max(1, np.abs(expected[name]).max())
        )
