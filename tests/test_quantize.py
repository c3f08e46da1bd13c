"""Eight bits: where they are placed, what they mean, and what onnxruntime makes of them."""

from __future__ import annotations

import platform
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import evaluate, seeded_inputs
from small_graphs import cifar_resnet, imagenet_resnet, some_weights

import resnetc
from resnetc.backends.onnx import OnnxOptions, model_bytes
from resnetc.backends.torch.lowered import lowered_module
from resnetc.diagnostics import UsageError
from resnetc.ir import Graph
from resnetc.ir.parameters import Stored
from resnetc.ir.quantized import BiasScales, Dequantized, Levels, Scales
from resnetc.ops import Add, Conv2d, Linear, Quantize
from resnetc.passes import ENCODINGS, Plan, Range, find_encoding, lower_for_inference, place
from resnetc.shapes import DType

RESNETS = {"resnet18": (8, 21), "resnet50": (16, 54), "resnet110": (54, 112)}
"""Residual sums and quantizable layers. Of CIFAR's, two shortcuts are selections."""


def folded(graph: Graph) -> Graph:
    return lower_for_inference(graph).graph


def true_ranges(graph: Graph, weights: dict, inputs: dict) -> dict[str, Range]:
    """The range of every tensor, on one input, by the oracle."""
    lowered = folded(graph)
    every = Graph(lowered.name, lowered, {node.name: node.id for node in lowered})
    found = evaluate(every, weights, inputs)
    return {name: Range(float(array.min()), float(array.max())) for name, array in found.items()}


def small_resnet() -> Graph:
    return cifar_resnet(8)


def quantized(graph: Graph, encoding: str, **options: object) -> tuple[Graph, dict, dict, Plan]:
    weights, inputs = some_weights(graph), seeded_inputs(graph)
    layers = "fp8" if encoding == "fp8" else "int8"
    ranges = true_ranges(graph, weights, inputs)
    plan = Plan(layers, encoding=ENCODINGS[encoding], ranges=ranges, **options)  # type: ignore[arg-type]
    return lower_for_inference(graph, plan=plan).graph, weights, inputs, plan


# ------------------------------------------------------------------------------------ placement


@pytest.mark.parametrize("name", RESNETS)
def test_one_shortcut_of_every_sum_is_quantized_and_no_branch(name: str) -> None:
    sums, layers = RESNETS[name]
    graph = folded(resnetc.load(name).graph)
    placement = place(graph, ENCODINGS["tensorrt"])
    assert len(placement.layers) == layers
    adds = [node for node in graph if isinstance(node.op, Add)]
    assert len(adds) == sums
    for add in adds:
        (index,) = {index for node, index in placement.edges if node == add.id}
        branch = graph[add.inputs[1 - index]]
        assert isinstance(branch.op, Conv2d)
        assert branch.name.endswith("conv3" if name == "resnet50" else "conv2")
    readers = {graph[node].op.name for node, _ in placement.edges}
    assert readers == {"conv2d", "linear", "add"}


@pytest.mark.parametrize(
    ("name", "tensors"),
    # What convolutions read: the input, and every ReLU but the last; the pooled vector; and the
    # projections of shortcuts. A shortcut that is what the next convolution reads counts once.
    [("resnet18", 1 + 16 + 1 + 3), ("resnet50", 1 + 48 + 1 + 4), ("resnet110", 1 + 108 + 1 + 2)],
)
def test_each_tensor_is_quantized_once(name: str, tensors: int) -> None:
    graph = folded(resnetc.load(name).graph)
    placement = place(graph, ENCODINGS["tensorrt"])
    assert len(placement.tensors) == tensors
    ranges = dict.fromkeys(placement.observed, Range(-1, 1))
    plan = Plan("int8", encoding=ENCODINGS["tensorrt"], ranges=ranges)
    made = lower_for_inference(resnetc.load(name).graph, plan=plan).graph
    assert Counter(node.op.name for node in made)["quantize"] == tensors
    assert Counter(node.op.name for node in made)["dequantize"] == tensors


def test_onnxruntimes_kernels_are_closed() -> None:
    """Whatever an eight-bit op gives to another one is eight bits in between."""
    graph = folded(resnetc.load("resnet18").graph)
    edges = place(graph, ENCODINGS["ort"]).edges
    wide = [
        (node.name, operand)
        for node in graph
        for index, operand in enumerate(node.inputs)
        if (node.id, index) not in edges and not node.op.name.startswith("relu")
    ]
    assert wide == []


def test_a_pool_keeps_its_operands_scale() -> None:
    graph, *_ = quantized(imagenet_resnet((1, 1, 1, 1)), "ort")
    scales = {node.name: node.op.scale for node in graph if isinstance(node.op, Quantize)}
    assert scales["relu.quantized"] == scales["maxpool.quantized"]
    placement = place(folded(imagenet_resnet((1, 1, 1, 1))), ENCODINGS["ort"])
    assert not {"maxpool", "flatten"} & set(placement.observed)


def test_an_activation_goes_with_the_layer_that_is_kept_wide() -> None:
    made = lower_for_inference(small_resnet(), plan=Plan("fp16", keep=("conv1",))).graph
    types = {node.name: node.type.dtype for node in made}
    assert types["conv1"] is types["relu"] is DType.F32
    assert types["relu.to_float16"] is types["layer1.0.conv1"] is DType.F16
    assert types["layer1.0.relu"] is DType.F16


def test_kept_layers_stay_as_they_are() -> None:
    graph = small_resnet()
    block = next(node.name for node in graph if node.name.startswith("layer2")).split(".")[0]
    made, *_ = quantized(graph, "tensorrt", keep=(block, "fc"))
    for node in made:
        narrow = any(isinstance(p.value, Dequantized) for p in node.parameters)
        kept = node.name == "fc" or node.name.startswith(f"{block}.")
        assert narrow == (bool(node.parameters) and not kept), node.name


def test_a_label_that_is_not_there_is_refused_with_the_one_that_is_meant() -> None:
    graph = small_resnet()
    with pytest.raises(UsageError, match=r"no layer or block `layr1` .*did you mean layer1\?"):
        lower_for_inference(graph, plan=Plan("fp16", keep=("layr1",)))


def test_eight_bits_need_folding() -> None:
    plan = Plan("int8", encoding=ENCODINGS["ort"])
    with pytest.raises(UsageError, match="int8 layers need their batch norms folded"):
        lower_for_inference(small_resnet(), fold=False, plan=plan)


# -------------------------------------------------------------------------------------- meaning


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_the_file_computes_what_the_graph_means(encoding: str) -> None:
    """onnxruntime, with its own eight-bit kernels, against the graph read node by node."""
    graph = small_resnet()
    made, weights, inputs, plan = quantized(graph, encoding)
    exact = evaluate(made, weights, inputs)
    model = model_bytes(graph, weights, OnnxOptions(plan=plan))
    # onnxruntime's optimizer takes float8 for an integer: it drops ReLUs and is far off.
    found = _run(model, inputs, optimize=encoding != "fp8")
    wide = evaluate(graph, weights, inputs)
    for name, reference in exact.items():
        # One step of eight bits, of what the logits hold.
        step = np.abs(reference).max() / 127
        assert np.abs(found[name] - reference).max() < step
        off = np.abs(reference - wide[name]).max()
        assert 0 < off < 12 * step


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_torch_computes_what_the_graph_means(encoding: str) -> None:
    made, weights, inputs, _ = quantized(small_resnet(), encoding)
    (found,) = _torch(made, weights, inputs)
    (exact,) = evaluate(made, weights, inputs).values()
    step = np.abs(exact).max() / 127
    assert np.abs(found - exact).max() < step


@pytest.mark.parametrize("kept", ["fp16", "bf16"])
def test_eight_bits_within_half_precision(kept: str) -> None:
    graph = small_resnet()
    made, weights, inputs, plan = quantized(graph, "tensorrt", kept=kept, inputs=kept)
    (found,) = _torch(made, weights, inputs)
    (exact,) = evaluate(made, weights, inputs).values()
    assert np.abs(found - exact).max() < np.abs(exact).max() * (0.02 if kept == "fp16" else 0.1)
    model = onnx.load_from_string(model_bytes(graph, weights, OnnxOptions(plan=plan)))
    onnx.checker.check_model(model, full_check=True)
    held = {i.data_type for i in model.graph.initializer}
    assert onnx.TensorProto.INT8 in held
    assert onnx.TensorProto.FLOAT not in held or kept == "bf16"


def _torch(made: Graph, weights: dict, inputs: dict) -> list[np.ndarray]:
    module = lowered_module(made, weights)
    kind = {n.type.dtype.value for n in made.inputs}.pop()
    arguments = [torch.from_numpy(each).to(getattr(torch, kind)) for each in inputs.values()]
    with torch.inference_mode():
        return [module(*arguments).float().numpy()]


def _run(model: bytes, inputs: dict, *, optimize: bool = True) -> dict[str, np.ndarray]:
    options = ort.SessionOptions()
    if not optimize:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs), strict=True))


def test_no_layer_is_left_in_float() -> None:
    """Whether onnxruntime takes every layer and every sum into its eight-bit kernels, and
    dequantizes no weight while it runs."""
    graph = small_resnet()
    _, weights, _, plan = quantized(graph, "ort")
    kinds = _optimized(model_bytes(graph, weights, OnnxOptions(plan=plan)))
    assert kinds["QLinearConv"] == sum(isinstance(n.op, Conv2d) for n in folded(graph))
    assert kinds["QLinearAdd"] == sum(isinstance(n.op, Add) for n in folded(graph))
    assert kinds["QGemm"] == sum(isinstance(n.op, Linear) for n in folded(graph)) > 0
    assert not kinds.keys() & {"Conv", "FusedConv", "Add", "Relu", "Gemm", "DequantizeLinear"}


def _optimized(model: bytes) -> Counter[str]:
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        options = ort.SessionOptions()
        options.optimized_model_filepath = str(Path(folder) / "optimized.onnx")
        options.log_severity_level = 3
        ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        written = onnx.load(options.optimized_model_filepath)
    return Counter(node.op_type for node in written.graph.node)


# ----------------------------------------------------------------------------- scales and levels


@pytest.mark.parametrize(
    ("architecture", "flags", "bits"),
    [
        ("x86_64", "flags\t\t: fpu avx2", 7),
        ("AMD64", "", 7),
        ("x86_64", "flags : avx2 avx512f avx512_vnni", 8),
        ("x86_64", "flags : avx2 avx_vnni", 8),
        ("aarch64", "Features : asimd", 8),
    ],
)
def test_weights_have_the_bits_that_suit_the_processor(
    architecture: str, flags: str, bits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: architecture)
    monkeypatch.setattr(Path, "read_text", lambda path: f"{flags}\n\nprocessor : 1")
    assert find_encoding("int8", "ort").weight_bits == bits
    assert find_encoding("int8", "ort", 15 - bits).weight_bits == 15 - bits
    for target, layers in (("tensorrt", "int8"), ("ort", "fp8")):
        assert find_encoding(layers, target).weight_bits == 8


def test_sums_of_two_products_fit_16_bits_with_seven() -> None:
    """What processors without VNNI add up before they widen."""
    for bits, fits in ((7, True), (8, False)):
        assert (2 * 255 * find_encoding("int8", "ort", bits).weight_levels < 2**15) == fits
    graph = small_resnet()
    weights = some_weights(graph)
    ranges = true_ranges(graph, weights, seeded_inputs(graph))
    plan = Plan("int8", encoding=find_encoding("int8", "ort", 7), ranges=ranges)
    lowered = lower_for_inference(graph, plan=plan).graph
    values = [parameter.value for parameter in lowered.parameters.values()]
    stored = [v.levels.evaluate(weights) for v in values if isinstance(v, Dequantized)]
    narrow = [levels for levels in stored if levels.dtype == np.int8]
    assert len(narrow) == 10
    assert {int(np.abs(levels).max()) for levels in narrow} == {64}
    assert "with weights of seven bits" in plan.summary(lowered)
    assert plan.report(lowered)["encoding"]["weight_bits"] == 7


@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6), st.sampled_from(sorted(ENCODINGS)))
@settings(max_examples=200)
def test_a_scale_covers_its_range_and_zero_is_exact(a: float, b: float, name: str) -> None:
    encoding = ENCODINGS[name]
    low, high = sorted((a, b))
    scale, zero = encoding.scale(Range(low, high))
    assert scale == np.float32(scale) > 0
    least, most = {DType.I8: (-128, 127), DType.U8: (0, 255), DType.F8: (-448, 448)}[
        encoding.activations
    ]
    assert least <= zero <= most
    slack = 0.51 * scale * (1 if name == "ort" else 0.01)
    assert (most - zero) * scale >= high - slack - abs(high) * 1e-6
    assert (least - zero) * scale <= low + slack + abs(low) * 1e-6


def test_weights_are_quantized_by_output_channel() -> None:
    weights = {"w": np.array([[1.0, -2.0], [0.004, 0.002], [0.0, 0.0]], np.float32)}
    scales = Scales(Stored("w"), 127, DType.F32)
    levels = Levels(Stored("w"), scales, DType.I8)
    np.testing.assert_allclose(scales.evaluate(weights), [2 / 127, 0.004 / 127, 1], rtol=1e-6)
    np.testing.assert_array_equal(levels.evaluate(weights), [[64, -127], [127, 64], [0, 0]])
    back = Dequantized(levels).evaluate(weights)
    assert np.abs(back - weights["w"]).max() <= 1 / 127


def test_a_bias_that_an_int32_could_not_hold_widens_its_channels_scale() -> None:
    weights = {"w": np.array([[1e-9], [1.0]], np.float32), "b": np.array([7.0, 7.0], np.float32)}
    scales = Scales(Stored("w"), 127, DType.F32, Stored("b"), step=0.01)
    bias = Dequantized(Levels(Stored("b"), BiasScales(scales), DType.I32))
    np.testing.assert_allclose(bias.evaluate(weights), [7, 7], rtol=1e-4)
    levels = bias.levels.evaluate(weights)
    assert levels.dtype == np.int32
    assert 2**29 < levels[0] <= 2**30
