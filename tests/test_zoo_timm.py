"""Options of timm's networks that none of them takes by default."""

from __future__ import annotations

import pytest
import torch
from zoo import timm

import resnetc
from resnetc.ops import Add, DropPath

RATE = 0.1


@pytest.mark.parametrize(
    "name", ["resnet18d", "resnet50d", "res2net50d", "resnest26d", "skresnet34", "resnetv2_50"]
)
def test_stochastic_depth(name: str) -> None:
    """Rates are timm's, unit by unit; dropped is a branch of an addition."""
    graph = resnetc.load(name, drop_path=RATE).graph
    with torch.device("meta"):
        theirs = timm.classifier(name, drop_path_rate=RATE)
    found = [node.op.p for node in graph if isinstance(node.op, DropPath)]
    expected = [m.drop_prob for m in theirs.modules() if type(m).__name__ == "DropPath"]
    # The pre-activated networks compute theirs in float32.
    assert found == pytest.approx(expected, rel=1e-6)
    takers = [
        node.op
        for node in graph
        for operand in node.inputs
        if isinstance(graph[operand].op, DropPath)
    ]
    assert takers == [Add()] * len(expected)
    assert graph.parameters.keys() == resnetc.load(name).graph.parameters.keys()
