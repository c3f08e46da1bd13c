"""Auxiliary heads in the language."""

from __future__ import annotations

import pytest
from heads import HEAD, graph
from spec_files import Folder, folder, weights

from resnetc.ir import Graph

__all__ = ["folder", "graph"]


def test_a_head_stands_beside_what_flows(graph: Graph) -> None:
    assert list(graph.outputs) == ["logits"]
    assert list(graph.aux) == ["near", "deep"]
    assert "near.fc.weight" in weights(graph)
    assert "layer1.deep.weight" in weights(graph)
    # The head changes nothing before or behind it, and its unlabelled layers take indices as any.
    assert [path for path in weights(graph) if path.startswith("layer1")] == [
        "layer1.0.weight",
        "layer1.1.weight",
        "layer1.deep.weight",
        "layer1.3.weight",
        "layer1.6.weight",
        "layer1.7.weight",
    ]
    (conv,) = (node for node in graph if node.name == "layer1.7")
    (before,) = (graph[i] for i in conv.inputs)
    assert before.name == "layer1.2"


@pytest.mark.parametrize("head", ["head(5)", "if_none"])
def test_a_head_that_is_none_is_left_out(folder: Folder, head: str) -> None:
    text = f"""
{HEAD}
network n(if_none: layer? = none) {{
  input 4x8x8
  conv1: conv(3x3)
  aux a: {head}
  gap
}}
"""
    assert list(folder.graph(text).aux) == (["a"] if head == "head(5)" else [])


def test_names_in_a_head_stay_there(folder: Folder) -> None:
    text = f"{HEAD}\nnetwork n {{ input 4x8x8  aux a: conv(3x3) as t -> gap  from t -> relu }}"
    assert folder.codes(text) == ["E0201"]


def test_a_mistake_in_a_head_leaves_the_network_checked(folder: Folder) -> None:
    text = "network n { input 4x8x8  aux a: conv(9x9, pad=0)  conv1: conv(3x3)  gap -> conv(2x2) }"
    assert len(folder.codes(text)) == 2


def test_an_output_named_like_a_head(folder: Folder) -> None:
    text = "network n { input 4x8x8  aux logits: conv(3x3)  gap }"
    assert folder.codes(text) == ["E0206"]
    text = "network n { input 4x8x8  aux y: conv(3x3)  gap as y  output y }"
    assert folder.codes(text) == ["E0206"]


def test_a_label_may_still_be_called_aux(folder: Folder) -> None:
    assert weights(folder.body("aux: conv(3x3) aux aux1: conv(1x1) aux reuse: conv(1x1)")) == [
        "aux.weight",
        "aux1.weight",
        "reuse.weight",
    ]


def test_in_a_branch_and_a_loop(folder: Folder) -> None:
    graph = folder.body(
        'add { | conv1: conv(3x3)  aux a: relu  | for i in 0..2 { "c{i}": conv(3x3)  '
        'aux "b{i}": gap } }'
    )
    assert list(graph.aux) == ["a", "b0", "b1"]
