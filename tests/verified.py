"""The network that `verify` is tested on, and ways to spoil its file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import resnetc
from resnetc.backends.random_weights import random_weights
from resnetc.backends.weights import Arrays

SMALL = "resnet20"


@pytest.fixture(scope="module")
def net() -> resnetc.Network:
    return resnetc.load(SMALL)


@pytest.fixture(scope="module")
def weights(net: resnetc.Network) -> Arrays:
    return random_weights(net.graph)


def change_array(file: Path, name: str, change: Callable[[np.ndarray], np.ndarray]) -> None:
    """Change one initializer of an ONNX file."""
    model = onnx.load(file)
    (tensor,) = (each for each in model.graph.initializer if each.name == name)
    array = change(numpy_helper.to_array(tensor).copy())
    tensor.CopyFrom(numpy_helper.from_array(array.astype(array.dtype), name))
    onnx.save(model, file)


def scale_first_filters(array: np.ndarray) -> np.ndarray:
    array[:4] *= array.dtype.type(1.5)
    return array
