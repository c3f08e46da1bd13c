"""Bytes of activations alive while a graph runs in its order, per sample.

A tensor is memory of its own unless its op is a view. The input is alive from the start and an
output to the end. Auxiliary heads run in training only. All of it is linear in the number of nodes.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from functools import cached_property

from resnetc.ir import Graph, Node, NodeId


def inference_bytes(graph: Graph) -> dict[NodeId, int]:
    """Bytes alive while each node runs forward: a tensor dies with its last reader; 0 for what
    inference does not run."""
    return dict.fromkeys(graph.training_only, 0) | _Memory(graph, training=False).forward()[0]


def training_bytes(graph: Graph) -> dict[NodeId, int]:
    """Bytes alive while each node runs, forward or backward, whichever is more."""
    memory = _Memory(graph, training=True)
    forward, left = memory.forward()
    backward = memory.backward(left)
    return {node_id: max(alive, backward[node_id]) for node_id, alive in forward.items()}


def saved_bytes(graph: Graph) -> int:
    """Bytes held from the forward pass for the gradients: what autograd saves of activations."""
    memory = _Memory(graph, training=True)
    return memory.bytes(memory.savers) + sum(n.op.gradient_state(n.type) for n in graph)


class _Memory:
    """Who owns what memory. Tensors are named by their owner: the node that is not a view."""

    def __init__(self, graph: Graph, *, training: bool) -> None:
        self.graph = graph
        self.training = training
        self.nodes = [n for n in graph if training or n.id not in graph.training_only]
        self.owners: dict[NodeId, NodeId] = {}
        for node in self.nodes:
            self.owners[node.id] = self.owners[node.inputs[0]] if node.op.view else node.id
        results = graph.results if training else graph.outputs
        self.outputs = {self.owners[node_id] for node_id in results.values()}

    def bytes(self, owners: Iterable[NodeId]) -> int:
        return sum(self.graph[owner].type.bytes for owner in owners)

    def saved_by(self, node: Node) -> set[NodeId]:
        """The tensors that a node's gradient is computed from."""
        saved = set()
        if node.op.gradient_needs_operands:
            saved |= {self.owners[operand] for operand in node.inputs}
        if node.op.gradient_needs_output:
            saved.add(self.owners[node.id])
        return saved

    @cached_property
    def savers(self) -> Counter[NodeId]:
        """How many nodes' gradients are computed from each tensor."""
        return Counter(owner for node in self.nodes for owner in self.saved_by(node))

    def forward(self) -> tuple[dict[NodeId, int], int]:
        """Bytes alive at each node, and those left at the end."""
        last_reader = dict(self.owners)
        for node in self.nodes:
            for operand in node.inputs:
                last_reader[self.owners[operand]] = node.id
        kept = self.outputs | (set(self.savers) if self.training else set())
        dying = defaultdict(list)
        for owner in set(self.owners.values()) - kept:
            dying[last_reader[owner]].append(owner)

        during = {}
        alive = sum(node.type.bytes for node in self.graph.inputs)
        for node in self.nodes:
            if not node.op.view and node.op.name != "input":
                alive += node.type.bytes
            if self.training:
                alive += node.op.gradient_state(node.type)
            during[node.id] = alive
            alive -= self.bytes(dying[node.id])
        return during, alive

    def backward(self, alive: int) -> dict[NodeId, int]:
        """Bytes alive at each node of the backward pass, which starts with `alive`.

        A node turns the gradient of its output into gradients of its operands. A second gradient
        of the same tensor is computed beside the first and then added to it.
        """
        wanted = self._wanting_gradient()
        gradients = self.outputs & wanted
        alive += self.bytes(gradients)
        readers = Counter(self.savers)
        during = {}
        for node in reversed(self.nodes):
            operands: set[NodeId] = set()
            if node.id in gradients:  # a view's gradient is its owner's; an unread value has none
                operands = {self.owners[operand] for operand in node.inputs} & wanted
            during[node.id] = alive + self.bytes(operands)
            alive += self.bytes(operands - gradients)
            gradients |= operands
            if node.id in gradients:
                gradients.remove(node.id)
                alive -= node.type.bytes
            saved = self.saved_by(node)
            readers.subtract(saved)
            alive -= self.bytes(o for o in saved - self.outputs if not readers[o])
            alive -= node.op.gradient_state(node.type)
        return during

    def _wanting_gradient(self) -> set[NodeId]:
        """Tensors that parameters had a part in; the input had none."""
        wanting: set[NodeId] = set()
        for node in self.nodes:
            if node.parameters or any(self.owners[i] in wanting for i in node.inputs):
                wanting.add(self.owners[node.id])
        return wanting
