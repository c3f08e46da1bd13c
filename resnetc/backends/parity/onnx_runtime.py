"""ONNX Runtime on the CPU, and how any runtime's ONNX model is looked into."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resnetc.backends.onnx.kernels import why_unoptimized
from resnetc.backends.parity.bfloat16 import from_bits, to_bits
from resnetc.backends.parity.runtimes import OnnxModel, Subject, fixed_batch, tensors_of
from resnetc.diagnostics import MissingError, RunError, UsageError
from resnetc.ir import Graph, Node
from resnetc.processor import sums_saturate

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    import onnx

    Tensors = Mapping[str, np.ndarray]

_INLINE_LIMIT = 2**31 - 2**20
"""Bytes that a copy of a model may have in one message."""


class OnnxRuntime:
    """A session on the CPU. A fallback is impossible: one provider is asked for."""

    def __init__(self, subject: Subject) -> None:
        self._graph = subject.graph
        self._model = subject.onnx
        self._session = _open(subject.onnx)
        self.batch = fixed_batch(self._session.get_inputs()[0].shape)
        self.precisions = subject.onnx.precisions
        self.note = _why_unoptimized(subject.onnx)
        self.name = f"onnxruntime {subject.onnx.precision}"
        require_same_ports(
            subject.graph,
            [each.name for each in self._session.get_inputs()],
            [each.name for each in self._session.get_outputs()],
        )

    def run(self, inputs: Tensors) -> Tensors:
        return _run(self._session, inputs)

    def probe(self, inputs: Tensors, nodes: Sequence[Node]) -> Tensors:
        """A copy of the model with more outputs, in a session of its own."""
        model = load_model(self._model)
        held = tensors_of(self._graph, tensor_names(model))
        wanted = {node.name: held[node.name] for node in nodes if node.name in held}
        if not wanted:
            return {}
        show(model, wanted.values())
        with tempfile.TemporaryDirectory(prefix="resnetc-verify-") as folder:
            copy = save_copy(model, Path(folder))
            found = _run(_open(replace(self._model, source=copy)), inputs)
        return {name: found[tensor] for name, tensor in wanted.items()}


def _open(model: OnnxModel) -> Any:
    try:
        import onnxruntime as ort
    except ImportError as error:
        raise MissingError(
            "onnxruntime, which runs the ONNX model, is not installed",
            "pip install 'resnetc[cpu]'",
        ) from error
    options = ort.SessionOptions()
    options.log_severity_level = 4
    if _why_unoptimized(model) is not None:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    source = model.source if isinstance(model.source, bytes) else str(model.source)
    try:
        return ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's exceptions share no other base
        if "NOT_IMPLEMENTED" in str(error) and _is_bf16(model):
            raise RunError(
                f"{model.shown} computes in bf16, and onnxruntime's CPU provider has no bf16 "
                "convolution: verify it in openvino, or an fp32 or fp16 file here"
            ) from error
        raise RunError(f"onnxruntime cannot open {model.shown}: {error}") from error


def _why_unoptimized(model: OnnxModel) -> str | None:
    saturates = sums_saturate()
    return why_unoptimized(model.precision, model.weight_bits, saturates=saturates)


def _run(session: Any, inputs: Tensors) -> Tensors:
    """Inputs are given in the model's own element types."""
    names = [output.name for output in session.get_outputs()]
    given = {port.name: _given(inputs[port.name], port.type) for port in session.get_inputs()}
    try:
        found = session.run_with_ort_values(names, given)
    except Exception as error:  # as above
        raise RunError(f"onnxruntime failed: {error}") from error
    return {name: _array(value) for name, value in zip(names, found, strict=True)}


_ELEMENTS = {"tensor(float)": "float32", "tensor(float16)": "float16", "tensor(double)": "float64"}
_BF16 = "tensor(bfloat16)"


def _given(array: np.ndarray, kind: str) -> Any:
    import numpy as np
    import onnx
    import onnxruntime as ort

    if kind == _BF16:
        bits = onnx.TensorProto.BFLOAT16
        return ort.OrtValue.ortvalue_from_numpy_with_onnx_type(to_bits(array), bits)
    cast = array.astype(_ELEMENTS.get(kind, "float32"), copy=False)
    return ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(cast))


def _array(value: Any) -> np.ndarray:
    """A result; of bfloat16, which the package cannot give as an array, from where it lies."""
    import ctypes

    import numpy as np

    if value.data_type() != _BF16:
        found: np.ndarray = value.numpy()
        return found
    shape = tuple(value.shape())
    held = (ctypes.c_uint16 * math.prod(shape)).from_address(value.data_ptr())
    return from_bits(np.ctypeslib.as_array(held).reshape(shape))


def _is_bf16(model: OnnxModel) -> bool:
    import onnx

    initializers = load_model(model, arrays=False).graph.initializer
    return any(tensor.data_type == onnx.TensorProto.BFLOAT16 for tensor in initializers)


def require_same_ports(graph: Graph, inputs: Sequence[str], outputs: Sequence[str]) -> None:
    """Raise UsageError for a model with other inputs or outputs than the network has."""
    expected = ({node.name for node in graph.inputs}, set(graph.outputs))
    found = (set(inputs), set(outputs))
    if found != expected:
        raise UsageError(
            f"the ONNX file reads {', '.join(sorted(found[0]))} and gives "
            f"{', '.join(sorted(found[1]))}; {graph.name} reads {', '.join(sorted(expected[0]))} "
            f"and gives {', '.join(sorted(expected[1]))}"
        )


# ------------------------------------------------------------------------- looking into a model


def load_model(model: OnnxModel, *, arrays: bool = True) -> onnx.ModelProto:
    """The model in memory, with its weights unless told otherwise."""
    import onnx

    if isinstance(model.source, bytes):
        return onnx.load_from_string(model.source)
    return onnx.load(model.source, load_external_data=arrays)


def tensor_names(model: onnx.ModelProto) -> set[str]:
    """What the model's nodes give."""
    return {name for node in model.graph.node for name in node.output}


def show(model: onnx.ModelProto, tensors: Any) -> None:
    """Make these tensors outputs, too."""
    import onnx

    shown = {output.name for output in model.graph.output}
    for name in dict.fromkeys(tensors):
        if name not in shown:
            model.graph.output.append(onnx.ValueInfoProto(name=name))


def save_copy(model: onnx.ModelProto, folder: Path) -> Path:
    """Write a model for a runtime to open; where one file would be too large, in two."""
    import onnx

    path = folder / "model.onnx"
    large = sum(len(each.raw_data) for each in model.graph.initializer) > _INLINE_LIMIT
    onnx.save(model, path, save_as_external_data=large)
    return path
