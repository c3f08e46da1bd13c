"""Protobuf's wire form: what a message of onnx.proto is as bytes.

A message is its fields one after another, each a tag, a length and bytes; a parser joins repeated
parts. Thousands of nodes are thousands of small messages that differ in names alone, and these are
spelled here in a tenth of the time that building them as objects takes. What is written is what
protobuf itself would write: fields in the order of their numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from onnx import ModelProto, StringStringEntryProto

MODEL_GRAPH = 7
GRAPH_NODE, GRAPH_NAME, GRAPH_INITIALIZER = 1, 2, 5
GRAPH_INPUT, GRAPH_OUTPUT, GRAPH_VALUE_INFO = 11, 12, 13
TENSOR_NAME, TENSOR_RAW_DATA = 8, 9
"""Numbers of fields in onnx.proto."""
_NODE_INPUT, _NODE_OUTPUT, _NODE_NAME = b"\x0a", b"\x12", b"\x1a"
_VALUE_NAME = b"\x0a"
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
            parts += _NODE_INPUT, self.text(each)
        for each in outputs:
            parts += _NODE_OUTPUT, self.text(each)
        parts += _NODE_NAME, self.text(name), rest
        return b"".join(parts)

    def value(self, name: str, rest: bytes) -> bytes:
        """A ValueInfoProto; `rest` holds its type."""
        return _VALUE_NAME + self.text(name) + rest

    def text(self, text: str) -> bytes:
        """A length and the text."""
        known = self._texts.get(text)
        if known is None:
            content = text.encode()
            known = self._texts[text] = varint(len(content)) + content
        return known


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
