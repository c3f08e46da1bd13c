"""Batch normalization in inference is an affine map per channel: put it into the convolution.

With running statistics, `bn(conv(x)) = (gamma / sqrt(var + eps)) * (W x + b - mean) + beta`, which
is a convolution with scaled rows and another bias (Ioffe and Szegedy 2015, section 3.2).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
        convs = _folding(graph)
        gone = {conv.id for conv in convs.values()}
        editor = GraphEditor(graph)
        biased: dict[int, Op] = {}  # copies of a block share their ops
        for node in graph:
            if node.id in convs:
                # In the norm's place: what reads the norm stays as it is.
                conv = convs[node.id]
                if id(conv.op) not in biased:
                    biased[id(conv.op)] = _biased(conv)
                editor.replace(conv, biased[id(conv.op)], _folded(conv, node), at=node)
            elif isinstance(node.op, BatchNorm):
                editor.replace(node, ChannelAffine(node.op.channels), _affine(node))
            elif node.id not in gone:
                editor.keep(node)
        new = editor.finish()
        return new if editor.changed else graph


def _folding(graph: Graph) -> dict[NodeId, Node]:
    """The convolution that takes each norm in, by the norm's id."""
    norms: dict[NodeId, Node] = {}
    uses: dict[str, list[Node]] = {}
    for conv in graph:
        if isinstance(conv.op, _LINEAR):
            norm = _only_reader(graph, conv)
            if norm is not None:
                norms[conv.id] = norm
            if conv.parameters[0].shared:
                uses.setdefault(conv.parameters[0].path, []).append(conv)
    for shared in uses.values():
        if not _same_norm([norms.get(conv.id) for conv in shared]):
            for conv in shared:
                norms.pop(conv.id, None)
    return {norm.id: graph[conv] for conv, norm in norms.items()}


def _same_norm(norms: Sequence[Node | None]) -> bool:
    """Whether all uses of one weight, which can be folded into once, take in the same norm."""
    first, *others = norms
    return first is not None and all(
        norm is not None and (norm.op, norm.parameters) == (first.op, first.parameters)
        for norm in others
    )


def _only_reader(graph: Graph, conv: Node) -> Node | None:
    """The batch norm that reads this convolution, if nothing else does."""
    users = graph.users(conv.id)
    alone = len(users) == 1 and conv.id not in graph.outputs.values()
    return users[0] if alone and isinstance(users[0].op, BatchNorm) else None


def _biased(conv: Node) -> Op:
    if not isinstance(conv.op, _LINEAR):
        raise InternalError(f"{conv.name} takes no norm in")
    return replace(conv.op, bias=True)


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
        Parameter(weight.path, weight.type, weight.role, scaled, weight.shared),
        Parameter(
            _sibling(weight.path, "bias"), norm.parameters[0].type, Role.BIAS, shift, weight.shared
        ),
    )


def _affine(norm: Node) -> tuple[Parameter, ...]:
    gamma, beta, *_ = norm.parameters
    scale, shift = _norm_values(norm, None)
    return replace(gamma, value=scale), replace(beta, value=shift)


def _norm_values(norm: Node, bias: Value | None) -> tuple[NormScale, NormShift]:
    if not isinstance(norm.op, BatchNorm):
        raise InternalError(f"{norm.name} is no batch norm")
    gamma, beta, mean, variance, *_ = (parameter.value for parameter in norm.parameters)
    scale = NormScale(gamma, variance, norm.op.eps)
    return scale, NormShift(beta, mean, scale, bias)


def _sibling(path: str, name: str) -> str:
    """The path of another parameter of the same module."""
    module, dot, _ = path.rpartition(".")
    return f"{module}{dot}{name}"
