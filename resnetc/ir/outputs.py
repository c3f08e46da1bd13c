"""A network built up to some of its labels: the values behind them become its outputs."""

from __future__ import annotations

from collections.abc import Iterable

from resnetc.diagnostics import Span, suggest
from resnetc.ir.graph import Graph, NodeId

_LISTED = 6


class NoSuchOutputError(Exception):
    """A label that leads to no value. `close` is the label that was meant, if one is near, and
    `placed` where that one stands."""

    def __init__(
        self, label: str, message: str, close: str | None = None, placed: Span | None = None
    ) -> None:
        super().__init__(message)
        self.label, self.message, self.close, self.placed = label, message, close, placed


def with_outputs(graph: Graph, labels: Iterable[str], *, keep_aux: bool = False) -> Graph:
    """The graph that computes these values and nothing else; its outputs are called by the labels.

    A label is an output's name, the path of a block ("layer2", "layer1.0") or a layer's name
    ("layer1.0.conv1"): the value after it. Where a block is called once more by `reuse`, it is the
    last call's. Weights of the layers that go are remembered as `left_out`.
    Raises NoSuchOutputError.
    """
    outputs = {label: find_output(graph, label) for label in labels}
    aux = graph.aux if keep_aux else {}
    needed = graph.needed_by([*outputs.values(), *aux.values()])
    kept = [node for node in graph if node.id in needed or node.op.name == "input"]
    held = {parameter.path for node in kept for parameter in node.parameters}
    left_out = graph.left_out | (graph.parameters.keys() - held)
    return Graph(graph.name, kept, outputs, graph.scopes, aux, left_out)


def find_output(graph: Graph, label: str) -> NodeId:
    """The node that gives the value after a label. Raises NoSuchOutputError."""
    if label in graph.outputs:
        return graph.outputs[label]
    ends = _ends(graph, label) or [
        node.id for node in graph if node.name == label and node.op.name != "input"
    ]
    if len(ends) > 1:
        names = [graph[end].name for end in ends]
        more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
        raise NoSuchOutputError(
            label,
            f"`{label}` of {graph.name} gives {len(ends)} tensors, so name one of them: "
            f"{', '.join(names[:_LISTED])}{more}",
        )
    if not ends:
        raise _unknown(graph, label)
    if label in graph.parameters:
        raise NoSuchOutputError(
            label,
            f"`{label}` is the name of a parameter of {graph.name}, and an output cannot be called "
            "so too: name the layer behind it or the block around it",
        )
    return ends[0]


def _ends(graph: Graph, path: str) -> list[NodeId]:
    """What the blocks at a path give: values of theirs that none of their own layers reads."""
    inside = _scopes_at(graph, path)
    nodes = {node.id for node in graph if node.scope in inside and node.op.name != "input"}
    lasting = nodes - graph.training_only or nodes
    return [i for i in lasting if not any(user.id in lasting for user in graph.users(i))]


def _scopes_at(graph: Graph, path: str) -> set[int]:
    """The labelled scopes of a path, of calls of one block only the last, and all in them."""
    paths = {scope.id: scope.path for scope in graph.scopes}
    inside: set[int] = set()
    for scope in graph.scopes:
        if scope.parent is None:
            continue
        if scope.path == path != paths[scope.parent]:
            inside = {scope.id} if scope.repeats is not None else inside | {scope.id}
        elif scope.parent in inside:
            inside.add(scope.id)
    return inside


def _unknown(graph: Graph, label: str) -> NoSuchOutputError:
    """The refusal of a label that nothing bears, with the one that is like it."""
    placed: dict[str, Span | None] = dict.fromkeys(graph.outputs)
    alive = {node.scope for node in graph}
    for scope in reversed(graph.scopes):  # a block is alive where one in it is
        if scope.id in alive and scope.parent is not None:
            alive.add(scope.parent)
    placed |= {node.name: node.span for node in graph if node.op.name != "input"}
    placed |= {scope.path: scope.span for scope in graph.scopes[1:] if scope.id in alive}
    close = suggest(label, [known for known in placed if known])
    message = f"no block or layer of {graph.name} is labelled `{label}`"
    return NoSuchOutputError(label, message, close, placed[close] if close else None)
