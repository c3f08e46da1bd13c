"""ONNX files: of a small network of ours, traced by torch, by either of its exporters, or written
node by node."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
import torchvision
from onnx import TensorProto, helper, numpy_helper
from small_graphs import cifar_resnet, some_weights

from resnetc.ir import Graph

EXPORTS = ("folded", "kept", "dynamo", "dynamo_kept")
"""TorchScript's exporter with batch norms folded and kept, dynamo's with and without its
optimizer."""


def torchvision_model(name: str, **arguments: object) -> torch.nn.Module:
    """One of torchvision's, all of its arrays random: constants would be shared by an exporter."""
    torch.manual_seed(0)
    return randomized(getattr(torchvision.models, name)(weights=None, **arguments))


def randomized(module: torch.nn.Module) -> torch.nn.Module:
    for name, array in module.state_dict().items():
        if name.endswith("running_var"):
            array.uniform_(0.5, 1.5)
        elif name.endswith(("running_mean", "bias")):
            array.normal_(0, 0.1)
    return module.eval()


def export(module: torch.nn.Module, path: Path, kind: str, side: int = 64) -> np.ndarray:
    """Trace a module into a file; returns the input that its outputs are compared on."""
    x = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(1))
    options = {
        "folded": {"dynamo": False},
        "kept": {
            "dynamo": False,
            "do_constant_folding": False,
            "training": torch.onnx.TrainingMode.PRESERVE,
        },
        "dynamo": {"dynamo": True, "external_data": False},
        "dynamo_kept": {"dynamo": True, "external_data": False, "optimize": False},
    }[kind]
    silence = contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO())
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), silence[0], silence[1]:
            warnings.simplefilter("ignore")  # the older exporter says that it is the older one
            torch.onnx.export(module, (x,), str(path), **options)
    finally:
        logging.disable(logging.NOTSET)
    return x.numpy()


@pytest.fixture(scope="module")
def net() -> Graph:
    """The small network whose files are looked at."""
    return cifar_resnet(8)


@pytest.fixture(scope="module")
def weights(net: Graph) -> dict[str, np.ndarray]:
    return some_weights(net)


def run(path: Path, x: np.ndarray) -> np.ndarray:
    """What onnxruntime makes of a file with one input."""
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x})[0]


def outputs(file: Path, inputs: dict[str, np.ndarray]) -> np.ndarray:
    """The same of a file with any inputs, by name: its first output."""
    session = ort.InferenceSession(file, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, inputs)[0])


def write(
    path: Path,
    nodes: Sequence[onnx.NodeProto],
    arrays: dict[str, np.ndarray],
    *,
    shape: Sequence[int | str] = ("N", 4, 8, 8),
    outputs: Sequence[str] = ("y",),
    opset: int = 18,
) -> Path:
    """A model that reads `x`, node by node."""
    graph = helper.make_graph(
        list(nodes),
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    opsets = [helper.make_opsetid("", opset)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), path)
    return path


def without_names(path: Path) -> None:
    """Rename a model's arrays and nodes to numbers, and forget where they were traced."""
    model = onnx.load(path)
    new = {tensor.name: f"w{i}" for i, tensor in enumerate(model.graph.initializer)}
    for tensor in model.graph.initializer:
        tensor.name = new[tensor.name]
    for i, node in enumerate(model.graph.node):
        node.name = f"n{i}"
        del node.metadata_props[:]
        node.input[:] = [new.get(name, name) for name in node.input]
    onnx.save(model, path)
