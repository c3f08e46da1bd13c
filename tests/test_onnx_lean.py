"""Nothing to remove: what onnxslim and onnxsim make of our files, and files above 2 GB."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import onnxsim
import onnxslim
import pytest
import torch
import torchvision

import resnetc
from resnetc import zoo
from resnetc.backends.onnx import OnnxOptions, model_bytes, write_onnx
from resnetc.backends.onnx.model import build_skeleton
from resnetc.backends.provenance import onnx_facts
from resnetc.backends.random_weights import random_weights
from resnetc.backends.weights import Arrays, weights_hash
from resnetc.diagnostics import CompileError, UsageError
from resnetc.ir import Graph

QUICK = ("resnet20", "resnet18", "mobilenet_v2")
REPRESENTATIVE = (
    *("resnet50", "resnet110", "resnext50_32x4d", "wide_resnet50_2", "densenet121"),
    *("googlenet", "inception_v3", "vgg16_bn", "squeezenet1_1"),
    *("mnasnet1_0", "mobilenet_v3_large", "efficientnet_b0", "regnet_y_400mf"),
    *("seresnet50", "skresnet50", "resnest50d", "ecaresnet50d", "hrnet_w18", "unet"),
    *("shufflenet_v2_x1_0", "convnext_tiny", "inception_resnet_v2", "resnetv2_50x1_bit"),
    *("dpn68b", "repvgg_a2", "cspresnet50", "darknet53", "res2net50_26w_4s", "alexnet"),
)


def slim(model: onnx.ModelProto) -> onnx.ModelProto:
    return onnxslim.slim(model)


def simplify(model: onnx.ModelProto) -> onnx.ModelProto:
    return onnxsim.simplify(model)[0]


def nodes(model: onnx.ModelProto) -> Counter[str]:
    return Counter(node.op_type for node in model.graph.node)


def quietly(tool: Callable[[onnx.ModelProto], onnx.ModelProto], content: bytes) -> onnx.ModelProto:
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return tool(onnx.load_from_string(content))


@pytest.mark.parametrize("tool", [slim, simplify], ids=["onnxslim", "onnxsim"])
@pytest.mark.parametrize(
    "network",
    [
        *QUICK,
        *(pytest.param(each, marks=pytest.mark.slow) for each in REPRESENTATIVE),
    ],
)
def test_nothing_is_left_to_remove(
    network: str, tool: Callable[[onnx.ModelProto], onnx.ModelProto]
) -> None:
    graph = resnetc.load(network).graph
    content = model_bytes(graph, random_weights(graph))
    ours = nodes(onnx.load_from_string(content))
    theirs = nodes(quietly(tool, content))
    assert sum(theirs.values()) >= sum(ours.values()), f"{ours - theirs} can go"
    assert not {"Identity", "Constant", "Shape", "Unsqueeze"} & set(ours)
    # Not arithmetic of shapes: one Gather is a whole shuffle, which a trace takes three nodes for.
    assert ours["Gather"] == sum(node.op.name == "channel_shuffle" for node in graph)


def one_of_each_file() -> Iterator[Graph]:
    """The first network of every file of the zoo that is no template."""
    done: set[Path] = set()
    for network, file in zoo.networks().items():
        if file not in done:
            with contextlib.suppress(CompileError):
                yield resnetc.load(network).graph
                done.add(file)


@pytest.mark.slow
def test_no_family_of_the_zoo_holds_what_a_tool_would_remove() -> None:
    """Without weights: no node that only passes on, that computes a shape, or that is a norm."""
    found = 0
    for graph in one_of_each_file():
        kinds = nodes(build_skeleton(graph, OnnxOptions()).model)
        ops = Counter(node.op.name for node in graph)
        assert not REMOVABLE & set(kinds), graph.name
        assert kinds["Gather"] <= ops["channel_shuffle"] + 2 * ops["resize"], graph.name
        found += 1
    assert found > 25


REMOVABLE = {
    *("Identity", "Constant", "Shape", "Unsqueeze", "Squeeze", "Cast", "Dropout"),
    *("BatchNormalization", "Erf", "Div"),
}


def test_the_tools_do_remove_what_can_go() -> None:
    """So that the test above can fail."""
    graph = resnetc.load("resnet20").graph
    content = model_bytes(graph, random_weights(graph), OnnxOptions(fold=False))
    kept = sum(nodes(onnx.load_from_string(content)).values())
    for tool in (slim, simplify):
        assert sum(nodes(quietly(tool, content)).values()) < kept


def test_no_more_nodes_than_a_traced_model_slimmed(tmp_path: Path) -> None:
    file = tmp_path / "traced.onnx"
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        module = torchvision.models.resnet18().eval()
        torch.onnx.export(module, (torch.zeros(1, 3, 224, 224),), file, dynamo=False)
    graph = resnetc.load("resnet18").graph
    ours = nodes(onnx.load_from_string(model_bytes(graph, random_weights(graph))))
    for tool in (slim, simplify):
        assert sum(ours.values()) <= sum(nodes(quietly(tool, file.read_bytes())).values())


# ------------------------------------------------------------------------------------ above 2 GB

_WIDE = """rnet 1

network wide {
  input 3x1x1
  conv1: conv(1x1, 10240) -> gap -> flatten
  repeats: seq { linear(10240) * 6 }
  fc: linear(2)
}
"""


class _OneMatrix(Arrays):
    """Zeros, but for one number: the large ones are all one array, so that they cost nothing."""

    def __init__(self, shapes: dict[str, tuple[int, ...]]) -> None:
        self._shapes = shapes
        self._large = np.zeros((10240, 10240), np.float32)
        self._large[-1, -1] = 3

    def shape(self, path: str) -> tuple[int, ...]:
        return self._shapes[path]

    def __contains__(self, path: object) -> bool:
        return path in self._shapes

    def __getitem__(self, path: str) -> np.ndarray:
        shape = self._shapes[path]
        return self._large if shape == self._large.shape else np.zeros(shape, np.float32)

    def __iter__(self) -> Iterator[str]:
        return iter(self._shapes)

    def __len__(self) -> int:
        return len(self._shapes)


@pytest.mark.slow
def test_above_two_gigabytes_weights_go_outside_by_themselves(tmp_path: Path) -> None:
    spec = tmp_path / "wide.rnet"
    spec.write_text(_WIDE)
    graph = resnetc.load(spec).graph
    weights = _OneMatrix({path: p.type.shape for path, p in graph.parameters.items()})
    file = tmp_path / "wide.onnx"
    with pytest.raises(UsageError, match=r"takes 2\.5 GB, and an ONNX file ends at 2 GB"):
        write_onnx(graph, file, weights, options=OnnxOptions(external=False))
    model, data = write_onnx(graph, file, weights)
    assert model.stat().st_size < 1e6
    assert data.stat().st_size > 2**31
    onnx.checker.check_model(model)
    stored = onnx.load(model, load_external_data=False).graph.initializer
    large = [each for each in stored if each.external_data]
    last = {each.key: each.value for each in large[-1].external_data}
    with data.open("rb") as opened:
        opened.seek(int(last["offset"]) + int(last["length"]) - 4)
        assert opened.read(4) == np.float32(3 if len(large) == 6 else 0).tobytes()
    assert onnx_facts(model).said["weights_hash"] == weights_hash(graph, weights)
