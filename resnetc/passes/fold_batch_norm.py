"""Batch normalization in inference is an affine map per channel: put it into the convolution.

With running statistics, `bn(conv(x)) = (gamma / sqrt(var + eps)) * (W x + b - mean) + beta`, which
is a convolution with scaled rows and another bias (Ioffe and Szegedy 2015, section 3.2).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from resnetc.diagnostics import InternalError
from resnetc.ir import Graph, GraphEditor, Node, NodeId, Parameter
from resnetc.ir.parameters import NormScale, NormShift, ScaledColumns, ScaledRows, Value
from resnetc.ir.verify import Stage
from resnetc.ops import BatchNorm, ChannelAffine, Conv2d, ConvTranspose2d, Op, PixelLinear, Role
from resnetc.passes.base import Pass

_LINEAR = (Conv2d, ConvTranspose2d, PixelLinear)
"""Ops that take a batch norm in: each output channel is a sum of products with its own weights."""


@dataclass(frozen=True)
class FoldBatchNorm(Pass):
    """Every batch norm becomes part of the convolution before it, or a `channel_affine`.

    A norm is folded when the convolution's output goes to it alone. A convolution that is reused
    takes its norm in where the same norm follows it everywhere. The folded convolution's
    arrays are called `<conv>.weight` and `<conv>.bias`; those of a `channel_affine`
    `<norm>.weight` and `<norm>.bias`. No array is touched: parameters get new values, evaluated
    in float64 when an artefact is written.
    """

    name: ClassVar[str] = "fold_batch_norm"
    stages: ClassVar[Mapping[Stage, Stage]] = {Stage.INFERENCE: Stage.FOLDED}

    def run(self, graph: Graph) -> Graph:
        """The graph without batch norms."""
        norms = _norms(graph)
        editor = GraphEditor(graph)
        biased: dict[int, Op] = {}  # copies of a block share their ops
        for node in graph:
            if isinstance(node.op, _LINEAR) and node.id in norms:
                if id(node.op) not in biased:
                    biased[id(node.op)] = replace(node.op, bias=True)
                editor.replace(node, biased[id(node.op)], _folded(node, norms[node.id]))
            elif not isinstance(node.op, BatchNorm):
                editor.keep(node)
            elif norms.get(node.inputs[0]) is node:
                editor.forward(node, node.inputs[0])
            else:
                editor.replace(node, ChannelAffine(node.op.channels), _affine(node))
        new = editor.finish()
        return new if editor.changed else graph


def _norms(graph: Graph) -> dict[NodeId, Node]:
    """The norm that each convolution takes in. All uses of one weight take in the same, or none."""
    norms: dict[NodeId, Node] = {}
    fates: dict[str, set[object]] = {}
    convs = [node for node in graph if isinstance(node.op, _LINEAR)]
    for conv in convs:
        norm = _only_reader(graph, conv)
        if norm is not None:
            norms[conv.id] = norm
        fate = None if norm is None else (norm.op, norm.parameters)
        fates.setdefault(conv.parameters[0].path, set()).add(fate)
    for conv in convs:
        if len(fates[conv.parameters[0].path]) > 1:
            norms.pop(conv.id, None)
    return norms


def _only_reader(graph: Graph, conv: Node) -> Node | None:
    """The batch norm that reads this convolution, if nothing else does."""
    users = graph.users(conv.id)
    alone = len(users) == 1 and conv.id not in graph.outputs.values()
    return users[0] if alone and isinstance(users[0].op, BatchNorm) else None


def _folded(conv: Node, norm: Node) -> tuple[Parameter, ...]:
    weight = conv.parameters[0]
    scaled: Value
    bias = conv.parameters[1].value if len(conv.parameters) > 1 else None
    scale, shift = _norm_values(norm, bias)
    if isinstance(conv.op, ConvTranspose2d):
        scaled = ScaledColumns(weight.value, scale, conv.op.groups)
    else:
        scaled = ScaledRows(weight.value, scale)
    return (
        replace(weight, value=scaled),
        Parameter(
            _sibling(weight.path, "bias"), norm.parameters[0].type, Role.BIAS, shift, weight.shared
        ),
    )


def _affine(norm: Node) -> tuple[Parameter, ...]:
    held = {p.role: p for p in norm.parameters}
    scale, shift = _norm_values(norm, None)
    return (
        replace(held[Role.SCALE], value=scale),
        replace(held[Role.SHIFT], value=shift),
    )


def _norm_values(norm: Node, bias: Value | None) -> tuple[NormScale, NormShift]:
    if not isinstance(norm.op, BatchNorm):
        raise InternalError(f"{norm.name} is no batch norm")
    held = {p.role: p.value for p in norm.parameters}
    scale = NormScale(held[Role.SCALE], held[Role.VARIANCE], norm.op.eps)
    return scale, NormShift(held[Role.SHIFT], held[Role.MEAN], scale, bias)


def _sibling(path: str, name: str) -> str:
    """The path of another parameter of the same module."""
    module, dot, _ = path.rpartition(".")
    return f"{module}{dot}{name}"
