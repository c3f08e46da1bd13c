"""Protobuf's wire form of a model, with the weights streamed array by array.

A message is its fields one after another, each a tag, a length and bytes; a parser joins repeated
parts. So a model is the bytes of its skeleton with the initializers' fields laid between, and no
more than one array has to exist at a time.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

from onnx import GraphProto, ModelProto, StringStringEntryProto, TensorProto

from resnetc.backends.onnx.emission import ELEMENT_TYPES, Initializer
from resnetc.backends.onnx.model import Skeleton
from resnetc.diagnostics import InternalError

if TYPE_CHECKING:
    import numpy as np

    Weights = Mapping[str, np.ndarray]

MESSAGE_LIMIT = 2**31 - 1 - 1024
"""Protobuf refuses larger messages, and metadata may follow."""
_MODEL_GRAPH = 7
_GRAPH_INITIALIZER = 5
_TENSOR_RAW_DATA = 9
_AFTER_GRAPH = frozenset({"opset_import", "metadata_props"})
_AFTER_INITIALIZERS = frozenset({"input", "output", "value_info"})

Message = TypeVar("Message", ModelProto, GraphProto)


class Sink(Protocol):
    """Where bytes go: an open file, or a buffer."""

    def write(self, data: bytes | memoryview, /) -> object: ...


@dataclass(frozen=True, slots=True)
class Place:
    """Where an array lies outside the model's file."""

    file: str
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class _Part:
    """Bytes of the model, and the array that follows them, if any."""

    head: bytes
    array: Initializer | None = None

    @property
    def size(self) -> int:
        return len(self.head) + (0 if self.array is None else self.array.bytes)


class WireModel:
    """A model's bytes, arrays to be filled in. Parameters with a place are only referred to."""

    def __init__(self, skeleton: Skeleton, places: Mapping[str, Place] | None = None) -> None:
        front, rest = _split(skeleton.model, {"graph"}, _AFTER_GRAPH)
        nodes, ports = _split(skeleton.model.graph, {"initializer"}, _AFTER_INITIALIZERS)
        where = places or {}
        inner = [
            _Part(nodes),
            *(_tensor(each, where.get(each.parameter.path)) for each in skeleton.initializers),
            *(_Part(_initializer(each)) for each in skeleton.model.graph.initializer),
            _Part(ports),
        ]
        head = _head(_MODEL_GRAPH, sum(part.size for part in inner))
        self._parts = [_Part(front + head), *inner, _Part(rest)]

    @property
    def size(self) -> int:
        """Bytes that :meth:`write` will write."""
        return sum(part.size for part in self._parts)

    def write(self, sink: Sink, weights: Weights) -> None:
        for part in self._parts:
            sink.write(part.head)
            if part.array is not None:
                write_array(sink, part.array, weights)


def metadata_bytes(facts: Mapping[str, str]) -> bytes:
    """Metadata in the wire form: behind a model, a parser adds it to the model's own."""
    entries = [StringStringEntryProto(key=key, value=value) for key, value in facts.items()]
    content: bytes = ModelProto(metadata_props=entries).SerializeToString()
    return content


def write_array(sink: Sink, initializer: Initializer, weights: Weights) -> None:
    """Write an initializer's bytes, little-endian as ONNX wants them and our machines have them."""
    import numpy as np

    array = initializer.parameter.array(weights)
    if array.nbytes != initializer.bytes:
        raise InternalError(f"{initializer.parameter.path}: {array.shape} is not its shape")
    sink.write(array.reshape(-1).view(np.uint8).data)


def _split(
    message: Message, without: Container[str], behind: Container[str]
) -> tuple[bytes, bytes]:
    """The bytes of a message's fields but `without`: first the others, then those in `behind`."""
    fields = {field.name: value for field, value in message.ListFields()}
    first = {k: v for k, v in fields.items() if k not in without and k not in behind}
    last = {k: v for k, v in fields.items() if k in behind}
    kind = type(message)
    return kind(**first).SerializeToString(), kind(**last).SerializeToString()


def _tensor(initializer: Initializer, place: Place | None) -> _Part:
    tensor = TensorProto(
        name=initializer.parameter.path,
        data_type=ELEMENT_TYPES[initializer.parameter.type.dtype],
        dims=initializer.dims,
    )
    if place is not None:
        tensor.data_location = TensorProto.EXTERNAL
        where = {"location": place.file, "offset": place.offset, "length": place.length}
        for key, value in where.items():
            tensor.external_data.add(key=key, value=str(value))
        return _Part(_initializer(tensor))
    inner = tensor.SerializeToString() + _head(_TENSOR_RAW_DATA, initializer.bytes)
    return _Part(_head(_GRAPH_INITIALIZER, len(inner) + initializer.bytes) + inner, initializer)


def _initializer(tensor: TensorProto) -> bytes:
    content: bytes = tensor.SerializeToString()
    return _head(_GRAPH_INITIALIZER, len(content)) + content


def _head(number: int, length: int) -> bytes:
    """Tag and length of a field that holds `length` bytes (wire type 2)."""
    return _varint(number << 3 | 2) + _varint(length)


def _varint(number: int) -> bytes:
    """Seven bits a byte, low ones first; the top bit says that more follow."""
    groups = bytearray()
    while number > 0x7F:
        groups.append(number & 0x7F | 0x80)
        number >>= 7
    groups.append(number)
    return bytes(groups)
