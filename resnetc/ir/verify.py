"""The verifier: what must hold of every graph, and what each stage allows."""

from __future__ import annotations

from enum import Enum

from resnetc.diagnostics import InternalError
from resnetc.ir.graph import Graph, Node
from resnetc.ir.parameters import Parameter
from resnetc.ops import OPS, OpError
from resnetc.shapes import DType

_TRAINING = frozenset({"dropout", "drop_path", "identity", "ws_conv2d"})
"""What a graph for inference does without."""


_EIGHT_BITS = frozenset({"quantize", "dequantize"})
"""What only a quantized graph holds."""


class Stage(Enum):
    """How far a graph has come; the value holds the ops that are not legal there."""

    SOURCE = frozenset({"cast", "channel_affine"}) | _EIGHT_BITS
    """As lowered from a spec."""
    INFERENCE = _TRAINING | _EIGHT_BITS | {"channel_affine", "cast"}
    """Without what matters in training only."""
    FOLDED = _TRAINING | _EIGHT_BITS | {"batchnorm", "cast"}
    """Batch norms have become biases and scales."""
    TYPED = _TRAINING | _EIGHT_BITS | {"channel_affine"}
    """Element types are chosen; batch norms are kept."""
    FOLDED_TYPED = _TRAINING | _EIGHT_BITS | {"batchnorm"}
    """Element types are chosen, after folding."""
    QUANTIZED = _TRAINING | {"batchnorm"}
    """Layers compute with numbers of eight bits, between `quantize` and `dequantize`."""


def verify(graph: Graph, stage: Stage = Stage.SOURCE) -> None:
    """Raise InternalError unless the graph is well formed and legal in this stage.

    A user's mistake never gets here: `lang` has reported it. What fails here is a pass's bug.
    A graph never changes, so its form is looked at once, and of the graph that a pass makes of it
    only what is not as it was.
    """
    if len(graph.verified) < len(graph):
        _verify_form(graph)
        graph.verified.update(node.id for node in graph)
    _require_legal(graph, stage)


def _verify_form(graph: Graph) -> None:
    names: set[str] = set()
    owners: dict[str, tuple[str, Parameter]] = {}
    seen: set[tuple[int, ...]] = set()
    for node in graph:
        # Copies of a block share their ops and types: the like of a node need not be looked at.
        if node.id not in graph.verified and (like := likeness(graph, node)) not in seen:
            _verify_node(graph, node)
            _verify_element_types(graph, node)
            seen.add(like)
        if node.name in names:
            raise InternalError(f"two nodes are called {node.name}")
        names.add(node.name)
        for parameter in node.parameters:
            name, first = owners.setdefault(parameter.path, (node.name, parameter))
            if first is not parameter and not (parameter.shared and parameter == first):
                raise InternalError(f"{node.name} and {name} own {parameter.path}")
    for name, node_id in graph.results.items():
        if node_id not in graph:
            raise InternalError(f"output {name} is not in the graph")
    if both := graph.outputs.keys() & graph.aux.keys():
        raise InternalError(f"output {min(both)} is also an auxiliary one")


def _require_legal(graph: Graph, stage: Stage) -> None:
    for node in graph:
        if node.op.name in stage.value:
            raise InternalError(f"{node.name}: {node.op.name} is not legal in stage {stage.name}")
    if graph.aux and stage is not Stage.SOURCE:
        raise InternalError(f"{min(graph.aux)} is of training only: not legal in {stage.name}")


def likeness(graph: Graph, node: Node) -> tuple[int, ...]:
    """What a node is judged by: identities of its op, its type, its operands' and parameters'.

    Nodes of a graph that are equal in this are copies of one another but for names and values.
    """
    known = [id(node.op), id(node.type), len(node.inputs)]
    for operand in node.inputs:
        known.append(id(graph[operand].type))
    for parameter in node.parameters:
        known += id(parameter.type), id(parameter.role)
    return tuple(known)


def _verify_node(graph: Graph, node: Node) -> None:
    op = node.op
    if type(op) is not OPS.get(op.name):
        raise InternalError(f"{node.name}: {op.name} is not an op")
    if not node.inputs and op.arity != 0:
        raise InternalError(f"{node.name}: {op.name} has no operands")
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


def _verify_element_types(graph: Graph, node: Node) -> None:
    """Operands and parameters meet in one element type; nothing is converted in passing."""
    types = {operand.dtype for operand in graph.operands(node)}
    types |= {p.type.dtype for p in node.parameters if p.type.dtype is not DType.I64}
    if len(types) > 1:
        met = " and ".join(sorted(dtype.value for dtype in types))
        raise InternalError(f"{node.name}: {met} meet here without a cast")
