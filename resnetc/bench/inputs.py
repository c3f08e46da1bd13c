"""The network, weights and input of a job, the same in every worker."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from resnetc.backends.random_weights import random_weights
from resnetc.backends.weights import fit_weights, read_weights
from resnetc.bench.request import Job
from resnetc.diagnostics import RunError, UsageError
from resnetc.driver import load
from resnetc.ir import Graph, Node


def load_graph(job: Job) -> Graph:
    """The job's network. Raises RunError when the spec is not what the caller compiled."""
    graph = load(job.network, job.settings, outputs=job.outputs).graph
    if graph.hash != job.graph_hash:
        raise RunError(f"{job.network} has changed since the benchmark began")
    return graph


def load_weights(job: Job, graph: Graph) -> Mapping[str, np.ndarray]:
    """The user's weights, or seeded ones that keep the signal at any depth."""
    if job.weights is None:
        return random_weights(graph, job.seed)
    return fit_weights(graph, read_weights(Path(job.weights)))


def only_input(graph: Graph) -> Node:
    """The network's input. Raises UsageError when it has several."""
    if len(graph.inputs) != 1:
        raise UsageError(f"{graph.name} has not one input; such are not measured")
    return graph.inputs[0]


def output_shapes(job: Job, graph: Graph) -> dict[str, tuple[int, ...]]:
    """Shapes of the outputs by name, batch first."""
    return {name: (job.batch, *graph[i].type.shape) for name, i in graph.outputs.items()}


def side_by_side(arrays: Iterable[np.ndarray]) -> np.ndarray:
    """Outputs as one array to be compared: a single one as it is, several as a row per sample."""
    held = list(arrays)
    if len(held) == 1:
        return held[0]
    return np.concatenate([array.reshape(len(array), -1) for array in held], axis=1)


def draw_input(job: Job, graph: Graph) -> np.ndarray:
    """A batch of standard normal images, fp32, from the seed."""
    shape = (job.batch, *only_input(graph).type.shape)
    return np.random.default_rng(job.seed).standard_normal(shape, np.float32)
