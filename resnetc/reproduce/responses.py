"""Figure 7: the standard deviations of layer responses.

"The responses are the outputs of each 3x3 layer, after BN and before other nonlinearity." With
batch statistics a channel has mean beta and deviation gamma, so that the deviation of the whole
response is sqrt(mean(gamma^2) + var(beta)): 1 everywhere at initialisation. That is up to batch
norm's epsilon and to channels that are constant.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from resnetc.ir import Graph
from resnetc.ops import BatchNorm, Conv2d

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

_KERNEL = (3, 3)


@dataclass(frozen=True)
class Response:
    """A layer by the path of its batch norm: the deviation of its response as it was measured over
    a batch, and as gamma and beta give it."""

    layer: str
    deviation: float
    closed_form: float


def normed_layers(graph: Graph) -> Iterator[str]:
    """Module paths of the batch norms behind 3x3 convolutions, in the graph's order."""
    for node in graph:
        behind = graph[node.inputs[0]].op if isinstance(node.op, BatchNorm) else None
        if isinstance(behind, Conv2d) and behind.kernel == _KERNEL:
            yield node.parameters[0].path.rpartition(".")[0]


def responses(graph: Graph, module: nn.Module, images: Tensor) -> list[Response]:
    """Of every 3x3 layer, over a batch of the network's inputs [B, C, H, W].

    The module is run with batch statistics, and then has them among its running ones.
    """
    import torch

    found: dict[str, float] = {}
    layers = list(normed_layers(graph))
    norms: dict[str, Any] = {path: module.get_submodule(path) for path in layers}

    def listen(path: str) -> Any:
        def heard(norm: nn.Module, given: Any, response: torch.Tensor) -> None:
            found[path] = float(response.double().std(correction=0))

        return norms[path].register_forward_hook(heard)

    handles = [listen(path) for path in layers]
    module.train()
    try:
        with torch.no_grad():
            module(images)
    finally:
        for handle in handles:
            handle.remove()
    return [Response(path, found[path], _closed_form(norms[path])) for path in layers]


def _closed_form(norm: Any) -> float:
    gamma, beta = norm.weight.detach().double(), norm.bias.detach().double()
    return math.sqrt(float(gamma.square().mean() + beta.var(correction=0)))
