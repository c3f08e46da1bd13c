"""A lowered graph in PyTorch: a module that computes what the ONNX file and the engine compute.

Batch norms are folded, element types are the graph's, eight bits are rounded to where the graph
does: quantized weights hold the numbers that their eight bits stand for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from resnetc.ir import Graph
from resnetc.ops import Role
from resnetc.shapes import DType

if TYPE_CHECKING:
    import numpy as np
    import torch


def lowered_weights(lowered: Graph, weights: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What a lowered graph's parameters hold, by path, from the weights of the network it was made
    from. Numbers of bfloat16 stand in float32, which numpy and safetensors have."""
    held: dict[str, np.ndarray] = {}
    for path, parameter in lowered.parameters.items():
        if parameter.role is not Role.COUNTER:
            array = parameter.array(weights)
            held[path] = array.astype("float32") if parameter.type.dtype is DType.BF16 else array
    return held


def lowered_module(lowered: Graph, weights: Mapping[str, Any]) -> torch.nn.Module:
    """The live module with its weights, in evaluation mode."""
    import torch

    from resnetc.backends.torch.live import build_module

    module = build_module(lowered, seed=0).eval()
    state = {p: torch.from_numpy(a) for p, a in lowered_weights(lowered, weights).items()}
    module.load_state_dict(state, strict=False)  # counters may be missing; nothing reads them
    return module
