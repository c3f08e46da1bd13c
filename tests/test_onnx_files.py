"""The ONNX file as a whole: bytes, names, batch, opset, metadata, and how it reaches the disk."""

from __future__ import annotations

import hashlib
import time
import tracemalloc
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
import torchvision
from onnx_models import net, outputs, weights
from oracle import evaluate, seeded_inputs
from small_graphs import Builder, cifar_resnet, imagenet_resnet, some_weights

from resnetc.backends import hashed
from resnetc.backends import weights as weights_module
from resnetc.backends.onnx import OnnxOptions, emit, model_bytes, stream, wire, write_onnx
from resnetc.backends.onnx.emission import Emission
from resnetc.backends.onnx.model import build_skeleton
from resnetc.backends.onnx.options import NEWEST_OPSET, OLDEST_OPSET
from resnetc.backends.onnx.stream import StreamedModel
from resnetc.backends.random_weights import random_weights
from resnetc.backends.weights import as_arrays, weights_hash
from resnetc.diagnostics import InternalError, UsageError
from resnetc.ir import Graph, Node
from resnetc.ops import Conv2d, GlobalAvgPool, Relu

__all__ = ["net", "weights"]

# ------------------------------------------------------------------------------------ the bytes


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
@pytest.mark.parametrize("fold", [True, False])
def test_streamed_bytes_equal_what_protobuf_writes(
    net: Graph, weights: dict[str, np.ndarray], precision: str, fold: bool
) -> None:
    options = OnnxOptions(precision=precision, fold=fold)  # type: ignore[arg-type]
    skeleton = build_skeleton(net, options)
    built = onnx.ModelProto()
    built.CopyFrom(skeleton.model)
    constants = list(built.graph.initializer)
    del built.graph.initializer[:]
    for each in (one for stretch in skeleton.initializers for one in stretch.initializers):
        array = each.parameter.array(weights).reshape(each.dims)
        built.graph.initializer.append(onnx.numpy_helper.from_array(array, each.parameter.path))
    built.graph.initializer.extend(constants)
    built.metadata_props.add(key="resnetc.graph_hash", value=net.hash)
    streamed = model_bytes(net, weights, options)
    assert onnx.load_from_string(streamed) == built
    assert streamed == built.SerializeToString(deterministic=True)
    hashed_behind = len(wire.metadata_bytes({"resnetc.graph_hash": net.hash}))
    assert len(streamed) == StreamedModel(skeleton).size + hashed_behind


@pytest.mark.parametrize("number", [0, 1, 127, 128, 300, 2**14, 2**31 - 1, 2**40 + 5])
def test_varint(number: int) -> None:
    value = 0
    data = wire.varint(number)
    for index, byte in enumerate(data):
        assert (byte >= 0x80) == (index < len(data) - 1)
        value |= (byte & 0x7F) << (7 * index)
    assert value == number


def test_writing_is_reproducible(net: Graph, weights: dict[str, np.ndarray]) -> None:
    assert model_bytes(net, weights) == model_bytes(net, dict(reversed(weights.items())))


def chain_of_convolutions() -> tuple[Graph, int]:
    """Twenty-four layers of one size, and the bytes of each."""
    b = Builder()
    x = b.input(64, 4, 4)
    for index in range(24):
        x = b.add(Conv2d, f"conv{index}", x, kernel=(5, 5))
    graph = b.graph(out=x)
    return graph, next(iter(graph.parameters.values())).type.bytes


def test_no_more_waits_to_be_hashed_than_may(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow hashing is; and nothing is hashed twice."""
    graph, each = chain_of_convolutions()
    held = some_weights(graph)
    monkeypatch.setattr(weights_module, "_GROUP", 1)
    monkeypatch.setattr(hashed, "_AHEAD", 3 * each)
    hash_group, digests = hashed.group_digest, []

    def slowly(arrays: Iterable[tuple[str, np.ndarray]]) -> str:
        time.sleep(0.01)
        group = list(arrays)
        digests.extend(path for path, _ in group)
        return hash_group(group)

    monkeypatch.setattr(hashed, "group_digest", slowly)
    # A file of weights reads each array anew; what a dict holds would be in memory anyway.
    with hashed.HashedArrays(graph, as_arrays(MappingProxyType(held))) as arrays:
        most = 0
        for path in [*held, *held]:
            assert arrays[path] is held[path]
            most = max(most, arrays.waiting_bytes)
        assert 3 * each < most <= 5 * each
        assert arrays.digest() == weights_hash(graph, held)
    assert sorted(digests) == sorted(held)


def test_what_is_in_memory_is_hashed_from_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is read, and nothing more is kept for it; a half is converted when read."""
    graph, _ = chain_of_convolutions()
    monkeypatch.setattr(weights_module, "_GROUP", 1)
    held: dict[str, object] = dict(some_weights(graph))
    paths = list(held)
    held[paths[3]] = torch.ones(held[paths[3]].shape).bfloat16()
    arrays = as_arrays(held)
    assert set(arrays.held) == {*paths} - {paths[3]}
    digests: list[str] = []
    hash_group = hashed.group_digest

    def noting(arrays: Iterable[tuple[str, np.ndarray]]) -> str:
        group = list(arrays)
        digests.extend(path for path, _ in group)
        return hash_group(group)

    monkeypatch.setattr(hashed, "group_digest", noting)
    with hashed.HashedArrays(graph, arrays) as reading:
        assert reading.waiting_bytes == 0
        reading._thread.finish()
        assert digests == [path for path in paths if path != paths[3]]
        assert reading.digest() == weights_hash(graph, arrays)
    assert sorted(digests) == sorted(paths)


@pytest.mark.parametrize("wrap", [dict, MappingProxyType])
def test_arrays_may_be_read_in_any_order(
    net: Graph, weights: dict[str, np.ndarray], wrap: Callable[[object], Mapping[str, object]]
) -> None:
    with hashed.HashedArrays(net, as_arrays(wrap(weights))) as arrays:
        for path in reversed(weights):
            arrays[path]
        assert arrays.digest() == weights_hash(net, weights)


@pytest.mark.parametrize("large", [0, 100, 2000, 1 << 20])
def test_what_is_joined_to_be_hashed_does_not_matter(
    weights: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch, large: int
) -> None:
    monkeypatch.setattr(weights_module, "_LARGE", large)
    heads = (f"{path} {array.shape} {array.dtype.str}" for path, array in weights.items())
    expected = hashlib.sha256("\n".join(heads).encode())
    for array in weights.values():
        expected.update(array.tobytes())
    assert weights_module.group_digest(weights.items()) == expected.hexdigest()


def test_memory_stays_near_one_array(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside what is computed and hashed together, which is one array here."""
    monkeypatch.setattr(weights_module, "_GROUP", 1)
    monkeypatch.setattr(hashed, "_AHEAD", 0)
    monkeypatch.setattr(stream, "PORTION", 1)
    graph, largest = chain_of_convolutions()
    for external in (False, True):
        tracemalloc.start()
        write_onnx(
            graph,
            tmp_path / "x.onnx",
            random_weights(graph),
            options=OnnxOptions(external=external),
        )
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert sum(p.type.bytes for p in graph.parameters.values()) == 24 * largest
        assert peak < 7 * largest


# ------------------------------------------------------------------------- what stands in a file


def test_names_are_parameter_paths_and_node_names(
    net: Graph, weights: dict[str, np.ndarray]
) -> None:
    folded = onnx.load_from_string(model_bytes(net, weights))
    held = {tensor.name: tuple(tensor.dims) for tensor in folded.graph.initializer}
    convs = [path for path in net.parameters if "conv" in path]
    expected = [*convs, *(path.replace("weight", "bias") for path in convs)]
    selections = [f"layer{i}.0.pad_channels.weight" for i in (2, 3)]
    assert set(held) == {*expected, *selections, "fc.weight", "fc.bias"}
    assert all(held[path] == net.parameters[path].type.shape for path in convs)
    assert {"conv1", "layer1.0.add", "fc"} <= {node.name for node in folded.graph.node}

    kept = onnx.load_from_string(model_bytes(net, weights, OnnxOptions(fold=False)))
    names = {tensor.name for tensor in kept.graph.initializer}
    buffers = {path for path in net.parameters if not path.endswith("num_batches_tracked")}
    assert names == buffers | set(selections)
    norm = next(node for node in kept.graph.node if node.name == "bn1")
    parts = ("weight", "bias", "running_mean", "running_var")
    assert list(norm.input) == ["conv1", *(f"bn1.{part}" for part in parts)]


def test_dynamic_batch_is_called_n(net: Graph, weights: dict[str, np.ndarray]) -> None:
    model = onnx.load_from_string(model_bytes(net, weights))
    values = [*model.graph.input, *model.graph.output, *model.graph.value_info]
    assert {value.type.tensor_type.shape.dim[0].dim_param for value in values} == {"N"}
    assert [value.name for value in model.graph.input] == ["input"]
    assert [value.name for value in model.graph.output] == ["logits"]
    named = {value.name for value in values}
    assert {output for node in model.graph.node for output in node.output} <= named


def test_fixed_batch(tmp_path: Path, net: Graph, weights: dict[str, np.ndarray]) -> None:
    file = tmp_path / "net.onnx"
    write_onnx(net, file, weights, options=OnnxOptions(batch=3))
    assert outputs(file, seeded_inputs(net, batch=3)).shape == (3, 10)
    with pytest.raises(Exception, match="Got: 2 Expected: 3"):
        outputs(file, seeded_inputs(net, batch=2))


def test_metadata(net: Graph, weights: dict[str, np.ndarray]) -> None:
    model = onnx.load_from_string(
        model_bytes(net, weights, OnnxOptions(precision="fp16"), {"reference": "x.rnet:net"})
    )
    facts = {entry.key: entry.value for entry in model.metadata_props}
    assert facts["resnetc.graph_hash"] == net.hash
    assert facts["resnetc.network"] == "resnet8"
    assert facts["resnetc.precision"] == "fp16"
    assert facts["resnetc.reference"] == "x.rnet:net"
    assert model.producer_name == "resnetc"
    assert model.producer_version == facts["resnetc.version"]


@pytest.mark.parametrize("opset", range(OLDEST_OPSET, NEWEST_OPSET + 1))
def test_every_opset(net: Graph, weights: dict[str, np.ndarray], opset: int) -> None:
    inputs = seeded_inputs(net)
    expected = evaluate(net, weights, inputs)["logits"]
    for fold in (True, False):
        data = model_bytes(net, weights, OnnxOptions(opset=opset, fold=fold))
        model = onnx.load_from_string(data)
        assert [(each.domain, each.version) for each in model.opset_import] == [("", opset)]
        onnx.checker.check_model(model, full_check=True)
        session = ort.InferenceSession(data, providers=["CPUExecutionProvider"])
        np.testing.assert_allclose(session.run(None, inputs)[0], expected, atol=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"opset": 12}, "opset 12 is not supported: choose 13 to"),
        ({"opset": NEWEST_OPSET + 1}, "is not supported: choose 13 to"),
        ({"opset": 21, "precision": "bf16"}, "bf16 needs opset 22 or later"),
        ({"precision": "fp4"}, "there is no precision 'fp4'; choose one of fp32, fp16, bf16, int8"),
        ({"precision": "int8"}, "int8 needs the ranges of activations"),
        ({"batch": 0}, "the batch must be at least 1, not 0"),
    ],
)
def test_options_that_make_no_sense(options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        OnnxOptions(**options)  # type: ignore[arg-type]


def test_default_opsets() -> None:
    assert OnnxOptions().version == 18
    assert OnnxOptions(precision="bf16").version == 22


def test_the_check_compares_our_types_with_onnxs(monkeypatch: pytest.MonkeyPatch) -> None:
    b = Builder()
    first = b.add(Relu, "first", b.input(2, 4, 4))  # what is wrong stands behind what is right
    graph = b.graph(out=b.add(Relu, "relu", b.add(GlobalAvgPool, "gap", first)))
    broken = {**emit.EMITTERS, GlobalAvgPool: emit.EMITTERS[Relu]}
    monkeypatch.setattr(emit, "EMITTERS", broken)
    with pytest.raises(InternalError, match="the ONNX model of net"):
        model_bytes(graph, {})


@pytest.mark.parametrize(
    ("inputs", "output", "message"),
    [
        (["input"], "relu", "relu is given twice"),
        (["nowhere"], "new", "nowhere is read before it is given"),
    ],
)
def test_names_are_looked_at(
    monkeypatch: pytest.MonkeyPatch, inputs: list[str], output: str, message: str
) -> None:
    b = Builder()
    x = b.add(Relu, "relu", b.input(2, 4, 4))
    graph = b.graph(out=b.add(GlobalAvgPool, "gap", x))

    def pool(emission: Emission, node: Node) -> None:
        emission.put("Relu", inputs, [output], "astray")
        emission.add("GlobalAveragePool", node, emission.operands(node))

    monkeypatch.setattr(emit, "EMITTERS", {**emit.EMITTERS, GlobalAvgPool: pool})
    with pytest.raises(InternalError, match=message):
        model_bytes(graph, {})


# ---------------------------------------------------------------------------------- node counts


@pytest.mark.parametrize(
    ("graph", "limit"),
    [
        (imagenet_resnet((3, 4, 6, 3), bottleneck=True), 122),
        (imagenet_resnet((3, 8, 36, 3), bottleneck=True), 360),
        (cifar_resnet(110), 278),
        (cifar_resnet(1202), 3008),
    ],
    ids=["resnet50", "resnet152", "resnet110", "resnet1202"],
)
def test_node_counts(graph: Graph, limit: int) -> None:
    nodes = build_skeleton(graph, OnnxOptions()).model.graph.node
    assert len(nodes) <= limit
    plain = {"Conv", "Relu", "Add", "MaxPool", "GlobalAveragePool", "Flatten", "Gemm"}
    assert {node.op_type for node in nodes} <= plain


# ---------------------------------------------------------------------- beside torchvision's nets


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_onnxruntime_agrees_with_torchvision(tmp_path: Path, name: str) -> None:
    torch.manual_seed(0)
    module = getattr(torchvision.models, name)(num_classes=10).eval()
    depths, bottleneck = ((2, 2, 2, 2), False) if name == "resnet18" else ((3, 4, 6, 3), True)
    graph = imagenet_resnet(depths, bottleneck=bottleneck, classes=10, side=64)
    drawn = random_weights(graph, seed=3)
    state = {path: torch.from_numpy(np.asarray(drawn[path]).copy()) for path in drawn}
    module.load_state_dict(state, strict=True)
    inputs = seeded_inputs(graph, batch=4)
    with torch.no_grad():
        expected = module(torch.from_numpy(inputs["input"])).numpy()
        exact = module.double()(torch.from_numpy(inputs["input"]).double()).numpy()
    file = tmp_path / "net.onnx"
    for fold in (True, False):
        write_onnx(graph, file, module.float().state_dict(), options=OnnxOptions(fold=fold))
        found = outputs(file, inputs)
        scale = np.abs(exact).max()
        assert np.abs(found - exact).max() < 2e-5 * scale
        assert np.abs(found - expected).max() < 2e-5 * scale
    assert np.abs(exact[0] - exact[1]).max() > 1e-3 * scale
