"""A model's bytes with its weights laid between them, array by array.

A model is the bytes of its skeleton with the initializers' fields between, and no more than a few
arrays have to exist at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from onnx import StringStringEntryProto, TensorProto

from resnetc.backends.onnx import wire
from resnetc.backends.onnx.body import Stretch
from resnetc.backends.onnx.emission import ELEMENT_TYPES, Initializer
from resnetc.backends.onnx.model import Skeleton
from resnetc.diagnostics import InternalError
from resnetc.ir.together import BlockArrays

if TYPE_CHECKING:
    import numpy as np

    Piece = bytes | memoryview
    Weights = Mapping[str, np.ndarray]

MESSAGE_LIMIT = 2**31 - 1 - 1024
"""Protobuf refuses larger messages, and metadata may follow."""
PORTION = 2 << 20
"""Bytes of arrays that are computed together."""
INLINE_BELOW = 1024
"""Bytes. Smaller arrays stay in the model's file: shape inference reads axes and pads there."""
ALIGNMENT = 4096
"""The page size, so that a runtime can map each array (onnx.proto, `external_data`)."""


class StreamedModel:
    """A model's bytes, arrays to be filled in. With `data`, the name of a file, larger arrays lie
    there and are only referred to: each of at least 1 KiB, at the start of a page."""

    def __init__(self, skeleton: Skeleton, data: str | None = None) -> None:
        self._skeleton = skeleton
        self._data = data

    @cached_property
    def _heads(self) -> list[tuple[bytes, int]]:
        """The fields of initializers up to their arrays, and how many bytes of these follow."""
        heads = _Heads(self._data)
        made: list[tuple[bytes, int]] = []
        end = 0
        for stretch in self._skeleton.initializers:
            for each, name in stretch.named():
                if self._data is None or each.bytes < INLINE_BELOW:
                    made.append((heads.inline(each, name.encode()), each.bytes))
                else:
                    end = page_from(end)
                    made.append((heads.external(each, name.encode(), end), 0))
                    end += each.bytes
        return made

    @cached_property
    def _initializers_size(self) -> int:
        """Bytes of the initializers' fields, arrays that stand there included."""
        return sum([len(head) + size for head, size in self._heads])

    @cached_property
    def _around(self) -> tuple[bytes, bytes]:
        """What stands before the initializers and behind them."""
        held = self._skeleton
        behind = held.constants + held.types
        size = len(held.nodes) + self._initializers_size + len(behind)
        before = held.front + wire.head(wire.MODEL_GRAPH, size) + held.nodes
        return before, behind + held.rest

    @property
    def stretches(self) -> tuple[Stretch, ...]:
        """What the arrays are computed from."""
        return self._skeleton.initializers

    @property
    def size(self) -> int:
        """Bytes of all pieces."""
        return sum(map(len, self._around)) + self._initializers_size

    def pieces(self, portions: Iterable[Iterable[memoryview]]) -> Iterator[list[Piece]]:
        """The model's bytes, part by part; `portions` are the arrays that stand in the model's own
        file, in order, some at a time."""
        before, behind = self._around
        yield [before]
        heads = iter(self._heads)
        for arrays in portions:
            pieces: list[Piece] = []
            for array in arrays:
                for head, size in heads:
                    pieces.append(head)
                    if size:
                        break
                pieces.append(array)
            yield pieces
        yield [*(head for head, _ in heads), behind]


class _Heads:
    """Heads of TensorProtos: everything but the array. Many differ in their name alone."""

    def __init__(self, file: str | None) -> None:
        self._file = file
        self._kinds: dict[tuple[object, ...], tuple[bytes, ...]] = {}

    def inline(self, initializer: Initializer, name: bytes) -> bytes:
        """The field of an initializer up to its array."""
        told = id(initializer.parameter.type), initializer.dims, len(name)
        if (kind := self._kinds.get(told)) is None:
            raw = wire.head(wire.TENSOR_RAW_DATA, initializer.bytes)
            front = self._front(initializer, name, len(raw) + initializer.bytes)
            kind = self._kinds[told] = front, raw
        front, raw = kind
        return front + name + raw

    def external(self, initializer: Initializer, name: bytes, offset: int) -> bytes:
        """The field of an initializer whose array lies in the file of data."""
        digits = b"%d" % offset
        told = id(initializer.parameter.type), initializer.dims, len(name), len(digits)
        if (kind := self._kinds.get(told)) is None:
            assert self._file is not None
            place = _entry("location", self._file.encode())
            behind = _entry("offset", digits).removesuffix(digits)
            length = _entry("length", b"%d" % initializer.bytes) + _IS_EXTERNAL
            size = len(place) + len(behind) + len(digits) + len(length)
            front = self._front(initializer, name, size)
            kind = self._kinds[told] = front, place + behind, length
        front, behind, length = kind
        return b"".join((front, name, behind, digits, length))

    def _front(self, initializer: Initializer, name: bytes, size: int) -> bytes:
        """What stands before the name, where `size` bytes follow it."""
        element = ELEMENT_TYPES[initializer.parameter.type.dtype]
        kind: bytes = TensorProto(data_type=element, dims=initializer.dims).SerializeToString()
        kind += wire.head(wire.TENSOR_NAME, len(name))
        return wire.head(wire.GRAPH_INITIALIZER, len(kind) + len(name) + size) + kind


_IS_EXTERNAL = TensorProto(data_location=TensorProto.EXTERNAL).SerializeToString()


def _entry(key: str, value: bytes) -> bytes:
    entry: bytes = StringStringEntryProto(key=key).SerializeToString()
    entry += wire.head(wire.ENTRY_VALUE, len(value)) + value
    return wire.fields(wire.TENSOR_EXTERNAL_DATA, [entry])


def page_from(end: int) -> int:
    """The start of the first page at or behind a place in a file."""
    return end + -end % ALIGNMENT


def evaluated(stretches: Iterable[Stretch], weights: Weights) -> Iterator[list[memoryview]]:
    """The bytes of each array, little-endian as ONNX wants them and our machines have them: about
    `PORTION` at a time, of several copies of a block where these are small."""
    for stretch in stretches:
        held = stretch.initializers
        block = BlockArrays([each.parameter for each in held], weights, stretch.path, stretch.paths)
        size = sum(each.bytes for each in held)
        several = max(1, PORTION // max(1, size))
        for start in range(0, len(stretch.paths), several):
            copies = range(start, min(start + several, len(stretch.paths)))
            # Of several copies all arrays are less than a portion.
            for which in _portions(held):
                yield _computed(block, held[which.start : which.stop], which, copies)


def _computed(
    block: BlockArrays, portion: Sequence[Initializer], which: range, copies: range
) -> list[memoryview]:
    """The arrays of some copies of a block, those of one copy after those of another."""
    import numpy as np

    columns: list[list[memoryview]] = []
    for each, arrays in zip(portion, block.arrays(which, copies), strict=True):
        size = each.bytes
        if arrays.nbytes != size * len(copies):
            raise InternalError(f"{each.parameter.path}: {arrays.shape[1:]} is not its shape")
        content = arrays.reshape(-1).view(np.uint8).data
        columns.append([content[i : i + size] for i in range(0, len(content), size)])
    return [array for copy in zip(*columns, strict=True) for array in copy]


def _portions(initializers: Sequence[Initializer]) -> Iterator[range]:
    start = size = 0
    for i, each in enumerate(initializers):
        size += each.bytes
        if size >= PORTION:
            yield range(start, i + 1)
            start, size = i + 1, 0
    if start < len(initializers):
        yield range(start, len(initializers))
