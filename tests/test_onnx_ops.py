"""Every op in ONNX: onnxruntime against the slow float64 oracle."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from op_cases import CASES
from oracle import evaluate, seeded_inputs
from small_graphs import Builder, random_graphs, some_weights

from resnetc.backends.base import complete_table
from resnetc.backends.onnx import OnnxOptions, model_bytes
from resnetc.backends.onnx.emit import EMITTERS, REFUSED, emit
from resnetc.backends.onnx.options import NEWEST_OPSET
from resnetc.diagnostics import InternalError
from resnetc.ir import Graph
from resnetc.ops import (
    OPS,
    Affine,
    Concat,
    Conv2d,
    Dropout,
    DropPath,
    GroupNorm,
    Identity,
    LayerNorm,
    Op,
    Relu,
    Sigmoid,
    SliceChannels,
)
from resnetc.passes import lower_for_inference, sensitive
from resnetc.shapes import DType


def session(data: bytes) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def run(data: bytes, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    opened = session(data)
    names = [output.name for output in opened.get_outputs()]
    return dict(zip(names, opened.run(names, inputs), strict=True))


def assert_agrees(graph: Graph, options: OnnxOptions, tolerance: float = 2e-5) -> None:
    weights, inputs = some_weights(graph), seeded_inputs(graph)
    expected = evaluate(graph, weights, inputs)
    found = run(model_bytes(graph, weights, options), inputs)
    assert list(found) == list(graph.outputs)
    for name, array in expected.items():
        scale = max(1.0, float(np.abs(array).max()))
        np.testing.assert_allclose(found[name], array, rtol=0, atol=tolerance * scale)
        assert found[name].dtype == np.float32


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("fold", [True, False])
def test_op(case: str, fold: bool) -> None:
    assert_agrees(CASES[case](), OnnxOptions(fold=fold))


@pytest.mark.parametrize("case", CASES)
def test_op_in_half_precision(case: str) -> None:
    assert_agrees(CASES[case](), OnnxOptions(precision="fp16"), tolerance=4e-3)


@pytest.mark.parametrize("case", CASES)
def test_op_in_bf16_passes_the_full_check(case: str) -> None:
    graph = CASES[case]()
    model = onnx.load_from_string(
        model_bytes(graph, some_weights(graph), OnnxOptions(precision="bf16"))
    )
    onnx.checker.check_model(model, full_check=True)
    # Factors of a resize are float in every precision.
    numbers = [i for i in model.graph.initializer if not i.name.endswith(".scales")]
    wide = sensitive(lower_for_inference(graph).graph, DType.BF16)
    for each in numbers:
        owner = each.name.rpartition(".")[0]
        expected = onnx.TensorProto.FLOAT if owner in wide else onnx.TensorProto.BFLOAT16
        assert each.data_type in (expected, onnx.TensorProto.INT64)


NEW_FORMS = (13, 17, 20, 21, NEWEST_OPSET)
"""Opsets from which on some op is written otherwise, and the ends of the range."""


@pytest.mark.parametrize("opset", NEW_FORMS)
@pytest.mark.parametrize(
    "case", ["gelu", "hardswish", "layernorm", "layernorm of a map", "groupnorm", "silu"]
)
def test_op_in_every_form_it_has(case: str, opset: int) -> None:
    assert_agrees(CASES[case](), OnnxOptions(opset=opset))


@pytest.mark.parametrize("opset", [13, 18, NEWEST_OPSET])
@pytest.mark.parametrize("op", [LayerNorm, GroupNorm])
def test_statistics_of_large_numbers_keep_within_half_precision(op: type[Op], opset: int) -> None:
    """The squares of these numbers are beyond float16."""
    b = Builder()
    x = b.add(Affine, "large", b.input(4, 7, 6), scale=[3000])
    graph = b.graph(out=b.add(op, "norm", x, **({"groups": 2} if op is GroupNorm else {})))
    assert_agrees(graph, OnnxOptions(precision="fp16", opset=opset), tolerance=4e-3)


def sliced(*bounds: tuple[int, int]) -> Callable[[], Graph]:
    """Slices of one map of 4 channels, each an output, and one joined again."""

    def build() -> Graph:
        b = Builder()
        x = b.add(Relu, "relu", b.input(4, 3, 2))
        parts = {
            f"part{i}": b.add(SliceChannels, f"s{i}", x, start=start, stop=stop)
            for i, (start, stop) in enumerate(bounds)
        }
        return b.graph(**parts, joined=b.add(Concat, "concat", *parts.values()))

    return build


@pytest.mark.parametrize(
    ("bounds", "form"),
    [
        ([(0, 1), (1, 4)], ["Split"]),
        ([(2, 4), (0, 1), (1, 2)], ["Split"]),
        ([(0, 2), (2, 3)], ["Slice", "Slice"]),
        ([(0, 3), (1, 4)], ["Slice", "Slice"]),
        ([(0, 2), (0, 2), (2, 4)], ["Slice", "Slice", "Slice"]),
        ([(1, 4)], ["Slice"]),
    ],
)
def test_slices_that_make_up_the_whole_are_a_split(
    bounds: list[tuple[int, int]], form: list[str]
) -> None:
    graph = sliced(*bounds)()
    assert [kind for kind in kinds(graph) if kind.startswith("S")] == form
    assert_agrees(graph, OnnxOptions())
    assert_agrees(graph, OnnxOptions(precision="fp16", opset=13), tolerance=4e-3)


def test_every_op_has_a_case() -> None:
    tested = {node.op.name for build in CASES.values() for node in build()}
    # Reached in half precision, by folding and in eight bits (test_quantize.py).
    made_by_passes = {"cast", "channel_affine", "quantize", "dequantize"}
    assert tested | made_by_passes == set(OPS)


@pytest.mark.parametrize("op", list(OPS.values()))
def test_every_op_is_emitted_or_refused_with_a_reason(op: type[Op]) -> None:
    assert (op in EMITTERS) != (op in REFUSED)
    assert op in EMITTERS or len(REFUSED[op].split()) > 3


def test_a_missing_emitter_is_named() -> None:
    table = {op: emitter for op, emitter in EMITTERS.items() if op is not Relu}
    with pytest.raises(InternalError, match=r"the onnx backend has no emitter for relu$"):
        complete_table("onnx", table, REFUSED)


@pytest.mark.parametrize("op", [Identity, Dropout, DropPath])
def test_a_refused_op_is_named_with_its_reason(op: type[Op]) -> None:
    b = Builder()
    graph = b.graph(
        out=b.add(op, "here", b.input(2, 4, 4), **({"p": 0.5} if op is DropPath else {}))
    )
    with pytest.raises(InternalError, match="here: the pass for_inference leaves none"):
        emit(graph, None)


# ------------------------------------------------------------------------------- shapes of files


def kinds(graph: Graph, **options: object) -> list[str]:
    model = onnx.load_from_string(
        model_bytes(graph, some_weights(graph), OnnxOptions(**options))  # type: ignore[arg-type]
    )
    return [node.op_type for node in model.graph.node]


def test_node_forms() -> None:
    assert kinds(CASES["option A"]()) == ["Conv"]
    assert kinds(CASES["subsample"]()) == ["MaxPool"]
    assert kinds(CASES["batchnorm"]()) == ["Conv"]
    assert kinds(CASES["batchnorm"](), fold=False) == ["BatchNormalization"]
    assert kinds(CASES["add of four"]()) == ["Relu", "Relu", "Relu", "Add", "Add", "Add"]
    assert kinds(CASES["avgpool"]()) == ["AveragePool"]
    assert kinds(CASES["avgpool ceil, unpadded"]()) == ["AveragePool"]
    assert kinds(CASES["avgpool ceil"]()) == ["Pad", "AveragePool"]
    assert kinds(CASES["ws_conv2d, everything"]()) == ["Conv"]
    assert kinds(CASES["batchnorm behind conv_transpose2d"]()) == ["ConvTranspose"]
    assert kinds(CASES["linear on a map, then batchnorm"]()) == ["Conv"]
    assert kinds(CASES["layernorm"]()) == ["Flatten", "LayerNormalization"]
    assert kinds(CASES["layernorm of a map"]()) == ["Transpose", "LayerNormalization", "Transpose"]
    assert kinds(CASES["groupnorm"](), opset=21) == ["GroupNormalization"]
    assert kinds(CASES["gelu"](), opset=20) == ["Gelu"]
    assert kinds(CASES["adaptive_avgpool of equal windows"]()) == ["AveragePool"]
    assert kinds(CASES["adaptive_avgpool to one"]()) == ["GlobalAveragePool"]
    assert kinds(CASES["adaptive_avgpool"]()) == ["MatMul", "MatMul"]
    assert kinds(CASES["upsample to a size"]()) == ["Gather", "Gather"]
    assert kinds(CASES["upsample to a multiple"]()) == ["Resize"]
    assert kinds(CASES["affine, one number"]()) == ["Mul", "Add"]
    assert kinds(CASES["relu"](), precision="fp16") == ["Cast", "Relu", "Cast"]


def test_outputs_that_share_a_value_or_are_an_input() -> None:
    b = Builder()
    x = b.input(2, 4, 4)
    relu = b.add(Relu, "relu", x)
    graph = b.graph(first=relu, second=relu, same=x)
    assert_agrees(graph, OnnxOptions())
    assert kinds(graph) == ["Relu", "Identity", "Identity"]


def test_names_that_meet_an_output_or_a_parameter_are_kept_apart() -> None:
    b = Builder()
    conv = b.add(Conv2d, "conv", b.input(2, 4, 4), kernel=(1, 1))
    y = b.add(Relu, "out", b.add(Relu, "conv.weight", conv))
    assert_agrees(b.graph(out=b.add(Sigmoid, "last", y)), OnnxOptions())


# ------------------------------------------------------------------------------- any small graph


@settings(max_examples=80, deadline=None)
@given(random_graphs())
def test_onnxruntime_agrees_on_any_graph(graph: Graph) -> None:
    assert_agrees(graph, OnnxOptions(), tolerance=1e-4)


@settings(max_examples=40, deadline=None)
@given(random_graphs())
def test_unfolded_files_agree_too(graph: Graph) -> None:
    assert_agrees(graph, OnnxOptions(fold=False, batch=2), tolerance=1e-4)
