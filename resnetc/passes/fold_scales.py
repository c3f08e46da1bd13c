"""Constant factors behind a layer become part of its weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from resnetc.ir import Graph, GraphEditor, Node, NodeId, Parameter
from resnetc.ir.parameters import Numbers, ScaledColumns, ScaledRows, Value
from resnetc.ir.verify import Stage
from resnetc.ops import Affine, ChannelScale, Conv2d, ConvTranspose2d, Linear
from resnetc.passes.base import Pass


@dataclass(frozen=True)
class FoldScales(Pass):
    """A `channel_scale`, or an `affine` that only multiplies, becomes part of the layer before it.

    As ConvNeXt's layer scale (Touvron et al. 2021) and Inception-ResNet's scaled residual. The
    layer must be read by nothing else, and own its weights alone. No array is touched: its
    parameters get new values, evaluated in float64 when an artefact is written.
    """

    name: ClassVar[str] = "fold_scales"
    stages: ClassVar[Mapping[Stage, Stage]] = {Stage.FOLDED: Stage.FOLDED}

    def run(self, graph: Graph) -> Graph:
        """The graph without factors that a layer can take in; most networks have none."""
        layers = {node.id: layer for node in graph if (layer := _layer(graph, node)) is not None}
        if not layers:
            return graph
        gone: set[NodeId] = {layer.id for layer in layers.values()}
        editor = GraphEditor(graph)
        for node in graph:
            if node.id in layers:
                # In the factor's place: what reads the factor stays as it is.
                layer = layers[node.id]
                editor.replace(layer, layer.op, _scaled(layer, _factors(node)), at=node)
            elif node.id not in gone:
                editor.keep(node)
        return editor.finish()


def _layer(graph: Graph, node: Node) -> Node | None:
    """The layer that takes this node in, if it is a factor and there is one."""
    factor = isinstance(node.op, ChannelScale) or (
        isinstance(node.op, Affine) and node.op.shift == (0.0,)
    )
    if not factor:
        return None
    layer = graph[node.inputs[0]]
    alone = len(graph.users(layer.id)) == 1 and layer.id not in graph.outputs.values()
    linear = isinstance(layer.op, Conv2d | ConvTranspose2d | Linear)
    shared = any(parameter.shared for parameter in layer.parameters)
    return layer if alone and linear and not shared else None


def _factors(node: Node) -> Value:
    """A number for each channel."""
    if isinstance(node.op, Affine):
        return Numbers(node.op.scale, node.type.shape[0])
    return node.parameters[0].value


def _scaled(layer: Node, factors: Value) -> tuple[Parameter, ...]:
    weight, *bias = layer.parameters
    scaled: Value
    if isinstance(layer.op, ConvTranspose2d):
        scaled = ScaledColumns(weight.value, factors, layer.op.groups)
    elif isinstance(weight.value, ScaledRows):  # a norm is in it: one product, rounded once
        scaled = ScaledRows(weight.value.weight, ScaledRows(weight.value.scale, factors))
    else:
        scaled = ScaledRows(weight.value, factors)
    return (
        replace(weight, value=scaled),
        *(replace(each, value=ScaledRows(each.value, factors)) for each in bias),
    )
