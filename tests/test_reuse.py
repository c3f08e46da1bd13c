"""Layers and blocks that are placed again with the same parameters, on every backend."""

from __future__ import annotations

import io
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import evaluate, seeded_inputs
from small_graphs import some_weights
from spec_files import Folder, folder, weights
from torch import Tensor, nn
from torch_reference import assert_close, assert_same_training, random_state

from resnetc.analysis import cost, stages
from resnetc.backends.onnx import OnnxOptions, model_bytes
from resnetc.backends.parity import check_parity, require_parity
from resnetc.backends.torch import build_module, emit_source
from resnetc.diagnostics import InternalError
from resnetc.ir import Graph
from resnetc.ir.verify import verify
from resnetc.passes import lower_for_inference
from resnetc.shapes import DType

__all__ = ["folder"]

UNIT = "block unit(w: int) { conv1: conv(3x3, w) -> bn1: norm -> act }"
CASES = {
    "a layer": "conv1: conv(3x3, 4) -> act -> reuse conv1",
    "a norm": "conv1: conv(3x3, 6) -> bn1: norm -> conv2: conv(3x3, 6) -> reuse bn1",
    "a layer before two norms": "c: conv(3x3, 4) -> n: norm -> act -> reuse c -> m: norm",
    "a layer and its norm": "c: conv(3x3, 4) -> n: norm -> act -> reuse c -> reuse n",
    "a norm behind other things": "n: norm -> c: conv(3x3, 4) -> act -> reuse n -> gap",
    "a block": "u: unit(4) -> reuse u -> c: conv(1x1, 2)",
    "a block at two scales": "u: unit(4) -> maxpool(2x2, stride=2) -> reuse u",
    "three times": "u: unit(4) -> reuse u * 2",
    "a sequence": "s: seq { conv(3x3, 4) -> norm -> act } -> reuse s",
    "repeats": "s: unit(4) * 2 -> reuse s",
    "in branches": "c: conv(1x1) -> concat { | a: conv(3x3, 5)  | reuse a -> act }",
    "a residual": "r: residual(shortcut=B) { c: conv(3x3) -> n: norm } -> reuse r",
    "a merge": "m: concat { | a: conv(3x3, 2)  | b: conv(1x1, 2) } -> act -> reuse m",
    "inside a sequence": "s: seq { a: conv(3x3, 4) -> act -> reuse a -> conv(3x3, 3) }",
    "inside a block": "t: twice(4) -> reuse t",
    "in blocks of one kind": "t: twice(4) -> v: twice(4)",
    "a copy of a copy": "g: group { u: unit(4) -> reuse u } -> reuse g",
    "over pyramid levels": (
        "from input as ys[]  maxpool(2x2, stride=2) as ys[] "
        "from ys[0] -> h: unit(3) -> gap as zs[] "
        "from ys[1] -> reuse h -> gap as zs[]  from zs -> concat"
    ),
    "in a head": "c: conv(3x3, 4) -> act  aux a: group { h: unit(4) -> reuse h }  d: conv(3x3)",
    "shared with a head": "u: unit(4) as x  aux a: conv(1x1, 4)  reuse u -> gap",
    "only the second is needed": "input_: identity  c: conv(3x3, 4)  from input -> reuse c",
    "read inside": "g: group { a: conv(3x3, 4) as t -> act  add { | c: conv(1x1) | identity } } "
    "-> reuse g",
    "two ends, of which the first call needs one": (
        "g: group { tuple { | a: conv(3x3, 4)  | b: conv(1x1, 4) } } as l, r "
        "from l -> reuse g as m, n  from m, n -> add"
    ),
    "a head in it that reads from outside": (
        "x: conv(3x3, 4) as t -> act "
        "u: group { c: conv(3x3, 4)  aux h: concat { | act  | from t } } reuse u"
    ),
    "one end read from outside": "from input -> g: group { a: conv(3x3, 4) -> act } as t "
    "-> reuse g -> add { | identity | from t }",
}
BLOCKS = f"{UNIT}\nblock twice(w: int) {{ u: unit(w)  reuse u  c: conv(1x1, w) }}"


@pytest.fixture(params=CASES)
def graph(request: pytest.FixtureRequest, folder: Folder) -> Graph:
    return folder.body(CASES[request.param], BLOCKS)


# ---------------------------------------------------------------------------------- language, IR


def test_parameters_are_there_once(folder: Folder) -> None:
    once = folder.body("u: unit(4) -> c: conv(1x1, 2)", UNIT)
    again = folder.body("u: unit(4) -> reuse u * 3 -> c: conv(1x1, 2)", UNIT)
    assert list(again.parameters) == list(once.parameters)
    assert cost(again).params == cost(once).params
    assert cost(again).buffers == cost(once).buffers
    assert cost(again).macs == cost(once).macs + 3 * 64 * 4 * 4 * 9
    assert sum(row.cost.params for row in stages(again)) == cost(again).params
    shared = {path for path, parameter in again.parameters.items() if parameter.shared}
    assert shared == {path for path in again.parameters if path.startswith("u.")}
    assert again.hash != once.hash


def test_reuse_takes_no_index_and_no_name(folder: Folder) -> None:
    graph = folder.body("s: seq { a: conv(3x3, 4) -> act -> reuse a -> conv(3x3, 3) }")
    assert weights(graph) == ["s.a.weight", "s.1.weight"]


def test_a_label_can_be_computed(folder: Folder) -> None:
    graph = folder.body('for i in 0..2 { "c{i}": conv(3x3) } for i in 0..2 { reuse "c{1 - i}" }')
    assert weights(graph) == ["c0.weight", "c1.weight"]
    convs = [node.parameters[0].path for node in graph if node.parameters]
    assert convs == ["c0.weight", "c1.weight", "c1.weight", "c0.weight"]


def test_arguments_are_those_of_the_first_placement(folder: Folder) -> None:
    """Another ambient, and a shortcut that would project elsewhere, change nothing."""
    graph = folder.body(
        "r: residual { c: conv(3x3, 4) -> norm } set act = sigmoid, norm = none  reuse r"
    )
    kinds = [node.op.name for node in graph]
    assert kinds[1:5] == kinds[5:] == ["conv2d", "batchnorm", "add", "relu"]


def test_zero_times_is_nothing(folder: Folder) -> None:
    assert len(folder.body("c: conv(3x3) -> reuse c * 0")) == 2


def test_a_layer_of_a_branch_or_loop_can_be_reused_behind_it(folder: Folder) -> None:
    graph = folder.body(
        "add { | a: conv(3x3) | identity }  if true { b: conv(3x3) } reuse a reuse b"
    )
    assert weights(graph) == ["a.weight", "b.weight"]


def test_what_hangs_on_a_mistake_is_not_reported(folder: Folder) -> None:
    body = "conv1: conv(9x9, pad=0) -> c: conv(3x3)"
    for label in ("conv1", "c"):
        text = f"network n {{ input 4x8x8  {body}  from input -> reuse {label} }}"
        assert folder.codes(text) == ["E0406"], label
    text = "network n { input 4x8x8  if 1 { a: conv(3x3) }  from input -> reuse a }"
    assert folder.codes(text) == ["E0301"]


def test_the_nodes_of_copies_count(folder: Folder) -> None:
    def codes(reuse: str) -> list[str]:
        return folder.codes(f"network n {{ input 4x8x8  c: conv(1x1) -> {reuse} }}")

    spent = (["E0601"], ["E0603"])  # whichever budget is the first to be: of nodes or of steps
    assert codes("reuse c * 99_999") in spent
    assert codes("reuse c * (10 ** 9)") == ["E0601"]
    assert codes("reuse c * (0 - 1)") == ["E0310"]
    nested = "g1: group { reuse_me: conv(1x1)  reuse reuse_me }"
    for i in range(2, 21):
        nested = f"g{i}: group {{ {nested}  reuse g{i - 1} }}"
    assert folder.codes(f"network n {{ input 4x8x8  {nested} }}") in spent


def test_the_verifier_allows_sharing_only_where_it_is_declared(folder: Folder) -> None:
    graph = folder.body("c: conv(3x3, 4) -> act -> reuse c")
    verify(graph)

    def changed(**what: object) -> Graph:
        nodes = [
            replace(n, parameters=tuple(replace(p, **what) for p in n.parameters)) if last else n
            for n in graph
            for last in (n.name == "c_1",)
        ]
        return Graph(graph.name, nodes, graph.outputs, graph.scopes)

    other = graph.parameters["c.weight"].value.__class__("d.weight")
    for what in ({"shared": False}, {"value": other}):
        with pytest.raises(InternalError, match=r"c_1 and c own c\.weight"):
            verify(changed(**what))


# ------------------------------------------------------------------------------------------ torch


def test_torch_computes_what_the_graph_says(graph: Graph) -> None:
    """Outputs, gradients of shared weights and statistics of shared norms."""
    module = build_module(graph)
    assert list(module.state_dict()) == list(graph.parameters)
    assert_same_training(graph, module)


class Shared(nn.Module):
    """`a block at two scales`, by hand: one submodule that is called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.u = nn.Module()
        self.u.conv1 = nn.Conv2d(4, 4, 3, padding=1, bias=False)
        self.u.bn1 = nn.BatchNorm2d(4)

    def unit(self, x: Tensor) -> Tensor:
        return F.relu(self.u.bn1(self.u.conv1(x)))

    def forward(self, x: Tensor) -> Tensor:
        return self.unit(F.max_pool2d(self.unit(x), 2, 2))


def test_it_is_a_module_that_is_called_twice(folder: Folder) -> None:
    graph = folder.body("u: unit(4) -> maxpool(2x2, stride=2, pad=0) -> reuse u", UNIT)
    ours, theirs = build_module(graph).double(), Shared().double()
    theirs.load_state_dict(random_state(graph))
    ours.load_state_dict(theirs.state_dict(), strict=True)
    torch.manual_seed(0)
    x = torch.randn(3, 4, 8, 8).double()
    for training in (False, True):
        found, expected = ours.train(training)(x), theirs.train(training)(x)
        assert_close(found, expected)
        factor = torch.linspace(-1, 2, found.numel()).double().reshape(found.shape)
        (found * factor).sum().backward()
        (expected * factor).sum().backward()
        for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
            assert_close(a.grad, b.grad)
            a.grad = b.grad = None
        for a, b in zip(ours.buffers(), theirs.buffers(), strict=True):
            assert_close(a.double(), b.double())
    # A norm that is called twice has counted two batches.
    assert ours.u.bn1.num_batches_tracked == random_state(graph)["u.bn1.num_batches_tracked"] + 2


def test_the_source_calls_a_module_twice(folder: Folder) -> None:
    source = emit_source(folder.body("u: unit(4) -> maxpool(2x2) -> reuse u", UNIT))
    assert source.count("self.u(") == 2
    assert source.count("self.u = ") == 1
    assert source.count("class ") == 2
    assert "The block `unit`." in source  # one of it, however often it is called


@pytest.mark.parametrize(
    "before",
    [
        "u: group { a: conv(3x3, 4)  act }",
        "u: group { a: conv(3x3, 4)  aux h: gap  act }",
    ],
)
def test_calls_that_differ_are_computed_by_the_caller(folder: Folder, before: str) -> None:
    """An auxiliary output leaves the first call and not the second: no module has both ends."""
    graph = folder.body(f"{before} as t -> reuse u -> c: conv(1x1)")
    module = build_module(graph)
    assert_same_training(graph, module)
    assert (type(module.u) is nn.Module) == ("aux" in before)


def test_new_weights_do_not_depend_on_reuse(folder: Folder) -> None:
    once = folder.body("u: unit(4) -> c: conv(1x1, 2)", UNIT)
    again = folder.body("u: unit(4) -> reuse u -> c: conv(1x1, 2)", UNIT)
    a, b = (build_module(graph, seed=3).state_dict() for graph in (once, again))
    assert all(torch.equal(a[name], b[name]) for name in a)


# ------------------------------------------------------------------------- passes, ONNX, TensorRT


@pytest.mark.parametrize("fold", [True, False])
def test_inference_keeps_the_meaning(graph: Graph, fold: bool) -> None:
    held, inputs = some_weights(graph), seeded_inputs(graph)
    expected = evaluate(graph, held, inputs)
    lowered = lower_for_inference(graph, fold=fold).graph
    for name, array in evaluate(lowered, held, inputs).items():
        scale = np.abs(expected[name]).max()
        np.testing.assert_allclose(array, expected[name], atol=1e-6 * scale)


def _left(graph: Graph) -> list[str]:
    lowered = lower_for_inference(graph).graph
    return [node.op.name for node in lowered if node.op.name in ("conv2d", "channel_affine")]


def test_norms_are_folded_where_all_uses_agree(folder: Folder) -> None:
    def left(statements: str) -> list[str]:
        return _left(folder.body(statements))

    assert left("c: conv(3x3, 4) -> n: norm -> reuse c -> reuse n") == ["conv2d"] * 2
    # One weight cannot hold two norms, nor one norm in one place and none in the other.
    both = ["conv2d", "channel_affine"]
    assert left("c: conv(3x3, 4) -> n: norm -> reuse c -> m: norm") == both * 2
    assert left("c: conv(3x3, 4) -> n: norm -> reuse c -> act") == [*both, "conv2d"]
    # One norm behind two weights goes into both.
    assert left("c: conv(3x3, 4) -> n: norm -> d: conv(3x3, 4) -> reuse n") == ["conv2d"] * 2


def test_an_onnx_file_has_each_weight_once(graph: Graph) -> None:
    held, inputs = some_weights(graph), seeded_inputs(graph)
    expected = evaluate(graph, held, inputs)
    for options in (OnnxOptions(), OnnxOptions(fold=False), OnnxOptions(precision="fp16")):
        data = model_bytes(graph, held, options)
        model = onnx.load(io.BytesIO(data))
        onnx.checker.check_model(model)
        names = [tensor.name for tensor in model.graph.initializer]
        assert len(names) == len(set(names))
        session = ort.InferenceSession(data, providers=["CPUExecutionProvider"])
        (found,) = session.run(None, inputs)
        (exact,) = expected.values()
        tolerance = 2e-5 if options.precision == "fp32" else 1e-2
        np.testing.assert_allclose(found, exact, atol=tolerance * np.abs(exact).max())


def test_a_shared_weight_is_one_initializer(folder: Folder) -> None:
    graph = folder.body("u: unit(4) -> maxpool(2x2, stride=2) -> reuse u", UNIT)
    model = onnx.load(io.BytesIO(model_bytes(graph, some_weights(graph))))
    assert [tensor.name for tensor in model.graph.initializer] == ["u.conv1.weight", "u.conv1.bias"]
    convs = [node for node in model.graph.node if node.op_type == "Conv"]
    assert len(convs) == 2
    assert list(convs[0].input[1:]) == list(convs[1].input[1:])


def test_parity(folder: Folder) -> None:
    graph = folder.body(CASES["a block at two scales"], BLOCKS)
    require_parity(check_parity(graph, some_weights(graph)))


@pytest.mark.parametrize("dtype", [DType.F32, DType.F16])
def test_passes_keep_what_is_shared(folder: Folder, dtype: DType) -> None:
    graph = folder.body("u: unit(4) -> act -> reuse u", UNIT)
    lowered = lower_for_inference(graph, dtype=dtype).graph
    assert all(parameter.shared for parameter in lowered.parameters.values())
    assert len(lowered.parameters) == 2


def test_a_tensorrt_engine_has_each_weight_once(tmp_path: Path, folder: Folder) -> None:
    from resnetc.backends.tensorrt import TensorRtOptions, build_engine

    def size(statements: str) -> int:
        graph = folder.body(statements)
        options = TensorRtOptions(batch=2, library="tensorrt_rtx", capabilities=("8.0",))
        return build_engine(
            graph, tmp_path / "n.engine", some_weights(graph), options=options
        ).bytes

    wide = "a: conv(1x1, 512) -> "
    shared = size(f"{wide} b: conv(1x1, 512) -> act -> reuse b -> act -> reuse b")
    apart = size(
        f"{wide} b: conv(1x1, 512) -> act -> c: conv(1x1, 512) -> act -> d: conv(1x1, 512)"
    )
    assert apart - shared >= 2 * 4 * 512 * 512


# --------------------------------------------------------------------------------- random programs

UNITS = {
    "a": "conv(3x3, 4)",
    "b": "unit(4)",
    "c": "residual(shortcut=B) { conv1: conv(1x1, 4) -> bn1: norm }",
    "d": "seq { conv(1x1, 4) -> norm -> act }",
    "e": "norm",
    "f": "conv(1x1, 4) * 2",
    "g": "twice(4)",
    "h": "mul { | identity  | sigmoid }",
}


@st.composite
def _chains(draw: st.DrawFn, depth: int = 2) -> str:
    """Steps that keep the shape; a label is placed the first time and reused from then on."""
    placed: set[str] = set()
    steps = []
    for label in draw(st.lists(st.sampled_from([*UNITS, "s"]), min_size=1, max_size=5)):
        if label in placed:
            steps.append(f"reuse {label}{draw(st.sampled_from(['', ' * 2']))}")
        elif label != "s":
            steps.append(f"{label}: {UNITS[label]}")
        elif depth:
            steps.append(f"s: group {{ {draw(_chains(depth=depth - 1))} }}")
        else:
            steps.append("act")
            continue
        placed.add(label)
    return " -> ".join(steps)


@settings(max_examples=25, deadline=None)
@given(_chains())
def test_random_programs(chain: str) -> None:
    with tempfile.TemporaryDirectory() as path:
        graph = Folder(Path(path)).body(chain, BLOCKS)
    paths = [path for node in graph for path in {p.path for p in node.parameters}]
    assert len(graph.parameters) == len(set(paths))
    assert_same_training(graph, build_module(graph), tolerance=1e-6)
    held, inputs = some_weights(graph), seeded_inputs(graph)
    (expected,) = evaluate(graph, held, inputs).values()
    (found,) = evaluate(lower_for_inference(graph).graph, held, inputs).values()
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())
