"""Protobuf's wire form: what a message of onnx.proto is as bytes.

A message is its fields one after another, each a tag, a length and bytes; a parser joins repeated
parts. Thousands of nodes are thousands of small messages that differ in names alone, and these are
spelled here in a tenth of the time that building them as objects takes. What is written is what
protobuf itself would write: fields in the order of their numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import IntEnum
from typing import NamedTuple

from onnx import ModelProto, StringStringEntryProto

MODEL_GRAPH = 7
GRAPH_NODE, GRAPH_NAME, GRAPH_INITIALIZER = 1, 2, 5
GRAPH_INPUT, GRAPH_OUTPUT, GRAPH_VALUE_INFO = 11, 12, 13
TENSOR_NAME, TENSOR_RAW_DATA, TENSOR_EXTERNAL_DATA = 8, 9, 13
ENTRY_VALUE = 2
_VALUE_TYPE, _TYPE_TENSOR, _TENSOR_SHAPE, _SHAPE_DIM = 2, 1, 2, 1
"""Numbers of fields in onnx.proto."""
NODE_INPUT, NODE_OUTPUT, NODE_NAME = b"\x0a", b"\x12", b"\x1a"
VALUE_NAME = b"\x0a"
_ELEMENT_TYPE, _DIM_SIZE, _DIM_NAME = b"\x08", b"\x08", b"\x12"
"""Tags of fields that stand thousands of times in a file."""


class Wire:
    """Messages as bytes. A name is spelled once: it stands in the node that gives the tensor, in
    those that read it, and in its type."""

    def __init__(self) -> None:
        self._texts: dict[str, bytes] = {}

    def node(self, inputs: Iterable[str], outputs: Iterable[str], name: str, rest: bytes) -> bytes:
        """A NodeProto; `rest` holds its op and attributes."""
        parts: list[bytes] = []
        for each in inputs:
            parts += NODE_INPUT, self.text(each)
        for each in outputs:
            parts += NODE_OUTPUT, self.text(each)
        parts += NODE_NAME, self.text(name), rest
        return b"".join(parts)

    def text(self, text: str) -> bytes:
        """A length and the text."""
        known = self._texts.get(text)
        if known is None:
            known = self._texts[text] = _text(text)
        return known


class Which(IntEnum):
    """The path that a name begins with: a block's, that of the block before it, or none of both."""

    OWN = 0
    BEFORE = 1
    NEITHER = 2


class Name(NamedTuple):
    """A field that holds a name: its tag, the path that the name begins with, and the rest."""

    tag: bytes
    which: Which
    rest: bytes


class Message(NamedTuple):
    """A message in the field `number` of another: names, and what follows them."""

    number: int
    names: tuple[Name, ...]
    rest: bytes


class Messages:
    """Messages that differ between copies of a block in the paths that names begin with.

    Where these are as long in one copy as in another, so is everything, and the paths alone are
    replaced.
    """

    def __init__(self, messages: Sequence[Message]) -> None:
        self._messages = messages
        self._known: dict[tuple[int, int], list[list[bytes]]] = {}

    def of(self, own: bytes, before: bytes) -> bytes:
        """The messages of the copy at the path `own` behind the one at `before`."""
        lengths = len(own), len(before)
        if lengths not in self._known:
            self._known[lengths] = self._between(lengths)
        return before.join([own.join(pieces) for pieces in self._known[lengths]])

    def _between(self, lengths: tuple[int, int]) -> list[list[bytes]]:
        """What stands between the paths: parted at those of the block before, then at its own."""
        known = (*lengths, 0)
        before, neither = Which.BEFORE, Which.NEITHER
        parts: list[list[bytes]] = [[]]
        piece = b""
        for number, names, rest in self._messages:
            size = len(rest)
            heads: list[bytes] = []
            for tag, which, end in names:
                length = known[which] + len(end)
                heads.append(tag + varint(length))
                size += len(heads[-1]) + length
            piece += head(number, size)
            for start, (_, which, end) in zip(heads, names, strict=True):
                if which is neither:
                    piece += start + end
                    continue
                parts[-1].append(piece + start)
                piece = end
                if which is before:
                    parts.append([])
            piece += rest
        parts[-1].append(piece)
        return parts


def value(name: str, rest: bytes) -> bytes:
    """A ValueInfoProto; `rest` holds its type."""
    return VALUE_NAME + _text(name) + rest


def tensor_type(element: int, dims: Iterable[int | str]) -> bytes:
    """The type of a tensor as a ValueInfoProto holds it; a dimension is a size or has a name."""
    shape = fields(
        _SHAPE_DIM,
        [
            _DIM_SIZE + varint(dim) if isinstance(dim, int) else _DIM_NAME + _text(dim)
            for dim in dims
        ],
    )
    tensor = _ELEMENT_TYPE + varint(element) + head(_TENSOR_SHAPE, len(shape)) + shape
    return fields(_VALUE_TYPE, [head(_TYPE_TENSOR, len(tensor)) + tensor])


def _text(text: str) -> bytes:
    """A length and the text."""
    content = text.encode()
    return varint(len(content)) + content


def fields(number: int, contents: Iterable[bytes]) -> bytes:
    """A repeated field: the messages one after another, each behind its tag and length."""
    tag = varint(number << 3 | 2)
    parts: list[bytes] = []
    for content in contents:
        parts += tag, varint(len(content)), content
    return b"".join(parts)


def head(number: int, length: int) -> bytes:
    """Tag and length of a field that holds `length` bytes (wire type 2)."""
    return varint(number << 3 | 2) + varint(length)


def varint(number: int) -> bytes:
    """Seven bits a byte, low ones first; the top bit says that more follow."""
    if number < 0x80:
        return _SMALL[number]
    groups = bytearray()
    while number > 0x7F:
        groups.append(number & 0x7F | 0x80)
        number >>= 7
    groups.append(number)
    return bytes(groups)


_SMALL = [bytes([number]) for number in range(0x80)]


def metadata_bytes(facts: Mapping[str, str]) -> bytes:
    """Metadata as a part of a model: behind one, a parser adds it to the model's own."""
    entries = [StringStringEntryProto(key=key, value=value) for key, value in facts.items()]
    content: bytes = ModelProto(metadata_props=entries).SerializeToString()
    return content
