"""A TensorRT engine, on the GPU that is here."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from resnetc.backends.parity.runtimes import OnnxModel
from resnetc.backends.provenance import engine_facts
from resnetc.backends.tensorrt.running import EngineRunner
from resnetc.diagnostics import UsageError
from resnetc.ir import Graph, Node

if TYPE_CHECKING:
    import numpy as np

    Tensors = Mapping[str, np.ndarray]


class Engine:
    """An engine beside its sidecar, which says what it was built from and computes in. It cannot be
    looked into."""

    note: str | None = None

    def __init__(self, path: Path, graph: Graph) -> None:
        facts = engine_facts(path)
        told = {"precision": facts.asked, "precision_plan": json.dumps(facts.said.get("plan", {}))}
        self.precisions = OnnxModel(path, path.name, told).precisions
        self._runner = EngineRunner(path, facts.library)
        self.name = f"{facts.library} {facts.asked}"
        expected = ({node.name for node in graph.inputs}, set(graph.outputs))
        if (set(self._runner.inputs), set(self._runner.outputs)) != expected:
            raise UsageError(f"{path}: its inputs and outputs are not those of {graph.name}")

    def run(self, inputs: Tensors) -> Tensors:
        found = self._runner.infer({n: torch.from_numpy(array) for n, array in inputs.items()})
        return {name: tensor.numpy() for name, tensor in found.items()}

    def probe(self, inputs: Tensors, nodes: Sequence[Node]) -> Tensors:
        return {}
