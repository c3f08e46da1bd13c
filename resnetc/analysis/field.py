"""Receptive fields: which pixels of the input an element of a tensor depends on."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

from resnetc.ir import Graph, Node, NodeId
from resnetc.shapes import Size, Window

_START = Window()


@dataclass(frozen=True, slots=True)
class Field:
    """What a tensor's elements see of the input, along both axes.

    Element `i` along an axis sees the `extent` pixels from `start + i * stride` on; the stride is
    the tensor's "jump". Padding counts as pixels, so a field may reach beyond the image.
    """

    height: Window
    width: Window

    @property
    def size(self) -> Size:
        """Pixels seen, as height and width."""
        return math.ceil(self.height.extent), math.ceil(self.width.extent)

    @property
    def jump(self) -> tuple[int | Fraction, int | Fraction]:
        """Pixels between the fields of neighbours, as height and width; a fraction of one where a
        map is larger than the input."""
        return self.height.stride, self.width.stride


def receptive_field(graph: Graph) -> Field:
    """The field of the network's output (of the largest, where there are several)."""
    found = fields(graph)
    return max((found[i] for i in graph.outputs.values()), key=lambda field: field.size)


def last_map_field(graph: Graph) -> Field:
    """The field of the last map with more than one pixel on the way to the first output.

    Of a classifier that is what its global pooling pools: the output itself sees the whole image.
    """
    found = fields(graph)
    last = node = graph[next(iter(graph.outputs.values()))]
    while node.inputs:
        if len(node.type.shape) == 3 and max(node.type.shape[1:]) > 1:
            return found[node.id]
        node = graph[node.inputs[_leading_operand(graph, node)]]
    return found[last.id]


def fields(graph: Graph) -> dict[NodeId, Field]:
    """The field of every node; where branches meet, the union of theirs. Linear."""
    found: dict[NodeId, Field] = {}
    for node in graph:
        if not node.inputs:
            found[node.id] = Field(_START, _START)
            continue
        seen = [_through(graph[operand], node, found[operand]) for operand in node.inputs]
        leading = _leading_operand(graph, node)
        found[node.id] = Field(
            _union([field.height for field in seen], seen[leading].height.stride),
            _union([field.width for field in seen], seen[leading].width.stride),
        )
    return found


def _through(operand: Node, node: Node, field: Field) -> Field:
    """The field behind one operand of an op: its windows, applied to the operand's field."""
    height, width = node.op.windows(operand.type)
    return Field(_compose(field.height, height), _compose(field.width, width))


def _compose(inner: Window, outer: Window) -> Window:
    return Window(
        _whole(inner.extent + (outer.extent - 1) * inner.stride),
        _whole(inner.stride * outer.stride),
        _whole(inner.start + outer.start * inner.stride),
    )


def _whole(number: int | Fraction) -> int | Fraction:
    """An int where it is one."""
    return int(number) if number == int(number) else number


def _union(windows: list[Window], stride: int | Fraction) -> Window:
    """The smallest window, at the first element, that covers all of these."""
    start = min(window.start for window in windows)
    end = max(window.start + window.extent for window in windows)
    return Window(end - start, stride, start)


def _leading_operand(graph: Graph, node: Node) -> int:
    """The operand whose positions are the output's: the largest. A gate Cx1x1 is never it."""
    sizes = [operand.elements for operand in graph.operands(node)]
    return sizes.index(max(sizes))
