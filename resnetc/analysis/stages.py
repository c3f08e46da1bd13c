"""A network by stages, as the paper's Table 1 has it: conv1, maxpool, layer1 ... head."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from resnetc.analysis.cost import Cost, node_costs
from resnetc.analysis.field import Field, fields
from resnetc.ir import Graph, Node, NodeId
from resnetc.shapes import TensorType

HEAD = "head"

_OPENS_A_ROW = ("conv2d", "linear", "maxpool", "avgpool")
"""Ops outside any block that stand in a row of their own; others join the row before them."""


@dataclass(frozen=True)
class StageReport:
    """One row: what leaves the stage, what the stage costs, what an element there sees.

    `layers` counts ops with weights (convolutions and matrix products, projections included).
    The costs of all stages add up to the network's. A row of `training` is an auxiliary head.
    """

    label: str
    output: TensorType
    layers: int
    cost: Cost
    field: Field
    training: bool = False

    def to_json(self) -> dict[str, Any]:
        """The row for machines; sizes are height and width."""
        return {
            "label": self.label,
            "output": list(self.output.shape),
            "dtype": self.output.dtype.value,
            "layers": self.layers,
            **self.cost.to_json(),
            "receptive_field": list(self.field.size),
            "jump": [n if isinstance(n, int) else float(n) for n in self.field.jump],
            **({"training": True} if self.training else {}),
        }


_MOST = 0.7
"""A module that does this much of the work is no stage: the stages are in it."""


@dataclass
class _Row:
    label: str
    top_level: bool
    within: str = ""
    training: bool = False
    nodes: list[Node] = field(default_factory=list)


def stages(graph: Graph) -> list[StageReport]:
    """The network's rows in order: one for each top-level label that holds a block, one for each
    convolution or pool beside them, the head from the global pooling on, and the auxiliary heads by
    the names of their outputs. A sequence that holds nearly the whole network, such as VGG's
    `features`, is taken apart as well. Linear."""
    costs, seen = node_costs(graph), fields(graph)
    return [
        StageReport(
            row.label,
            row.nodes[-1].type,
            sum(node.op.name in ("conv2d", "linear") for node in row.nodes),
            sum((costs[node.id] for node in row.nodes), Cost()),
            seen[row.nodes[-1].id],
            row.training,
        )
        for row in (*_rows(graph, _container(graph, costs)), *_heads(graph))
    ]


def _container(graph: Graph, costs: Mapping[NodeId, Cost]) -> str:
    """What paths begin with in the sequence or group that does most of the work; "" without."""
    total = sum(cost.macs for cost in costs.values())
    for scope in graph.scopes:
        if scope.parent == graph.scopes[0].id and scope.block in ("seq", "group") and scope.path:
            prefix = f"{scope.path}."
            done = sum(costs[node.id].macs for node in graph if node.name.startswith(prefix))
            if done > _MOST * total:
                return prefix
    return ""


def _rows(graph: Graph, container: str) -> Iterator[_Row]:
    row: _Row | None = None
    for node in graph:
        if node.op.name == "input" or node.id in graph.training_only:
            continue
        within = container if node.name.startswith(container) else ""
        name, dot, _ = node.name.removeprefix(within).partition(".")
        label = within + name
        if row is None or not _belongs(node, row, label, within, bool(dot)):
            if row is not None:
                yield row
            row = _Row(HEAD if not dot and _pools_all(node) else label, not dot, within)
        row.nodes.append(node)
    if row is not None:
        yield row


def _heads(graph: Graph) -> Iterator[_Row]:
    """A row for each auxiliary output: what it needs and neither an output nor one before it."""
    head = {end: number for number, end in reversed(list(enumerate(graph.aux.values())))}
    for node in reversed(list(graph)):
        for operand in node.inputs if node.id in head else ():
            head[operand] = min(head[node.id], head.get(operand, head[node.id]))
    rows = [_Row(name, True, training=True) for name in graph.aux]
    for node in graph:
        if node.id in graph.training_only:
            rows[head[node.id]].nodes.append(node)
    yield from (row for row in rows if row.nodes)


def _belongs(node: Node, row: _Row, label: str, within: str, in_block: bool) -> bool:
    if in_block:
        return row.label == label
    if row.label == HEAD:
        return True
    beside = row.top_level and row.within == within
    return beside and node.op.name not in _OPENS_A_ROW and not _pools_all(node)


def _pools_all(node: Node) -> bool:
    return node.op.name in ("gap", "flatten")
