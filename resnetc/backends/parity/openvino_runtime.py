"""OpenVINO on the CPU, on the same ONNX file as onnxruntime."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from resnetc.backends.openvino import compile_model, import_openvino, read_model
from resnetc.backends.parity.bfloat16 import from_bits, to_bits
from resnetc.backends.parity.onnx_runtime import load_model, require_same_ports, save_copy, show
from resnetc.backends.parity.onnx_runtime import tensor_names as names_in
from resnetc.backends.parity.runtimes import OnnxModel, Subject, tensors_of
from resnetc.diagnostics import RunError
from resnetc.ir import Node

if TYPE_CHECKING:
    from collections.abc import Mapping

    Tensors = Mapping[str, np.ndarray]


class OpenVino:
    """The model compiled for the CPU, held to the precision that the file says: by default
    OpenVINO computes an fp32 file in bf16 where the processor can."""

    def __init__(self, subject: Subject) -> None:
        import_openvino()
        self._graph = subject.graph
        self._model = subject.onnx
        self.precisions = subject.onnx.precisions
        self.note = None
        self.name = f"openvino {subject.onnx.precision}"
        self._compiled = self._compile(subject.onnx)
        require_same_ports(
            subject.graph,
            [_name(port) for port in self._compiled.inputs],
            [name for port in self._compiled.outputs for name in _known(port, subject)],
        )

    def _compile(self, model: OnnxModel) -> Any:
        return compile_model(read_model(model.source, model.shown), self._model.precision)

    def run(self, inputs: Tensors) -> Tensors:
        return self._run(self._compiled, list(self._graph.outputs), inputs)

    def probe(self, inputs: Tensors, nodes: Sequence[Node]) -> Tensors:
        """A copy of the model with more outputs, compiled on its own."""
        model = load_model(self._model)
        held = tensors_of(self._graph, names_in(model))
        wanted = {node.name: held[node.name] for node in nodes if node.name in held}
        if not wanted:
            return {}
        show(model, wanted.values())
        with tempfile.TemporaryDirectory(prefix="resnetc-verify-") as folder:
            compiled = self._compile(replace(self._model, source=save_copy(model, Path(folder))))
            found = self._run(compiled, list(wanted.values()), inputs)
        return {name: found[tensor] for name, tensor in wanted.items()}

    def _run(self, compiled: Any, names: list[str], inputs: Tensors) -> Tensors:
        given = {_name(port): _given(inputs[_name(port)], port) for port in compiled.inputs}
        try:
            found = compiled(given)
        except RuntimeError as error:
            raise RunError(f"openvino failed: {error}") from error
        return {name: _array(found[name], compiled.output(name)) for name in names}


def _given(array: np.ndarray, port: Any) -> Any:
    """An input in the element type that the model takes. Of bfloat16 OpenVINO's arrays hold the
    bits."""
    if not _is_bf16(port):
        return array.astype(port.element_type.to_dtype(), copy=False)
    bits = to_bits(array)
    return import_openvino().Tensor(bits, list(bits.shape), port.element_type)


def _array(found: np.ndarray, port: Any) -> np.ndarray:
    return from_bits(found.view(np.uint16)) if _is_bf16(port) else np.array(found, np.float32)


def _is_bf16(port: Any) -> bool:
    name: str = port.element_type.get_type_name()
    return name == "bf16"


def _name(port: Any) -> str:
    name: str = port.get_any_name()
    return name


def _known(port: Any, subject: Subject) -> list[str]:
    """The outputs that a port is: a tensor may have several names."""
    names = [name for name in port.get_names() if name in subject.graph.outputs]
    return names or [_name(port)]
