"""Depth: how many layers with weights lie on the longest way to a tensor."""

from __future__ import annotations

from resnetc.ir import Graph, NodeId
from resnetc.ops import Role


def depth(graph: Graph) -> int:
    """The network's depth, as the 152 in ResNet-152: convolutions and matrix products on the
    longest way from an input to an output. Projections beside a longer branch do not count."""
    found = depths(graph)
    return max(found[node_id] for node_id in graph.outputs.values())


def depths(graph: Graph) -> dict[NodeId, int]:
    """The depth of every node's output. Linear."""
    found: dict[NodeId, int] = {}
    for node in graph:
        weighted = any(parameter.role is Role.WEIGHT for parameter in node.parameters)
        before = max((found[operand] for operand in node.inputs), default=0)
        found[node.id] = before + weighted
    return found
