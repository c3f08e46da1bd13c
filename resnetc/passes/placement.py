"""Where numbers become eight bits: which layers, and in front of which operands.

In front of every quantized layer, and on the *shortcut* operand of every residual sum whose
other operand such a layer gives. That layer's own result stays as wide as it is added up in, so
that convolution, sum and ReLU are one kernel; a shortcut in float would make the sum float
(NVIDIA, pytorch-quantization, the ResNet case). Nothing else is quantized, unless the
encoding is `closed`: onnxruntime's kernels need their results quantized as well.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from resnetc.diagnostics import UsageError, suggest
from resnetc.ir import Graph, Node, NodeId
from resnetc.ops import (
    Add,
    Cast,
    Concat,
    Conv2d,
    Flatten,
    GlobalAvgPool,
    Linear,
    MaxPool,
    Relu,
    Relu6,
    Subsample,
)
from resnetc.passes.encoding import Encoding

QUANTIZABLE = (Conv2d, Linear)
"""Layers that have kernels of eight bits everywhere."""
_SAME_NUMBERS = (MaxPool, Flatten, Subsample, Cast)
"""Ops whose results are numbers of their operand: their scale is the operand's."""
_CARRIERS = (Add, Concat, GlobalAvgPool, MaxPool, Flatten)
"""Ops that onnxruntime computes in eight bits between eight bits."""

Edge = tuple[NodeId, int]
"""A node and the position of one of its operands."""


@dataclass
class Placement:
    """`layers` compute in eight bits; `edges` are the operands that come through eight bits."""

    graph: Graph
    layers: set[NodeId] = field(default_factory=set)
    edges: set[Edge] = field(default_factory=set)

    @property
    def tensors(self) -> list[NodeId]:
        """The nodes whose results become eight bits, in order."""
        read = {self.graph[node].inputs[index] for node, index in self.edges}
        return [node.id for node in self.graph if node.id in read]

    @property
    def observed(self) -> list[str]:
        """Names of the tensors whose ranges must be known."""
        return list(dict.fromkeys(self.range_of(node) for node in self.tensors))

    def range_of(self, node_id: NodeId) -> str:
        """The name of the tensor whose range, and so scale, is this tensor's."""
        node = self.graph[node_id]
        while isinstance(node.op, _SAME_NUMBERS):
            node = self.graph[node.inputs[0]]
        return node.name


def place(graph: Graph, encoding: Encoding, keep: Collection[str] = ()) -> Placement:
    """Where a folded graph is quantized, but for the nodes of the names in `keep`."""
    placement = Placement(graph)
    placement.layers = {
        node.id for node in graph if isinstance(node.op, QUANTIZABLE) and node.name not in keep
    }
    placement.edges = {(node_id, 0) for node_id in placement.layers}
    depths = _depths(graph)
    for node in graph:
        if isinstance(node.op, Add) and node.name not in keep:
            _place_sum(placement, node, depths)
    if encoding.closed:
        _close(placement, keep)
    return placement


def _place_sum(placement: Placement, add: Node, depths: dict[NodeId, int]) -> None:
    """Quantize the operands of a residual sum but the branch: of the layers that give the sum
    alone their result, the one behind most ops. Where that is kept wide, so is the sum."""
    graph = placement.graph
    given = [
        index
        for index, operand in enumerate(add.inputs)
        if isinstance(graph[operand].op, QUANTIZABLE) and len(graph.users(operand)) == 1
    ]
    branch = max(given, key=lambda index: depths[add.inputs[index]], default=None)
    if branch is not None and add.inputs[branch] in placement.layers:
        others = set(range(len(add.inputs))) - {branch}
        placement.edges |= {(add.id, index) for index in others}


def _depths(graph: Graph) -> dict[NodeId, int]:
    """How many ops stand before each node, on the longest way."""
    depths: dict[NodeId, int] = {}
    for node in graph:
        depths[node.id] = 1 + max((depths[operand] for operand in node.inputs), default=0)
    return depths


# ----------------------------------------------------------------------------- closed encodings


def _close(placement: Placement, keep: Collection[str]) -> None:
    """Quantize the results of layers too, and carry eight bits through the ops between them."""
    graph = placement.graph
    eight = {result for layer in placement.layers if (result := _result(graph, layer)) is not None}
    read = set(placement.tensors)
    for node in graph:
        carries = isinstance(node.op, _CARRIERS) and node.name not in keep
        if carries and all(operand in eight | read for operand in node.inputs):
            placement.edges |= {(node.id, index) for index in range(len(node.inputs))}
            if (result := _result(graph, node.id)) is not None:
                eight.add(result)
    outputs = set(graph.outputs.values())
    for node in graph:
        for index, operand in enumerate(node.inputs):
            if operand in eight and operand not in outputs:
                placement.edges.add((node.id, index))


def _result(graph: Graph, node_id: NodeId) -> NodeId | None:
    """The tensor in which a kernel's result leaves it, a ReLU behind it included; None for a result
    of the network."""
    users = graph.users(node_id)
    outputs = graph.outputs.values()
    leaves = all(isinstance(user.op, Cast) and user.id in outputs for user in users)
    if node_id in outputs or leaves:
        return None
    if len(users) == 1 and isinstance(users[0].op, Relu | Relu6):
        return _result(graph, users[0].id)
    return node_id


# ------------------------------------------------------------------------------------ labels


class NoSuchLabelError(UsageError):
    """A label that is not in the network. `close` is the one that was meant, if one is near."""

    def __init__(self, graph: Graph, label: str) -> None:
        self.close = suggest(label, _labels(graph))
        hint = f"; did you mean {self.close}?" if self.close else ""
        super().__init__(f"{graph.name} has no layer or block `{label}` to keep{hint}")


def under(graph: Graph, labels: Iterable[str]) -> dict[str, str]:
    """The nodes at or under labels, each with the label. Raises NoSuchLabelError."""
    found: dict[str, str] = {}
    for label in labels:
        nodes = [node for node in graph if node.op.name != "input"]
        names = [n.name for n in nodes if n.name == label or n.name.startswith(f"{label}.")]
        if not names:
            raise NoSuchLabelError(graph, label)
        for name in names:
            found.setdefault(name, label)
    return found


def _labels(graph: Graph) -> list[str]:
    labels: dict[str, None] = {}
    for node in graph:
        parts = node.name.split(".")
        labels.update(dict.fromkeys(".".join(parts[: i + 1]) for i in range(len(parts))))
    return list(labels)
