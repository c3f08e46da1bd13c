"""PyTorch: the reference in float64, eager modules in float32, and torch.compile's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from resnetc.backends.parity.runtimes import Subject
from resnetc.backends.torch import blank_module
from resnetc.backends.weights import Arrays
from resnetc.ir import Graph, Node
from resnetc.ops import Role

if TYPE_CHECKING:
    from collections.abc import Mapping

    Tensors = Mapping[str, np.ndarray]


class TorchNetwork:
    """A graph as a module in evaluation mode, of one element type."""

    compiled = False

    def __init__(self, graph: Graph, weights: Arrays, dtype: torch.dtype) -> None:
        self._graph = graph
        self._weights = weights
        self._dtype = dtype
        self._module = self._build(graph)

    def run(self, inputs: Tensors) -> Tensors:
        return self._forward(self._module, tuple(self._graph.outputs), inputs)

    def probe(self, inputs: Tensors, nodes: Sequence[Node]) -> Tensors:
        """Values of any nodes: they become outputs of a module of the same network."""
        if not nodes:
            return {}
        outputs = {node.name: node.id for node in nodes}
        shown = Graph(self._graph.name, self._graph, outputs, self._graph.scopes)
        return self._forward(self._build(shown), tuple(outputs), inputs)

    def _build(self, graph: Graph) -> nn.Module:
        module = blank_module(graph)
        state = {path: self._tensor(path, graph) for path in graph.parameters}
        module.load_state_dict(state, assign=True)
        module.eval()
        return torch.compile(module) if self.compiled else module  # type: ignore[return-value]

    def _tensor(self, path: str, graph: Graph) -> torch.Tensor:
        """A copy: weights may be read-only. Nothing that infers reads a counter."""
        if graph.parameters[path].role is Role.COUNTER:
            return torch.zeros((), dtype=torch.int64)
        return torch.tensor(np.asarray(self._weights[path]), dtype=self._dtype)

    def _forward(self, module: nn.Module, names: tuple[str, ...], inputs: Tensors) -> Tensors:
        arguments = [torch.from_numpy(array).to(self._dtype) for array in inputs.values()]
        with torch.inference_mode():
            result = module(*arguments)
        found = result if isinstance(result, dict) else dict.fromkeys(names, result)
        return {name: found[name].numpy() for name in names}


class Eager(TorchNetwork):
    """The module as it is, in float32."""

    name = "torch fp32"
    precisions = ("fp32",)
    note = None

    def __init__(self, subject: Subject) -> None:
        super().__init__(subject.graph, subject.weights, torch.float32)


class Compiled(Eager):
    """The module through torch.compile; looked into, it is compiled anew with more outputs."""

    name = "torch.compile fp32"
    compiled = True


def reference(graph: Graph, weights: Arrays) -> TorchNetwork:
    """The network in float64."""
    return TorchNetwork(graph, weights, torch.float64)
