"""One network of each family as an ONNX file, which computes what the live module does, and as an
engine."""

from __future__ import annotations

from pathlib import Path

import onnxruntime
import pytest
import torch

import resnetc
from resnetc import zoo
from resnetc.backends.random_weights import random_weights
from resnetc.backends.tensorrt import TensorRtOptions, build_engine, library
from resnetc.backends.torch import blank_module
from resnetc.passes import lower_for_inference
from zoo import references


def _first_of_each_file() -> list[str]:
    held = references()
    first: dict[Path, str] = {}
    for name, path in zoo.networks().items():
        if name in held:
            first.setdefault(path, name)
    return list(first.values())


@pytest.mark.slow
@pytest.mark.parametrize("name", _first_of_each_file())
def test_onnx_equals_torch(name: str, tmp_path: Path) -> None:
    network = resnetc.load(name)
    weights = {
        path: torch.from_numpy(array) for path, array in random_weights(network.graph).items()
    }
    module = blank_module(network.graph).eval()
    module.load_state_dict(weights, assign=True)
    (image,) = network.graph.inputs
    torch.manual_seed(0)
    x = torch.randn(2, *image.type.shape)
    with torch.no_grad():
        expected = module(x)
    file = network.to_onnx(tmp_path / "network.onnx", weights)
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    assert [output.name for output in session.get_outputs()] == list(network.graph.outputs)
    (found,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    scale = expected.abs().max()
    assert (expected[0] - expected[1]).abs().max() > 1e-3 * scale
    assert (torch.from_numpy(found) - expected).abs().max() < 1e-5 * scale


@pytest.mark.slow
@pytest.mark.parametrize("name", _first_of_each_file())
def test_an_engine_holds_every_layer_in_the_precision_asked_for(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(library, "gpu_present", lambda: False)
    graph = resnetc.load(name).graph
    options = TensorRtOptions("fp16", library="tensorrt_rtx", capabilities=("8.6",), batch=1)
    weights = random_weights(graph)
    report = build_engine(graph, tmp_path / "network.engine", weights, options=options)
    lowered = lower_for_inference(graph).graph  # without auxiliary heads
    layers = sum(node.op.name in ("conv2d", "linear") for node in lowered)
    assert report.found["fp16"] >= layers
    elements = sum(p.type.elements for p in lowered.parameters.values())
    assert report.bytes >= 1.9 * elements
