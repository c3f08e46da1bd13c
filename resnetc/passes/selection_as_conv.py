"""Shortcut option A in the form that inference runtimes fuse."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from resnetc.ir import Graph, GraphEditor, Node, Parameter
from resnetc.ir.parameters import Selection
from resnetc.ir.verify import Stage
from resnetc.ops import Conv2d, PadChannels, Role, Subsample
from resnetc.passes.base import Pass, unused_name
from resnetc.shapes import TensorType


@dataclass(frozen=True)
class SelectionAsConv(Pass):
    """`subsample` and `pad_channels` in a row become one strided 1x1 convolution of zeros and ones.

    The numbers are the same to the bit. Runtimes fuse a convolution, the sum after it and the
    ReLU only while the shortcut stays in their blocked layout, which a slice and a pad leave:
    CIFAR ResNet-110 has 36 of 54 sums unfused with them and none without.
    """

    name: ClassVar[str] = "selection_as_conv"
    stages: ClassVar[Mapping[Stage, Stage]] = {
        Stage.INFERENCE: Stage.INFERENCE,
        Stage.FOLDED: Stage.FOLDED,
    }

    def run(self, graph: Graph) -> Graph:
        """The graph with its selections as convolutions; most networks have none."""
        has_one = any(isinstance(node.op, Subsample) for node in graph)
        return super().run(graph) if has_one else graph

    def visit(self, editor: GraphEditor, node: Node) -> None:
        source = _selected(editor.old, node)
        if source is None:
            editor.keep(node)
            return
        pad, stride = _pair(node, source)
        channels = editor.type_of(source.inputs[0]).shape[0]
        path = unused_name(editor.old.parameters, f"{node.name}.weight")
        weight = Parameter(
            path,
            TensorType((pad.to, channels, 1, 1), node.type.dtype),
            Role.WEIGHT,
            Selection(channels, pad.to, pad.before),
        )
        op = Conv2d(channels, pad.to, kernel=(1, 1), stride=stride)
        editor.replace(replace(node, inputs=source.inputs), op, (weight,))


def _selected(graph: Graph, node: Node) -> Node | None:
    """The node before this one, if the two are a subsample and a pad, in either order."""
    if node.op.name not in ("subsample", "pad_channels"):
        return None
    source = graph[node.inputs[0]]
    return source if {source.op.name, node.op.name} == {"subsample", "pad_channels"} else None


def _pair(node: Node, source: Node) -> tuple[PadChannels, tuple[int, int]]:
    ops = (node.op, source.op)
    pad = next(op for op in ops if isinstance(op, PadChannels))
    return pad, next(op.stride for op in ops if isinstance(op, Subsample))
