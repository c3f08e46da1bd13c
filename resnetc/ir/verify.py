"""The verifier: what must hold of every graph, and what each stage allows."""

from __future__ import annotations

from enum import Enum

from resnetc.diagnostics import InternalError
from resnetc.ir.graph import Graph, Node
from resnetc.ops import OPS, OpError


class Stage(Enum):
    """How far a graph has come; the value holds the ops that are not legal there."""

    SOURCE = frozenset({"cast", "channel_affine"})
    INFERENCE = frozenset({"dropout", "identity", "cast"})
    FOLDED = frozenset({"dropout", "identity", "batchnorm", "cast"})
    TYPED = frozenset({"dropout", "identity"})


def verify(graph: Graph, stage: Stage = Stage.SOURCE) -> None:
    """Raise InternalError unless the graph is well formed and legal in this stage.

    A user's mistake never gets here: `lang` has reported it. What fails here is a pass's bug.
    """
    names: set[str] = set()
    owners: dict[str, str] = {}
    for node in graph:
        _verify_node(graph, node, stage)
        if node.name in names:
            raise InternalError(f"two nodes are called {node.name}")
        names.add(node.name)
        for parameter in node.parameters:
            if parameter.path in owners:
                raise InternalError(
                    f"{node.name} and {owners[parameter.path]} own {parameter.path}"
                )
            owners[parameter.path] = node.name
    for name, node_id in graph.outputs.items():
        if node_id not in graph.nx:
            raise InternalError(f"output {name} is not in the graph")


def _verify_node(graph: Graph, node: Node, stage: Stage) -> None:
    op = node.op
    if type(op) is not OPS.get(op.name):
        raise InternalError(f"{node.name}: {op.name} is not an op")
    if op.name in stage.value:
        raise InternalError(f"{node.name}: {op.name} is not legal in stage {stage.name}")
    if op.arity is not None and len(node.inputs) != op.arity:
        raise InternalError(f"{node.name}: {len(node.inputs)} operands instead of {op.arity}")
    try:
        expected = op.result(*graph.operands(node))
    except OpError as error:
        raise InternalError(f"{node.name}: {error.message}") from error
    if node.type != expected:
        raise InternalError(f"{node.name} is {node.type}, but its op gives {expected}")
    shapes = [(spec.type.shape, spec.role) for spec in op.parameters()]
    if shapes != [(p.type.shape, p.role) for p in node.parameters]:
        raise InternalError(f"{node.name}: its parameters are not what {op.name} owns")
