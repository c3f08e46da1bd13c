"""The backends that can be measured, and what each must offer. To add one: a class and a row."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Protocol, cast

from resnetc.bench.request import Job
from resnetc.diagnostics import UsageError, suggest

if TYPE_CHECKING:
    import numpy as np

BACKENDS: dict[str, str] = {
    "eager": "resnetc.bench.torch_contestants:Eager",
    "compile": "resnetc.bench.torch_contestants:Compiled",
    "onnxruntime": "resnetc.bench.onnx_contestant:OnnxRuntime",
    "openvino": "resnetc.bench.openvino_contestant:OpenVino",
    "tensorrt": "resnetc.bench.tensorrt_contestant:TensorRt",
}
"""Where each backend's contestant stands, as "module:Class"; imported in its worker alone."""

REFERENCE = "eager"
"""The backend whose fp32 outputs all others are held against."""


class Contestant(Protocol):
    """A network made ready on one backend, with an input of its own on the device.

    Made from a job: preparing (compiling, building an engine) is the constructor's work. Raises
    MissingError when something is not installed or no device is there.
    """

    facts: dict[str, Any]
    """What the figure must be read with: runtime, provider, layout, device, tf32."""

    def __init__(self, job: Job) -> None: ...

    def run(self) -> None:
        """Infer once, from device memory to device memory; returns when the output is there."""

    def output(self) -> np.ndarray:
        """The output of the last run, as fp32 on the host."""


def load_contestant(target: str) -> type[Contestant]:
    """The class behind a row of the table."""
    module, _, name = target.partition(":")
    return cast("type[Contestant]", getattr(importlib.import_module(module), name))


def require_known(names: tuple[str, ...]) -> None:
    """Raise UsageError for a backend that is not in the table."""
    for name in names:
        if name not in BACKENDS:
            near = suggest(name, BACKENDS)
            hint = f"did you mean {near}?" if near else f"known are {', '.join(BACKENDS)}"
            raise UsageError(f"there is no backend {name!r} to measure; {hint}")
