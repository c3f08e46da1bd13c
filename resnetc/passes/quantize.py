"""Eight bits as ops of the graph: `quantize` and `dequantize` where the placement says so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar

from resnetc.diagnostics import InternalError
from resnetc.ir import Graph, GraphEditor, Node, NodeId, Parameter
from resnetc.ir.parameters import numpy_dtype
from resnetc.ir.quantized import BiasScales, Dequantized, Levels, Scales
from resnetc.ir.verify import Stage
from resnetc.ops import Dequantize, Quantize, Role
from resnetc.passes.base import Pass, unused_name
from resnetc.passes.encoding import Encoding, Range
from resnetc.passes.placement import Placement, place, under
from resnetc.shapes import DType

_SMALLEST = 2.0**-24
"""The smallest float16."""


@dataclass(frozen=True)
class QuantizeLayers(Pass):
    """Let layers compute in eight bits: what they read is quantized and dequantized before them.

    `ranges` are those of the placement's tensors, by name; `keep` are labels of what stays as it
    is. A tensor is quantized once, however many read it. Weights become eight bits with a scale
    for each output channel.
    """

    name: ClassVar[str] = "quantize_layers"
    stages: ClassVar[Mapping[Stage, Stage]] = {
        Stage.FOLDED: Stage.QUANTIZED,
        Stage.FOLDED_TYPED: Stage.QUANTIZED,
    }
    encoding: Encoding
    ranges: Mapping[str, Range] = field(hash=False)
    keep: tuple[str, ...] = ()

    def run(self, graph: Graph) -> Graph:
        """The graph with its layers quantized."""
        placement = place(graph, self.encoding, under(graph, self.keep))
        editor = GraphEditor(graph)
        writer = _Writer(self, placement, editor)
        for node in graph:
            writer.visit(node)
        new = editor.finish()
        return new if editor.changed else graph


class _Writer:
    def __init__(self, options: QuantizeLayers, placement: Placement, editor: GraphEditor) -> None:
        self._options = options
        self._placement = placement
        self._editor = editor
        self._taken = {node.name for node in editor.old}
        self._quantized: dict[NodeId, NodeId] = {}

    def visit(self, node: Node) -> None:
        inputs = tuple(
            self._through(operand)
            if (node.id, index) in self._placement.edges
            else self._editor.value(operand)
            for index, operand in enumerate(node.inputs)
        )
        parameters = node.parameters
        if node.id in self._placement.layers:
            parameters = self._narrow(node)
        self._editor.place(node, inputs, parameters=parameters)

    def _through(self, operand: NodeId) -> NodeId:
        """The operand after it has been eight bits."""
        if operand not in self._quantized:
            node = self._editor.old[operand]
            scale, zero = self._scale(operand)
            value, kind = self._editor.value(operand), self._options.encoding.activations
            there = self._named(node, "quantized")
            back = self._named(node, "dequantized")
            dtype = self._editor.type_of(operand).dtype
            eight = self._editor.derive(node, value, Quantize(scale, zero, kind), there)
            wide = self._editor.derive(node, eight, Dequantize(scale, zero, dtype), back)
            self._quantized[operand] = wide
        return self._quantized[operand]

    def _scale(self, tensor: NodeId) -> tuple[float, int]:
        """Scale and zero point; the scale is a number of the tensor's element type."""
        name = self._placement.range_of(tensor)
        if name not in self._options.ranges:
            raise InternalError(f"the range of {name} is not known")
        kind = numpy_dtype(self._editor.type_of(tensor).dtype).type
        scale, zero = self._options.encoding.scale(self._options.ranges[name])
        return float(kind(scale)) or float(kind(_SMALLEST)), zero

    def _named(self, node: Node, what: str) -> str:
        name = unused_name(self._taken, f"{node.name}.{what}")
        self._taken.add(name)
        return name

    def _narrow(self, node: Node) -> tuple[Parameter, ...]:
        """A layer's weight in eight bits; its bias in steps of the operand's and the weight's."""
        encoding = self._options.encoding
        weight, *rest = node.parameters
        step, _ = self._scale(node.inputs[0])
        bias = next((p.value for p in rest if p.role is Role.BIAS), None)
        counted = bias if encoding.integer_bias else None
        scales = Scales(weight.value, encoding.weight_levels, weight.type.dtype, counted, step)
        levels = Levels(weight.value, scales, encoding.weights)
        made = [replace(weight, value=Dequantized(levels))]
        for each in rest:
            value = each.value
            if encoding.integer_bias and each.role is Role.BIAS:
                value = Dequantized(Levels(value, BiasScales(scales), DType.I32))
            made.append(replace(each, value=value))
        return tuple(made)
