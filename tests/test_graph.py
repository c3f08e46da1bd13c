"""The graph's own promises, and its networkx view."""

from __future__ import annotations

import networkx as nx
import pytest

import resnetc
from resnetc.diagnostics import InternalError
from resnetc.ir import Graph, Node
from resnetc.ir.verify import Stage, verify
from resnetc.ops import Add, Identity, Input, Relu
from resnetc.shapes import TensorType

MAP = TensorType((4, 8, 8))


def diamond() -> Graph:
    """x -> relu -> add(relu, relu), and add(add, x)."""
    nodes = [
        Node(0, "input", Input(MAP), (), MAP),
        Node(1, "relu", Relu(), (0,), MAP),
        Node(2, "twice", Add(), (1, 1), MAP),
        Node(3, "sum", Add(), (2, 0), MAP),
    ]
    return Graph("diamond", nodes, {"logits": 3})


def test_operands_keep_their_order_and_number() -> None:
    graph = diamond()
    assert graph[2].inputs == (1, 1)
    assert graph[3].inputs == (2, 0)
    assert [user.name for user in graph.users(1)] == ["twice"]
    assert [user.name for user in graph.users(0)] == ["relu", "sum"]
    verify(graph)


def test_the_networkx_view_is_the_same_graph() -> None:
    graph = resnetc.load("resnet50").graph
    view = graph.nx
    assert nx.is_directed_acyclic_graph(view)
    assert [view.nodes[i]["node"] for i in view] == list(graph)
    assert set(view.edges) == {(i, node.id) for node in graph for i in node.inputs}
    (source,) = [i for i in view if view.in_degree(i) == 0]
    assert nx.descendants(view, source) == set(view) - {source}
    with pytest.raises(nx.NetworkXError, match=r"[Ff]rozen"):
        view.add_edge(0, 1)


def test_the_hash_knows_meaning_and_not_text() -> None:
    first = resnetc.load("resnet20").graph
    assert first.hash == resnetc.load("resnet20").graph.hash
    assert first.hash != resnetc.load("plain20").graph.hash
    assert first.hash != resnetc.load("resnet20", {"norm": "batchnorm(eps=1e-3)"}).graph.hash


@pytest.mark.parametrize(
    ("node", "message"),
    [
        (Node(4, "bad", Relu(), (9,), MAP), "not before it"),
        (Node(3, "bad", Relu(), (0,), MAP), "two nodes have the id 3"),
    ],
)
def test_a_graph_that_cannot_be_is_refused(node: Node, message: str) -> None:
    with pytest.raises(InternalError, match=message):
        Graph("bad", [*diamond(), node], {"logits": 3})


@pytest.mark.parametrize(
    ("node", "stage", "message"),
    [
        (Node(4, "sum", Relu(), (0,), MAP), Stage.SOURCE, "two nodes are called sum"),
        (Node(4, "b", Relu(), (0, 1), MAP), Stage.SOURCE, "2 operands instead of 1"),
        (Node(4, "b", Relu(), (0,), TensorType((4, 8, 7))), Stage.SOURCE, "its op gives 4x8x8"),
        (Node(4, "b", Identity(), (0,), MAP), Stage.INFERENCE, "identity is not legal"),
    ],
)
def test_the_verifier_names_the_broken_promise(node: Node, stage: Stage, message: str) -> None:
    with pytest.raises(InternalError, match=message):
        verify(Graph("bad", [*diamond(), node], {"logits": 3}), stage)
