"""The growing ONNX graph, and how an op's nodes are put into it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, TypeVar

from onnx import NodeProto, TensorProto, helper

from resnetc.backends.onnx.options import DEFAULT_OPSET
from resnetc.backends.onnx.wire import Wire, tensor_type, value
from resnetc.diagnostics import InternalError
from resnetc.ir import Graph, Node, NodeId, Parameter
from resnetc.ir.parameters import numpy_dtype
from resnetc.ir.quantized import Dequantized
from resnetc.ops import Op
from resnetc.passes.base import unused_name
from resnetc.shapes import DType, TensorType

T = TypeVar("T", bound=Op)

ELEMENT_TYPES: Mapping[DType, int] = {
    DType.F32: TensorProto.FLOAT,
    DType.F16: TensorProto.FLOAT16,
    DType.BF16: TensorProto.BFLOAT16,
    DType.F64: TensorProto.DOUBLE,
    DType.I64: TensorProto.INT64,
    DType.I32: TensorProto.INT32,
    DType.I8: TensorProto.INT8,
    DType.U8: TensorProto.UINT8,
    DType.F8: TensorProto.FLOAT8E4M3FN,
}
BATCH = "N"
"""Name of a dynamic batch."""


@dataclass(frozen=True, slots=True)
class Initializer:
    """A parameter as an initializer: its name is the parameter's path, `dims` its shape here."""

    parameter: Parameter
    dims: tuple[int, ...]
    bytes: int


class EmittedNode(NamedTuple):
    """A node's message, the part of it that says what it does, its tensors by name, and its own."""

    content: bytes
    kind: bytes
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    name: str


class Group(NamedTuple):
    """What was emitted for a node of the graph. `tensor` is the value that the node gives; None
    where it has been told already, and is only given another name."""

    node: Node
    tensor: str | None
    nodes: list[EmittedNode]
    initializers: list[Initializer]
    constants: list[TensorProto]


@dataclass
class Emission:
    """The growing ONNX graph. Tensors are called like the nodes that give them.

    `nodes` are messages as bytes, ready to be written; `constants` are few and small, and so are
    objects. `groups` are all of these by the graph node that they were emitted for.
    """

    graph: Graph
    batch: int | None = None
    opset: int = DEFAULT_OPSET
    nodes: list[EmittedNode] = field(default_factory=list)
    groups: list[Group] = field(default_factory=list)
    initializers: list[Initializer] = field(default_factory=list)
    constants: list[TensorProto] = field(default_factory=list)
    tensors: dict[NodeId, str] = field(default_factory=dict)
    _wire: Wire = field(default_factory=Wire)
    _held: dict[str, Initializer] = field(default_factory=dict)
    _floats: dict[str, str] = field(default_factory=dict)
    _taken: set[str] = field(default_factory=set)
    _kinds: dict[tuple[Any, ...], bytes] = field(default_factory=dict)
    _types: dict[int, bytes] = field(default_factory=dict)
    _sizes: dict[int, int] = field(default_factory=dict)

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

    def emit(self, node: Node, emitter: Emitter, tensor: str | None) -> None:
        """Emit what stands for a node of the graph; see `Group`."""
        nodes, held, constants = len(self.nodes), len(self.initializers), len(self.constants)
        emitter(self, node)
        self.groups.append(
            Group(
                node,
                tensor,
                self.nodes[nodes:],
                self.initializers[held:],
                self.constants[constants:],
            )
        )

    def operands(self, node: Node) -> list[str]:
        return [self.tensors[operand] for operand in node.inputs]

    def add(self, kind: str, node: Node, inputs: Sequence[str], **attributes: Any) -> None:
        """The ONNX node that gives the graph node's tensor, and takes its name."""
        self.put(kind, inputs, (self.tensors[node.id],), node.name, **attributes)

    def step(
        self, kind: str, node: Node, label: str, inputs: Sequence[str], **attributes: Any
    ) -> str:
        """An ONNX node on the way to a graph node's tensor; returns its output's name."""
        name = self._fresh(f"{node.name}.{label}")
        self.put(kind, inputs, (name,), name, **attributes)
        return name

    def put(
        self, kind: str, inputs: Sequence[str], outputs: Sequence[str], name: str, **attributes: Any
    ) -> None:
        """An ONNX node, all of it told."""
        rest = self._kind(kind, attributes)
        content = self._wire.node(inputs, outputs, name, rest)
        self.nodes.append(EmittedNode(content, rest, tuple(inputs), tuple(outputs), name))

    def _kind(self, kind: str, attributes: Mapping[str, Any]) -> bytes:
        """The bytes of an op and its attributes: few are different."""
        told = (kind, *attributes, *attributes.values())
        if told not in self._kinds:
            made = [
                helper.make_attribute(key, value)
                for key, value in sorted(attributes.items())
                if value is not None
            ]
            self._kinds[told] = NodeProto(op_type=kind, attribute=made).SerializeToString()
        return self._kinds[told]

    def parameters(
        self, node: Node, count: int | None = None, *, zero_point: bool = False
    ) -> list[str]:
        """Names of a node's (first) parameters, which become initializers."""
        held = node.parameters[:count]
        return [self.reshaped(p, p.type.shape, zero_point=zero_point) for p in held]

    def reshaped(
        self, parameter: Parameter, dims: tuple[int, ...], *, zero_point: bool = False
    ) -> str:
        """The name of a parameter that becomes an initializer, once however often it is used.

        One in eight bits may have a `zero_point` written out: it is 0 without.
        """
        if isinstance(parameter.value, Dequantized):
            return self._dequantized(parameter, parameter.value, dims, zero_point)
        return self._initializer(parameter, dims)

    def _dequantized(
        self, parameter: Parameter, value: Dequantized, dims: tuple[int, ...], zero_point: bool
    ) -> str:
        """A parameter that is stored in eight bits, with its scales: dequantized where it is read,
        once however often that is."""
        if parameter.path in self._floats:
            return self._floats[parameter.path]
        levels = value.levels
        kind = TensorType(parameter.type.shape, levels.dtype)
        stored = replace(parameter, type=kind, value=levels)
        rows = TensorType(parameter.type.shape[:1], parameter.type.dtype)
        scales = replace(
            parameter, path=self._fresh(f"{parameter.path}.scale"), type=rows, value=levels.scales
        )
        name = self._floats[parameter.path] = self._fresh(f"{parameter.path}.dequantized")
        inputs = [self._initializer(stored, dims), self._initializer(scales, rows.shape)]
        if zero_point and levels.dtype is DType.I8:
            zeros = TensorType(rows.shape, DType.I8)
            inputs.append(
                self._constant(f"{parameter.path}.zero_point", zeros, [0] * rows.elements)
            )
        self.put("DequantizeLinear", inputs, [name], name, axis=0)
        return name

    def _initializer(self, parameter: Parameter, dims: tuple[int, ...]) -> str:
        type_ = parameter.type
        size = self._sizes.get(id(type_)) or self._sizes.setdefault(id(type_), type_.bytes)
        new = Initializer(parameter, dims, size)
        held = self._held.setdefault(parameter.path, new)
        if held is new:
            self.initializers.append(new)
        elif held != new:
            raise InternalError(f"{parameter.path} is used in two forms")
        return parameter.path

    def operand_type(self, node: Node) -> TensorType:
        """Type of a node's first operand."""
        return self.graph[node.inputs[0]].type

    def integers(self, node: Node, label: str, values: Sequence[int]) -> str:
        """A constant vector of int64, for operands that are attributes in spirit."""
        name = f"{node.name}.{label}"
        return self._constant(name, TensorType((len(values),), DType.I64), values)

    def numbers(
        self,
        node: Node,
        label: str,
        values: Sequence[float],
        shape: tuple[int, ...],
        dtype: DType | None = None,
    ) -> str:
        """A constant of so many numbers in the node's element type, or another."""
        type_ = TensorType(shape, dtype or node.type.dtype)
        return self._constant(f"{node.name}.{label}", type_, values)

    def _constant(self, wanted: str, type: TensorType, values: Sequence[float]) -> str:
        import numpy as np

        name = self._fresh(wanted)
        data = np.asarray(values, numpy_dtype(type.dtype)).tobytes()
        element = ELEMENT_TYPES[type.dtype]
        self.constants.append(helper.make_tensor(name, element, type.shape, data, raw=True))
        return name

    def value_info(self, name: str, type: TensorType) -> bytes:
        """The name and type of one of the graph's tensors as a ValueInfoProto."""
        return value(name, self.type_bytes(type))

    def type_bytes(self, type: TensorType) -> bytes:
        """What follows the name there. Types are few: each is made once."""
        if id(type) not in self._types:
            dims = [BATCH if self.batch is None else self.batch, *type.shape]
            self._types[id(type)] = tensor_type(ELEMENT_TYPES[type.dtype], dims)
        return self._types[id(type)]


Emitter = Callable[[Emission, Node], None]
"""Puts one graph node's ONNX nodes into the graph."""


def attributes(node: Node, kind: type[T]) -> T:
    """The node's op, which must be of this kind."""
    if not isinstance(node.op, kind):
        raise InternalError(f"{node.name} is no {kind.name}")
    return node.op


def plain(kind: str, **attributes: Any) -> Emitter:
    """An op that has an ONNX op of its own, with fixed attributes."""

    def emitter(emission: Emission, node: Node) -> None:
        emission.add(kind, node, emission.operands(node), **attributes)

    return emitter
