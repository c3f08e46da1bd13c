"""What must hold of a file's nodes before any of them is read: the file may be damaged."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resnetc.diagnostics import RunError

if TYPE_CHECKING:
    import onnx

STANDARD_DOMAINS = ("", "ai.onnx")
_WITH_GRAPHS = ("If", "Loop", "Scan", "SequenceMap")


def require_sound(
    path: Path, graph: onnx.GraphProto, nodes: Iterable[onnx.NodeProto], opset: int
) -> None:
    """Raise RunError unless the nodes stand in an order in which they can be computed, each gives
    what nothing else gives, and each has the operands and attributes that ONNX demands.

    Shapes are not looked at: the reading's own rules find what does not fit.
    """
    known = {value.name for value in (*graph.input, *graph.initializer)} | {""}
    context = _context(opset)
    for node in nodes:
        _require_text(path, node)
        called = f"{path}: node {shown_name(node)} ({node.op_type})"
        for name in node.input:
            if name not in known:
                raise RunError(f"{called} reads `{name}`, which nothing before it gives")
        for name in filter(None, node.output):
            if name in known:
                raise RunError(f"{called} gives `{name}`, which is there already")
            known.add(name)
        if complaint := _against_schema(node, context):
            raise RunError(f"{called} is not as ONNX has it: {complaint}")
    if graph.output[0].name not in known - {""}:
        raise RunError(f"{path}: nothing gives the output `{graph.output[0].name}`")


def shown_name(node: onnx.NodeProto) -> str:
    """What messages call a node: many files name their tensors only."""
    return str(node.name or next(filter(None, node.output), "without a name"))


def first_line(error: Exception) -> str:
    """What a library says of a mistake, without the dump of the node behind it."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _require_text(path: Path, node: onnx.NodeProto) -> None:
    """protobuf gives bytes for a text that is not UTF-8."""
    attributes = (attribute.name for attribute in node.attribute)
    for text in (node.name, node.op_type, node.domain, *node.input, *node.output, *attributes):
        if not isinstance(text, str):
            raise RunError(f"{path}: a node's name is no text: {text!r}")


def _context(opset: int) -> Any:
    from onnx import IR_VERSION, checker

    context = checker.C.CheckerContext()
    context.ir_version = IR_VERSION
    context.opset_imports = dict.fromkeys(STANDARD_DOMAINS, opset)
    return context


def _against_schema(node: onnx.NodeProto, context: Any) -> str | None:
    """What ONNX's own checker says of operands and attributes, None where they are right.

    Operators of others, nodes with graphs inside, and operators that the opset does not have are
    left to the table of operators, which refuses them by name.
    """
    from onnx import checker, defs

    ours = node.domain in STANDARD_DOMAINS and node.op_type not in _WITH_GRAPHS
    if not ours or not defs.has(node.op_type, context.opset_imports[""], ""):
        return None
    try:
        checker.check_node(node, context)
    except (checker.ValidationError, UnicodeDecodeError) as error:
        return first_line(error)
    return None
