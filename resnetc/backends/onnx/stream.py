"""A model's bytes with its weights laid between them, array by array.

A model is the bytes of its skeleton with the initializers' fields between, and no more than a few
arrays have to exist at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from onnx import TensorProto

from resnetc.backends.onnx import wire
from resnetc.backends.onnx.emission import ELEMENT_TYPES, Initializer
from resnetc.backends.onnx.model import Skeleton
from resnetc.diagnostics import InternalError
from resnetc.ir.together import arrays_together

if TYPE_CHECKING:
    import numpy as np

    Piece = bytes | memoryview
    Weights = Mapping[str, np.ndarray]

MESSAGE_LIMIT = 2**31 - 1 - 1024
"""Protobuf refuses larger messages, and metadata may follow."""
PORTION = 4 << 20
"""Bytes of arrays that are computed together."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where an array lies outside the model's file."""

    file: str
    offset: int
    length: int


class StreamedModel:
    """A model's bytes, arrays to be filled in. Parameters with a place are only referred to."""

    def __init__(self, skeleton: Skeleton, places: Mapping[str, Place] | None = None) -> None:
        where = places or {}
        self._skeleton = skeleton
        tensors = _Tensors()
        self._heads = [
            tensors.head(each, where.get(each.parameter.path)) for each in skeleton.initializers
        ]
        self.inline = [each for each in skeleton.initializers if each.parameter.path not in where]
        """The parameters whose arrays stand in the model's own file, in order."""
        self._arrays = sum(each.bytes for each in self.inline)
        self._refers = where.keys()

    @cached_property
    def _around(self) -> tuple[bytes, bytes]:
        """What stands before the initializers and behind them."""
        held = self._skeleton
        behind = held.constants + held.types
        size = len(held.nodes) + sum(map(len, self._heads)) + self._arrays + len(behind)
        before = held.front + wire.head(wire.MODEL_GRAPH, size) + held.nodes
        return before, behind + held.rest

    @property
    def size(self) -> int:
        """Bytes of all pieces."""
        return sum(map(len, (*self._around, *self._heads))) + self._arrays

    def pieces(self, arrays: Iterable[memoryview]) -> Iterator[Piece]:
        """The model's bytes, part by part; `arrays` are those of `inline`, in its order."""
        before, behind = self._around
        yield before
        found = iter(arrays)
        for each, head in zip(self._skeleton.initializers, self._heads, strict=True):
            yield head
            if each.parameter.path not in self._refers:
                yield next(found)
        yield behind


class _Tensors:
    """Heads of TensorProtos: everything but the array. Many differ in their name alone."""

    def __init__(self) -> None:
        self._kinds: dict[tuple[int, tuple[int, ...]], tuple[bytes, bytes, int]] = {}

    def head(self, initializer: Initializer, place: Place | None) -> bytes:
        """The field of an initializer up to its array, or whole where it has a place."""
        name = initializer.parameter.path.encode()
        if place is not None:
            return wire.fields(wire.GRAPH_INITIALIZER, [_external(initializer, place)])
        type_ = initializer.parameter.type
        told = id(type_), initializer.dims
        if told not in self._kinds:
            size = initializer.bytes
            raw = wire.head(wire.TENSOR_RAW_DATA, size)
            self._kinds[told] = _tensor(initializer).SerializeToString(), raw, size
        kind, raw, size = self._kinds[told]
        inner = b"".join((kind, wire.head(wire.TENSOR_NAME, len(name)), name, raw))
        return wire.head(wire.GRAPH_INITIALIZER, len(inner) + size) + inner


def _tensor(initializer: Initializer) -> TensorProto:
    element = ELEMENT_TYPES[initializer.parameter.type.dtype]
    return TensorProto(data_type=element, dims=initializer.dims)


def _external(initializer: Initializer, place: Place) -> bytes:
    tensor = _tensor(initializer)
    tensor.name = initializer.parameter.path
    tensor.data_location = TensorProto.EXTERNAL
    where = {"location": place.file, "offset": place.offset, "length": place.length}
    for key, value in where.items():
        tensor.external_data.add(key=key, value=str(value))
    content: bytes = tensor.SerializeToString()
    return content


def evaluated(initializers: Sequence[Initializer], weights: Weights) -> Iterator[memoryview]:
    """The bytes of each array, little-endian as ONNX wants them and our machines have them.

    Arrays are computed some megabytes at a time, for numpy takes as long to be called as to compute
    a few thousand numbers.
    """
    import numpy as np

    for portion in _portions(initializers):
        arrays = arrays_together([each.parameter for each in portion], weights)[::-1]
        for each in portion:
            array = arrays.pop()  # it goes when it has been written
            if array.nbytes != each.bytes:
                raise InternalError(f"{each.parameter.path}: {array.shape} is not its shape")
            yield array.reshape(-1).view(np.uint8).data


def _portions(initializers: Sequence[Initializer]) -> Iterator[list[Initializer]]:
    portion: list[Initializer] = []
    size = 0
    for each in initializers:
        portion.append(each)
        size += each.bytes
        if size >= PORTION:
            yield portion
            portion, size = [], 0
    if portion:
        yield portion
