"""What a network costs: a record that adds up, from the rules each op states of itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

from resnetc.analysis.memory import inference_bytes, training_bytes
from resnetc.ir import Graph, Node, NodeId, Parameter

CONVENTIONS = {
    "params": "trainable numbers: weights, biases, scales, shifts",
    "buffers": "numbers kept but not trained: running statistics and their counters",
    "macs": "multiply-accumulates of convolutions and matrix products; the paper's FLOPs",
    "flops": "2 per multiply-accumulate, 2 per element of a batch norm, 1 per element of an "
    "activation, an addition, a bias and a pooling window",
    "activations": "elements written; the input and views are not",
    "peak_inference_bytes": "most bytes of input and activations alive at once, each until its "
    "last reader has run; nothing fused or in place",
    "peak_training_bytes": "the same over forward and backward: what a gradient is computed from "
    "is kept until then, each gradient has memory of its own; weights, their gradients, optimizer "
    "state and workspace not included",
    "receptive_field": "input pixels an element depends on, padding included",
}
"""What each figure counts, in words."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Cost of an op, a stage or a network; `CONVENTIONS` says what each field counts.

    Work is that of inference: of an auxiliary head only the parameters count, and its part in the
    training peak.

    Costs of parts add up to the cost of the whole: counts are summed, peaks are not, since parts
    run one after another: the larger one stays.
    """

    params: int = 0
    buffers: int = 0
    macs: int = 0
    flops: int = 0
    activations: int = 0
    peak_inference_bytes: int = 0
    peak_training_bytes: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.params + other.params,
            self.buffers + other.buffers,
            self.macs + other.macs,
            self.flops + other.flops,
            self.activations + other.activations,
            max(self.peak_inference_bytes, other.peak_inference_bytes),
            max(self.peak_training_bytes, other.peak_training_bytes),
        )

    def to_json(self) -> dict[str, int]:
        """The fields by name."""
        return asdict(self)


def cost(graph: Graph) -> Cost:
    """Cost of the whole network, per sample; linear in the number of nodes."""
    return sum(node_costs(graph).values(), Cost())


def owned_parameters(graph: Graph) -> Iterator[tuple[Node, list[Parameter]]]:
    """Each node with the parameters that count as its own: shared ones are the first one's."""
    held: set[str] = set()
    for node in graph:
        owned = [p for p in node.parameters if p.path not in held]
        held.update(p.path for p in owned)
        yield node, owned


def node_costs(graph: Graph) -> dict[NodeId, Cost]:
    """Cost of each node in its place; the peaks are the bytes alive in the graph as it runs.

    Parameters that several nodes share are the first one's.
    """
    inference, training = inference_bytes(graph), training_bytes(graph)
    return _node_costs(graph, inference, training)


def node_counts(graph: Graph) -> dict[NodeId, Cost]:
    """The same without the peaks, which take longer to find than all the rest."""
    none = dict.fromkeys((node.id for node in graph), 0)
    return _node_costs(graph, none, none)


def _node_costs(
    graph: Graph, inference: Mapping[NodeId, int], training: Mapping[NodeId, int]
) -> dict[NodeId, Cost]:
    return {
        node.id: _node_cost(graph, node, owned, inference[node.id], training[node.id])
        for node, owned in owned_parameters(graph)
    }


def _node_cost(
    graph: Graph, node: Node, owned: Sequence[Parameter], inference: int, training: int
) -> Cost:
    op = node.op
    idle = node.id in graph.training_only
    macs = 0 if idle else op.macs(node.type)
    steps = 0 if idle else op.elementwise_flops(graph.operands(node), node.type)
    trained = sum(p.type.elements for p in owned if p.role.trainable)
    held = sum(p.type.elements for p in owned)
    return Cost(
        params=trained,
        buffers=held - trained,
        macs=macs,
        flops=2 * macs + steps,
        activations=0 if idle or op.view or op.name == "input" else node.type.elements,
        peak_inference_bytes=inference,
        peak_training_bytes=training,
    )
