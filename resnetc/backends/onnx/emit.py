"""From graph nodes to ONNX nodes: one emitter per op."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from onnx import NodeProto, TensorProto, ValueInfoProto, helper

from resnetc.backends.base import complete_table
from resnetc.diagnostics import InternalError
from resnetc.ir import Graph, Node, NodeId, Parameter
from resnetc.ops import (
    Add,
    AvgPool,
    BatchNorm,
    Cast,
    ChannelAffine,
    Concat,
    Conv2d,
    Dropout,
    Flatten,
    GlobalAvgPool,
    Identity,
    Input,
    Linear,
    MaxPool,
    Mul,
    Op,
    PadChannels,
    Relu,
    Sigmoid,
    Subsample,
)
from resnetc.passes.base import unused_name
from resnetc.shapes import DType, Size, TensorType

T = TypeVar("T", bound=Op)

ELEMENT_TYPES: Mapping[DType, int] = {
    DType.F32: TensorProto.FLOAT,
    DType.F16: TensorProto.FLOAT16,
    DType.BF16: TensorProto.BFLOAT16,
    DType.F64: TensorProto.DOUBLE,
    DType.I64: TensorProto.INT64,
}
BATCH = "N"
"""Name of a dynamic batch."""


@dataclass(frozen=True)
class Initializer:
    """A parameter as an initializer: its name is the parameter's path, `dims` its shape here."""

    parameter: Parameter
    dims: tuple[int, ...]

    @property
    def bytes(self) -> int:
        return self.parameter.type.bytes


@dataclass
class Emission:
    """The growing ONNX graph. Tensors are called like the nodes that give them."""

    graph: Graph
    batch: int | None = None
    nodes: list[NodeProto] = field(default_factory=list)
    initializers: list[Initializer] = field(default_factory=list)
    constants: list[TensorProto] = field(default_factory=list)
    tensors: dict[NodeId, str] = field(default_factory=dict)
    _taken: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._taken = {*self.graph.parameters, *self.graph.outputs}
        for name, node_id in self.graph.outputs.items():
            if self.graph[node_id].op.name != "input":
                self.tensors.setdefault(node_id, name)
        for node in self.graph:
            if node.id not in self.tensors:
                self.tensors[node.id] = self._fresh(node.name)

    def _fresh(self, wanted: str) -> str:
        name = unused_name(self._taken, wanted)
        self._taken.add(name)
        return name

    def operands(self, node: Node) -> list[str]:
        return [self.tensors[operand] for operand in node.inputs]

    def add(self, kind: str, node: Node, inputs: Sequence[str], **attributes: Any) -> None:
        """The ONNX node that gives the graph node's tensor, and takes its name."""
        output = self.tensors[node.id]
        self.nodes.append(helper.make_node(kind, inputs, [output], node.name, **attributes))

    def step(
        self, kind: str, node: Node, label: str, inputs: Sequence[str], **attributes: Any
    ) -> str:
        """An ONNX node on the way to a graph node's tensor; returns its output's name."""
        name = self._fresh(f"{node.name}.{label}")
        self.nodes.append(helper.make_node(kind, inputs, [name], name, **attributes))
        return name

    def parameters(self, node: Node, count: int | None = None) -> list[str]:
        """Names of a node's (first) parameters, which become initializers."""
        held = node.parameters[:count]
        self.initializers += [Initializer(p, p.type.shape) for p in held]
        return [p.path for p in held]

    def reshaped(self, parameter: Parameter, dims: tuple[int, ...]) -> str:
        self.initializers.append(Initializer(parameter, dims))
        return parameter.path

    def integers(self, node: Node, label: str, values: Sequence[int]) -> str:
        """A constant vector of int64, for operands that are attributes in spirit."""
        name = self._fresh(f"{node.name}.{label}")
        data = b"".join(value.to_bytes(8, "little", signed=True) for value in values)
        self.constants.append(
            helper.make_tensor(name, TensorProto.INT64, [len(values)], data, raw=True)
        )
        return name

    def value_info(self, name: str, type: TensorType) -> ValueInfoProto:
        dims = [BATCH if self.batch is None else self.batch, *type.shape]
        return helper.make_tensor_value_info(name, ELEMENT_TYPES[type.dtype], dims)


def emit(graph: Graph, batch: int | None) -> Emission:
    """Emit a graph that :func:`resnetc.passes.lower_for_inference` has made."""
    emission = Emission(graph, batch)
    for node in graph:
        if node.op.name == "input":
            continue
        if type(node.op) not in EMITTERS:
            raise InternalError(f"{node.name}: {REFUSED[type(node.op)]}")
        EMITTERS[type(node.op)](emission, node)
    for name, node_id in graph.outputs.items():
        if (tensor := emission.tensors[node_id]) != name:
            emission.nodes.append(helper.make_node("Identity", [tensor], [name], name))
    return emission


# ------------------------------------------------------------------------------------- emitters


def _conv(emission: Emission, node: Node) -> None:
    op = _as(node, Conv2d)
    operands = [*emission.operands(node), *emission.parameters(node)]
    emission.add(
        "Conv",
        node,
        operands,
        kernel_shape=op.kernel,
        strides=op.stride,
        pads=(*op.pad, *op.pad),
        dilations=op.dilation,
        group=op.groups,
    )


def _linear(emission: Emission, node: Node) -> None:
    operands = [*emission.operands(node), *emission.parameters(node)]
    emission.add("Gemm", node, operands, transB=1)


def _batch_norm(emission: Emission, node: Node) -> None:
    operands = [*emission.operands(node), *emission.parameters(node, 4)]
    emission.add("BatchNormalization", node, operands, epsilon=_as(node, BatchNorm).eps)


def _channel_affine(emission: Emission, node: Node) -> None:
    """A 1x1 convolution of each channel by itself: one node, and one that runtimes can fuse."""
    channels = _as(node, ChannelAffine).channels
    scale, shift = node.parameters
    weight = emission.reshaped(scale, (channels, 1, 1, 1))
    bias = emission.reshaped(shift, (channels,))
    operands = [*emission.operands(node), weight, bias]
    emission.add("Conv", node, operands, kernel_shape=(1, 1), group=channels)


def _plain(kind: str, **attributes: Any) -> Emitter:
    """An op that has an ONNX op of its own, with fixed attributes."""

    def emitter(emission: Emission, node: Node) -> None:
        emission.add(kind, node, emission.operands(node), **attributes)

    return emitter


def _chain(kind: str) -> Emitter:
    """A merge of many operands as a chain of two-operand nodes, which every runtime has."""

    def emitter(emission: Emission, node: Node) -> None:
        total, *others = emission.operands(node)
        for i, other in enumerate(others[:-1], 1):
            total = emission.step(kind, node, str(i), [total, other])
        emission.add(kind, node, [total, others[-1]])

    return emitter


def _max_pool(emission: Emission, node: Node) -> None:
    op = _as(node, MaxPool)
    end, _ = _window_end(emission, node, op)
    window = {"kernel_shape": op.kernel, "strides": op.stride, "pads": (*op.pad, *end)}
    emission.add("MaxPool", node, emission.operands(node), **window)


def _avg_pool(emission: Emission, node: Node) -> None:
    """torch counts the padding but never what a last window of ceil mode reaches beyond it.

    ONNX counts all padding or none: where both kinds meet, the counted one becomes a Pad.
    """
    op = _as(node, AvgPool)
    end, overhang = _window_end(emission, node, op)
    operands = emission.operands(node)
    begin, counted = op.pad, op.count_pad
    if op.count_pad and max(overhang) > 0:
        if max(op.pad) > 0:
            pads = (0, 0, *op.pad, 0, 0, *op.pad)
            pad = emission.integers(node, "pads", pads)
            operands = [emission.step("Pad", node, "pad", [*operands, pad])]
        begin, end, counted = (0, 0), overhang, False
    emission.add(
        "AveragePool",
        node,
        operands,
        kernel_shape=op.kernel,
        strides=op.stride,
        pads=(*begin, *end),
        count_include_pad=int(counted),
    )


def _window_end(emission: Emission, node: Node, op: MaxPool | AvgPool) -> tuple[Size, Size]:
    """Padding behind each axis that gives the graph's output size without ceil mode, and how far
    it goes beyond the op's own. Runtimes have disagreed about ceil mode for years."""
    size = emission.graph[node.inputs[0]].type.shape[1:]
    overhang = [
        max(0, (extent - 1) * op.stride[i] + op.kernel[i] - size[i] - 2 * op.pad[i])
        for i, extent in enumerate(node.type.shape[1:])
    ]
    end = (op.pad[0] + overhang[0], op.pad[1] + overhang[1])
    return end, (overhang[0], overhang[1])


def _subsample(emission: Emission, node: Node) -> None:
    """The maximum of single pixels: keeps every `stride`-th, without a slice's four constants."""
    stride = _as(node, Subsample).stride
    emission.add("MaxPool", node, emission.operands(node), kernel_shape=(1, 1), strides=stride)


def _pad_channels(emission: Emission, node: Node) -> None:
    op = _as(node, PadChannels)
    after = op.to - op.before - emission.graph[node.inputs[0]].type.shape[0]
    pads = emission.integers(node, "pads", (0, op.before, 0, 0, 0, after, 0, 0))
    emission.add("Pad", node, [*emission.operands(node), pads])


def _cast(emission: Emission, node: Node) -> None:
    emission.add("Cast", node, emission.operands(node), to=ELEMENT_TYPES[_as(node, Cast).to])


def _as(node: Node, kind: type[T]) -> T:
    if not isinstance(node.op, kind):
        raise InternalError(f"{node.name} is no {kind.name}")
    return node.op


Emitter = Callable[[Emission, Node], None]

REFUSED: Mapping[type[Op], str] = {
    Input: "an input is a value of the file, not a node",
    Identity: "the pass for_inference leaves none",
    Dropout: "the pass for_inference leaves none",
}
EMITTERS: Mapping[type[Op], Emitter] = complete_table(
    "onnx",
    {
        Conv2d: _conv,
        Linear: _linear,
        BatchNorm: _batch_norm,
        ChannelAffine: _channel_affine,
        Relu: _plain("Relu"),
        Sigmoid: _plain("Sigmoid"),
        Cast: _cast,
        MaxPool: _max_pool,
        AvgPool: _avg_pool,
        GlobalAvgPool: _plain("GlobalAveragePool"),
        Flatten: _plain("Flatten", axis=1),
        Subsample: _subsample,
        PadChannels: _pad_channels,
        Add: _chain("Add"),
        Mul: _chain("Mul"),
        Concat: _plain("Concat", axis=1),
    },
    REFUSED,
)
