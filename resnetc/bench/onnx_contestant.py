"""ONNX Runtime, with input and output bound to device memory."""

from __future__ import annotations

from typing import Any

import numpy as np

from resnetc.bench.inputs import (
    draw_input,
    load_graph,
    load_weights,
    only_input,
    output_shapes,
    side_by_side,
)
from resnetc.bench.request import Job
from resnetc.diagnostics import MissingError, RunError

_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


class OnnxRuntime:
    """A session on the model as `write_onnx` writes it, batch norm folded, the batch fixed."""

    def __init__(self, job: Job) -> None:
        ort = _import()
        from resnetc.backends.onnx import OnnxOptions, model_bytes

        graph = load_graph(job)
        options = OnnxOptions(batch=job.batch, precision=job.precision)
        model = model_bytes(graph, load_weights(job, graph), options)
        self._session = _open(ort, model, job)
        self._binding = self._session.io_binding()
        self._input = ort.OrtValue.ortvalue_from_numpy(draw_input(job, graph), job.device, 0)
        self._binding.bind_ortvalue_input(only_input(graph).name, self._input)
        self._outputs = {
            name: ort.OrtValue.ortvalue_from_shape_and_type(shape, np.float32, job.device, 0)
            for name, shape in output_shapes(job, graph).items()
        }
        for name, value in self._outputs.items():
            self._binding.bind_ortvalue_output(name, value)
        self.facts: dict[str, Any] = {
            "runtime": f"onnxruntime {ort.__version__}",
            "device": job.device,
            "provider": self._session.get_providers()[0],
            "layout": "chosen by onnxruntime",
            "threads": self._session.get_session_options().intra_op_num_threads,
            "tf32": job.tf32 and job.device == "cuda",
        }

    def run(self) -> None:
        self._session.run_with_iobinding(self._binding)
        self._binding.synchronize_outputs()

    def output(self) -> np.ndarray:
        return side_by_side(value.numpy() for value in self._outputs.values())


def _import() -> Any:
    try:
        import onnxruntime
    except ModuleNotFoundError as error:
        raise MissingError(
            "onnxruntime is not installed",
            "pip install 'resnetc[cpu]', or with an NVIDIA GPU: pip install 'resnetc[gpu]'",
        ) from error
    return onnxruntime


def _open(ort: Any, model: bytes, job: Job) -> Any:
    """A session on the provider asked for and no other: onnxruntime falls back silently."""
    provider = _PROVIDERS[job.device]
    if provider not in ort.get_available_providers():
        raise MissingError(
            f"this onnxruntime has no {provider}",
            "pip uninstall onnxruntime && pip install 'resnetc[gpu]', or say --device cpu",
        )
    options = ort.SessionOptions()
    options.intra_op_num_threads = job.threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    chosen: Any = provider
    if job.device == "cuda":
        chosen = (provider, {"use_tf32": int(job.tf32)})
    try:
        session = ort.InferenceSession(model, options, providers=[chosen])
    except ort.capi.onnxruntime_pybind11_state.NotImplemented as error:
        raise RunError(
            f"{provider} has no kernel for this network in {job.precision}: {error}"
        ) from error
    if session.get_providers()[0] != provider:
        raise RunError(f"onnxruntime fell back to {session.get_providers()[0]} from {provider}")
    return session
