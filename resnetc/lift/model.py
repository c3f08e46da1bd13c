"""An ONNX file, opened: its nodes in order, its constants by name, its one input and output.

Only what the output depends on is read. Where a node came from in the module that was traced is
read off its name (torch's TorchScript exporter) or its metadata (torch's dynamo exporter).
"""

from __future__ import annotations

import ast
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resnetc.diagnostics import RunError, UsageError
from resnetc.lift.refusal import LiftError
from resnetc.lift.soundness import STANDARD_DOMAINS, require_sound, shown_name

if TYPE_CHECKING:
    import numpy as np
    import onnx

Shape = tuple[int, ...]
_LARGEST = 1 << 31
"""Numbers that an input may hold."""
_SCOPES = "pkg.torch.onnx.name_scopes"


@dataclass(frozen=True)
class Constant:
    """An array that does not depend on the input; `name` is its initializer's, if it has one."""

    array: np.ndarray
    name: str | None = None


@dataclass(frozen=True)
class Operation:
    """A node of the model. `place` is the path of the module it was traced in, "" where unknown."""

    name: str
    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    place: str
    proto: onnx.NodeProto = field(repr=False, compare=False)

    def __str__(self) -> str:
        return f"node {shown_name(self.proto)} ({self.kind})"


@dataclass(frozen=True)
class Model:
    """What there is to lift. `shape` is the input's without the batch, which is `batch`."""

    name: str
    opset: int
    input: str
    batch: int
    shape: Shape
    output: str
    constants: Mapping[str, Constant]
    operations: tuple[Operation, ...]


def read_model(path: Path, shape: Shape | None = None) -> Model:
    """Open an ONNX file, external data included.

    `shape` is the input's without the batch, for files that leave it open. Raises UsageError where
    there is no such file or it needs a shape, RunError where it is damaged, LiftError where it is
    no network of one input and one output.
    """
    proto = _load(path)
    graph = proto.graph
    constants = _initializers(graph)
    inputs = [value for value in graph.input if value.name not in constants]
    if len(inputs) != 1 or len(graph.output) != 1:
        found = f"{len(inputs)} inputs and {len(graph.output)} outputs"
        raise LiftError(f"{path}: a network has one input and one output, and this has {found}")
    batch, extents = _extents(path, inputs[0], shape)
    if batch < 1 or min(extents) < 1 or math.prod((batch, *extents)) > _LARGEST:
        raise LiftError(f"{path}: an input of {batch} x {_by(extents)} is no batch of images")
    opset = next((o.version for o in proto.opset_import if o.domain in STANDARD_DOMAINS), 0)
    nodes = _needed(graph)
    require_sound(path, graph, nodes, opset)
    return Model(
        name=path.stem,
        opset=opset,
        input=inputs[0].name,
        batch=batch,
        shape=extents,
        output=graph.output[0].name,
        constants=constants,
        operations=tuple(map(_operation, nodes)),
    )


def _load(path: Path) -> onnx.ModelProto:
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    if not path.is_file():
        raise UsageError(f"{path}: there is no such file")
    try:
        proto = onnx.load(path)
    except (DecodeError, onnx.checker.ValidationError, ValueError, OSError) as error:
        raise RunError(f"{path}: not a whole ONNX file: {error}") from error
    if not proto.graph.node:
        raise RunError(f"{path}: this file holds no graph")
    return proto


def _initializers(graph: onnx.GraphProto) -> dict[str, Constant]:
    from onnx import numpy_helper

    try:
        return {t.name: Constant(numpy_helper.to_array(t), t.name) for t in graph.initializer}
    except (ValueError, TypeError) as error:
        raise RunError(f"{graph.name}: an initializer cannot be read: {error}") from error


def _extents(path: Path, value: onnx.ValueInfoProto, shape: Shape | None) -> tuple[int, Shape]:
    """Batch and shape of an input; an open batch is 1, for nothing in a network depends on it."""
    import onnx

    tensor = value.type.tensor_type
    if tensor.elem_type != onnx.TensorProto.FLOAT:
        kind = onnx.TensorProto.DataType.Name(tensor.elem_type)
        raise LiftError(f"{path}: the input `{value.name}` is of {kind}; only FLOAT is lifted")
    declared = [d.dim_value if d.HasField("dim_value") else 0 for d in tensor.shape.dim]
    if shape is not None:
        clash = any(d not in (0, s) for d, s in zip(declared[1:], shape, strict=False))
        if clash or (declared and len(declared) != len(shape) + 1):
            raise UsageError(f"{path}: the input is {_by(declared[1:])}, not {_by(shape)}")
        return (declared or [1])[0] or 1, shape
    if len(declared) != 4:
        raise LiftError(
            f"{path}: the input `{value.name}` has {len(declared)} dimensions; it must be NxCxHxW"
        )
    if not all(declared[1:]):
        raise UsageError(
            f"{path}: the input's shape is open ({_by(declared[1:])}); say it: --input 3x224x224"
        )
    return declared[0] or 1, tuple(declared[1:])


def _by(extents: list[int] | Shape) -> str:
    return "x".join(str(extent or "?") for extent in extents)


def _needed(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """The nodes that the output depends on, in the file's order, which is topological."""
    needed = {graph.output[0].name}
    kept = []
    for proto in reversed(graph.node):
        if needed.intersection(filter(None, proto.output)):
            needed.update(proto.input)
            kept.append(proto)
    return kept[::-1]


def _operation(proto: onnx.NodeProto) -> Operation:
    from onnx import helper

    if proto.domain not in STANDARD_DOMAINS:
        called = f"node {shown_name(proto)} ({proto.domain}::{proto.op_type})"
        raise LiftError(f"{called}: only ONNX's own operators are lifted")
    attributes = {a.name: helper.get_attribute_value(a) for a in proto.attribute}
    return Operation(
        proto.name,
        proto.op_type,
        tuple(proto.input),
        tuple(proto.output),
        attributes,
        _place(proto),
        proto,
    )


def _place(proto: onnx.NodeProto) -> str:
    """The path of the module a node was traced in."""
    for entry in proto.metadata_props:
        if entry.key == _SCOPES:
            return _enclosing(entry.value)
    if not proto.name.startswith("/"):
        return ""
    return _joined(proto.name.split("/")[1:-1])


def _enclosing(written: str) -> str:
    """The module path in dynamo's list of scopes, the node's own name last; what is no such list
    says nothing."""
    try:
        scopes = ast.literal_eval(written)
    except (ValueError, SyntaxError):
        return ""
    named = isinstance(scopes, list) and all(isinstance(scope, str) for scope in scopes)
    return str(scopes[-2]) if named and len(scopes) > 1 else ""


def _joined(parts: list[str]) -> str:
    """`layer1`, `layer1.0`, `conv1` as a path: TorchScript repeats the name of a Sequential."""
    path, last = "", ""
    for part in parts:
        own = part.removeprefix(f"{last}.") if last else part
        path, last = (f"{path}.{own}" if path else own), part
    return path
