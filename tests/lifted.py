"""A lifted network beside the file it was lifted from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import helper
from onnx_models import run

from resnetc.backends.torch import build_module
from resnetc.lang.format import Source, format_source
from resnetc.lift import Lifted

TOLERANCE = 5e-6
"""Of the largest output: the order of sums differs between torch and onnxruntime."""


def outputs(lifted: Lifted, x: np.ndarray) -> np.ndarray:
    """What the lifted source makes of an input with the lifted weights, as torch builds it."""
    module = build_module(lifted.graph).eval()
    state = {name: torch.from_numpy(np.array(a)) for name, a in lifted.arrays.items()}
    keys = module.load_state_dict(state, strict=False)
    assert not keys.unexpected_keys
    assert all(key.endswith("num_batches_tracked") for key in keys.missing_keys)
    with torch.no_grad():
        return module(torch.from_numpy(x)).numpy()


def assert_same(path: Path, lifted: Lifted, x: np.ndarray) -> None:
    expected = run(path, x)
    assert np.abs(outputs(lifted, x) - expected).max() <= TOLERANCE * np.abs(expected).max()
    assert format_source(Source("lifted", lifted.text)) == lifted.text


def conv(x: str, y: str, weight: str, **attributes: object) -> onnx.NodeProto:
    return helper.make_node("Conv", [x, weight], [y], y, pads=[1, 1, 1, 1], **attributes)


def weights(*names: str, channels: int = 4) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(3)
    shape = (channels, channels, 3, 3)
    return {name: rng.standard_normal(shape).astype(np.float32) / 6 for name in names}


X = np.random.default_rng(4).standard_normal((1, 4, 8, 8)).astype(np.float32)
