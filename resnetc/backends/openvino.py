"""OpenVINO, a second runtime on the CPU for the ONNX files that are written here."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from resnetc.diagnostics import MissingError, RunError

INFERENCE = {"fp32": "f32", "fp16": "f16", "bf16": "bf16"}
"""What OpenVINO may round arithmetic to, by a file's precision; in eight bits what is not
quantized stays as it is."""


def import_openvino() -> Any:
    """The package. Raises MissingError when it is not installed."""
    try:
        import openvino
    except ImportError as error:
        raise MissingError(
            "openvino is not installed", "pip install 'resnetc[openvino]'"
        ) from error
    return openvino


def read_model(source: bytes | Path, shown: str) -> Any:
    """An ONNX model as OpenVINO has it. Raises RunError for one that it cannot read."""
    core = import_openvino().Core()
    try:
        if isinstance(source, bytes):
            return core.read_model(io.BytesIO(source))
        return core.read_model(source)
    except RuntimeError as error:
        raise RunError(f"openvino cannot open {shown}: {_first_line(error)}") from error


def compile_model(
    model: Any, precision: str = "fp32", *, threads: int | None = None, hint: str = "LATENCY"
) -> Any:
    """A model ready to run on the CPU, that computes in this precision and no lower one."""
    options: dict[str, Any] = {
        "PERFORMANCE_HINT": hint,
        "INFERENCE_PRECISION_HINT": INFERENCE.get(precision, "f32"),
    }
    if threads is not None:
        options["INFERENCE_NUM_THREADS"] = threads
    try:
        return import_openvino().Core().compile_model(model, "CPU", options)
    except RuntimeError as error:
        raise RunError(f"openvino cannot compile the model: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
