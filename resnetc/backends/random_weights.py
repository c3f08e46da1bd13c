"""Seeded weights for trying out a path from spec to artefact without training."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from resnetc.backends.capacity import require_memory
from resnetc.backends.weights import Arrays
from resnetc.ir import Graph, Node, NodeId
from resnetc.ops import Role
from resnetc.shapes import TensorType

if TYPE_CHECKING:
    import numpy as np

_NORM_SQUARE = 0.9
"""Mean square behind a batch norm with the scales and shifts drawn here."""


def random_weights(graph: Graph, seed: int = 0) -> Arrays:
    """Weights under which a network of any depth keeps its signal.

    Convolutions and matrices are He-normal (He et al. 2015, "Delving deep into rectifiers"). Batch
    norms have scales, shifts and running statistics away from 1 and 0, the statistics near what
    the layers before them give, as training leaves them. Arrays are made when they are read, each
    from the seed and its path alone. Raises RunError where one is larger than the memory.
    """
    require_memory(graph, at_once=False)
    return _RandomWeights(graph, seed)


class _RandomWeights(Arrays):
    def __init__(self, graph: Graph, seed: int) -> None:
        moments = _moments(graph)
        self._parameters = graph.parameters
        self._seed = seed
        self._fed = {
            parameter.path: moments[node.inputs[0]].square
            for node in graph
            for parameter in node.parameters
        }

    def shape(self, path: str) -> tuple[int, ...]:
        return self._parameters[path].type.shape

    def __contains__(self, path: object) -> bool:
        return path in self._parameters

    def __getitem__(self, path: str) -> np.ndarray:
        import numpy as np

        parameter = self._parameters[path]
        rng = np.random.default_rng([self._seed, zlib.crc32(path.encode())])
        array = _draw(rng, parameter.role, parameter.type, self._fed[path])
        return np.asarray(array, parameter.type.dtype.value)

    def __iter__(self) -> Iterator[str]:
        return iter(self._parameters)

    def __len__(self) -> int:
        return len(self._parameters)


def _draw(rng: np.random.Generator, role: Role, type: TensorType, fed: float) -> object:
    """An array for a parameter whose node reads values of mean square `fed`."""
    shape = type.shape
    match role:
        case Role.WEIGHT:
            deviation = math.sqrt(2 / math.prod(shape[1:]))
            return rng.standard_normal(shape, "float32") * deviation
        case Role.SCALE:
            return rng.uniform(0.6, 1.2, shape)
        case Role.BIAS | Role.SHIFT:
            return rng.normal(0, 0.1, shape)
        case Role.MEAN:
            return rng.normal(0, 0.1 * math.sqrt(fed), shape)
        case Role.VARIANCE:
            return fed * rng.uniform(0.6, 1.3, shape)
        case Role.COUNTER:
            return 1


class _Moments(NamedTuple):
    """Mean and mean square over a tensor's elements, roughly."""

    mean: float
    square: float


def _moments(graph: Graph) -> dict[NodeId, _Moments]:
    """Moments of every node's output for inputs of mean 0 and mean square 1."""
    moments: dict[NodeId, _Moments] = {}
    for node in graph:
        moments[node.id] = _node_moments(node, [moments[operand] for operand in node.inputs])
    return moments


def _node_moments(node: Node, fed: list[_Moments]) -> _Moments:
    match node.op.name:
        case "input":
            return _Moments(0, 1)
        case "conv2d" | "linear" | "pixel_linear" | "conv_transpose2d" | "conv1d_channels":
            return _Moments(0, 2 * fed[0].square)
        case "ws_conv2d":
            # Whatever is drawn, the filters that are used have variance 1.
            return _Moments(0, math.prod(node.parameters[0].type.shape[1:]) * fed[0].square)
        case "batchnorm" | "layernorm" | "pixel_layernorm" | "groupnorm":
            return _Moments(0, _NORM_SQUARE)
        case "relu" | "relu6" | "leaky_relu" | "silu" | "gelu" | "hardswish":
            return _rectified(fed[0])
        case "sigmoid" | "hardsigmoid" | "softmax" | "radix_softmax":
            return _Moments(0.5, 0.3)
        case "add":
            mean = sum(each.mean for each in fed)
            return _Moments(mean, mean**2 + sum(_variance(each) for each in fed))
        case "mul":
            return _Moments(
                math.prod(each.mean for each in fed), math.prod(each.square for each in fed)
            )
        case _:
            return max(fed, key=lambda each: each.square)


def _variance(moments: _Moments) -> float:
    return max(0.0, moments.square - moments.mean**2)


def _rectified(moments: _Moments) -> _Moments:
    """Moments of max(x, 0) for a normal x."""
    deviation = math.sqrt(_variance(moments)) or 1e-6
    ratio = moments.mean / deviation
    above = (1 + math.erf(ratio / math.sqrt(2))) / 2
    density = deviation * math.exp(-(ratio**2) / 2) / math.sqrt(2 * math.pi)
    return _Moments(moments.mean * above + density, moments.square * above + moments.mean * density)
