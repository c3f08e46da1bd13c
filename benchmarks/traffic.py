"""How many bytes a training step has to move, by the graph, and how fast a device moves bytes."""

from __future__ import annotations

import time

import torch

from resnetc.ir import Graph, Node
from resnetc.ops import Activation, Add, BatchNorm, Conv2d, Linear

_OPTIMIZER = 4 * (2 + 3 + 2)
"""Bytes a weight and step: its gradient is written and read by the update; the update reads and
writes weight and velocity; forward and backward read the weight. All in fp32."""
_COPIED = 1 << 28


def step_bytes(graph: Graph, batch: int, width: int) -> int:
    """Bytes between memory and processor in a step, if each op reads and writes its tensors once.

    `width` is of an activation's element. Nothing is fused, nothing is found in a cache, and a
    convolution reads and writes what it must: a device that does better than this can show more
    than its whole bandwidth.
    """
    moved = sum(_elements(graph, node) for node in graph if not node.op.view)
    return batch * width * moved + _OPTIMIZER * graph_parameters(graph)


def graph_parameters(graph: Graph) -> int:
    """Trainable numbers of a graph."""
    return sum(p.type.elements for p in graph.parameters.values() if p.role.trainable)


def _elements(graph: Graph, node: Node) -> int:
    """Elements that one image's forward and backward pass of an op reads and writes."""
    made = node.type.elements
    read = sum(operand.elements for operand in graph.operands(node))
    if not read:
        return 0
    if isinstance(node.op, Conv2d | Linear):
        # Backward: the gradient for the input and again, with the input, for the weight.
        return (read + made) + (made + read) + (made + read)
    if isinstance(node.op, BatchNorm):
        # Statistics first, then what is made of them; the same way back, with two tensors.
        return (2 * read + made) + (2 * (made + read) + read)
    if isinstance(node.op, Activation):
        return (read + made) + (2 * made + read)
    if isinstance(node.op, Add):
        # Its gradient is handed on as it is; where the branches meet again, two are added.
        return (read + made) + 3 * made
    return (read + made) + (made + read)


def copy_speed(device: torch.device, rounds: int = 7) -> float:
    """Bytes a second, read and written, of the fastest of some large copies."""
    source = torch.zeros(_COPIED, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    fastest = float("inf")
    for _ in range(rounds):
        _wait(device)
        began = time.perf_counter()
        target.copy_(source)
        _wait(device)
        fastest = min(fastest, time.perf_counter() - began)
    return 2 * _COPIED / fastest


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
