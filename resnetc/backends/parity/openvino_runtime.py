"""OpenVINO on the CPU, on the same ONNX file as onnxruntime."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from resnetc.backends.openvino import compile_model, import_openvino, read_model
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
        self.precision = subject.onnx.precision
        self.name = f"openvino {self.precision}"
        self._compiled = self._compile(subject.onnx)
        require_same_ports(
            subject.graph,
            [_name(port) for port in self._compiled.inputs],
            [name for port in self._compiled.outputs for name in _known(port, subject)],
        )

    def _compile(self, model: OnnxModel) -> Any:
        return compile_model(read_model(model.source, model.shown), self.precision)

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
            compiled = self._compile(OnnxModel(save_copy(model, Path(folder)), self._model.shown))
            found = self._run(compiled, list(wanted.values()), inputs)
        return {name: found[tensor] for name, tensor in wanted.items()}

    def _run(self, compiled: Any, names: list[str], inputs: Tensors) -> Tensors:
        kinds = {_name(port): port.element_type.to_dtype() for port in compiled.inputs}
        given = {name: array.astype(kinds[name], copy=False) for name, array in inputs.items()}
        try:
            found = compiled(given)
        except RuntimeError as error:
            raise RunError(f"openvino failed: {error}") from error
        return {name: np.array(found[name], np.float32) for name in names}


def _name(port: Any) -> str:
    name: str = port.get_any_name()
    return name


def _known(port: Any, subject: Subject) -> list[str]:
    """The outputs that a port is: a tensor may have several names."""
    names = [name for name in port.get_names() if name in subject.graph.outputs]
    return names or [_name(port)]
