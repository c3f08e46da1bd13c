"""Do the backends agree? Each one's outputs beside a float64 reference, on seeded inputs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resnetc.backends.onnx import model_bytes
from resnetc.backends.weights import Arrays, fit_weights
from resnetc.diagnostics import CheckError, MissingError, RunError, UsageError
from resnetc.ir import Graph

if TYPE_CHECKING:
    import numpy as np

    Tensors = dict[str, np.ndarray]

TOLERANCES: Mapping[str, float] = {"fp32": 2e-5, "fp16": 1e-2, "bf16": 8e-2}
"""Largest error allowed, relative to the reference's largest magnitude, by precision.

Measured from ResNet-18 to ResNet-1202: 2e-7 to 8e-7 in fp32, 3e-4 to 5e-4 in fp16. A wrong
epsilon, padding or weight is far beyond all of these.
"""


@dataclass(frozen=True)
class Agreement:
    """How far one output of one backend is from the reference.

    `max_rel` is `max_abs` over the reference's largest magnitude; `top1` the share of samples
    whose largest logit is the same, None where the output is no vector.
    """

    backend: str
    output: str
    max_abs: float
    max_rel: float
    cosine: float
    top1: float | None
    tolerance: float

    @property
    def passed(self) -> bool:
        return self.max_rel <= self.tolerance

    def to_json(self) -> dict[str, Any]:
        """Numbers that are not finite become null, which JSON can say."""
        figures = {"max_abs": self.max_abs, "max_rel": self.max_rel, "cosine": self.cosine}
        return {
            "backend": self.backend,
            "output": self.output,
            **{key: value if math.isfinite(value) else None for key, value in figures.items()},
            "top1": self.top1,
            "tolerance": self.tolerance,
            "passed": self.passed,
        }


def check_parity(
    graph: Graph,
    weights: Mapping[str, Any],
    *,
    onnx_file: Path | None = None,
    batch: int = 4,
    seed: int = 0,
    tolerance: float | None = None,
) -> list[Agreement]:
    """Compare torch in float32, and ONNX in onnxruntime on the CPU, with torch in float64.

    Without `onnx_file`, the ONNX model is the one :func:`resnetc.backends.onnx.model_bytes`
    makes. Inputs are seeded normal numbers. A file of a fixed batch sets the batch. Raises
    MissingError without onnxruntime, RunError for a file it cannot run, UsageError for one that
    was written from another network, CheckError for a reference that is not finite.
    """
    held = fit_weights(graph, weights)
    data = model_bytes(graph, held) if onnx_file is None else _read(onnx_file)
    session, facts = _open(data, "the model" if onnx_file is None else str(onnx_file))
    precision = facts.get("resnetc.precision", "fp32")
    _require_same_network(graph, facts, session)
    fixed = session.get_inputs()[0].shape[0]
    inputs = _inputs(graph, fixed if isinstance(fixed, int) else batch, seed)
    eager, exact = _torch(graph, held, inputs)
    for name, array in exact.items():
        _require_finite(name, array)
    found = _run(session, inputs)
    allowed = {p: TOLERANCES[p] if tolerance is None else tolerance for p in TOLERANCES}
    return [
        *_agreements("torch fp32", eager, exact, allowed["fp32"]),
        *_agreements(f"onnxruntime {precision}", found, exact, allowed[precision]),
    ]


def require_parity(agreements: list[Agreement]) -> None:
    """Raise CheckError that names what is beyond its tolerance."""
    failed = [each for each in agreements if not each.passed]
    if failed:
        said = "; ".join(
            f"{each.backend} differs by {each.max_rel:.2g} on {each.output}, "
            f"and {each.tolerance:.2g} is allowed"
            for each in failed
        )
        raise CheckError(said)


def _agreements(backend: str, found: Tensors, exact: Tensors, tolerance: float) -> list[Agreement]:
    return [
        _compare(backend, name, found[name], reference, tolerance)
        for name, reference in exact.items()
    ]


def _compare(
    backend: str, output: str, found: np.ndarray, reference: np.ndarray, tolerance: float
) -> Agreement:
    import numpy as np

    values = found.astype(np.float64)
    error = float(np.abs(values - reference).max())
    scale = float(np.abs(reference).max()) or 1.0
    norms = float(np.linalg.norm(values) * np.linalg.norm(reference))
    cosine = float(np.vdot(values, reference)) / norms if norms else 1.0
    top1 = None
    if reference.ndim == 2:
        top1 = float((values.argmax(1) == reference.argmax(1)).mean())
    return Agreement(backend, output, error, error / scale, cosine, top1, tolerance)


def _inputs(graph: Graph, batch: int, seed: int) -> Tensors:
    import numpy as np

    rng = np.random.default_rng(seed)
    return {
        node.name: rng.standard_normal((batch, *node.type.shape), np.float32)
        for node in graph.inputs
    }


# ---------------------------------------------------------------------------------------- torch


def _torch(graph: Graph, weights: Arrays, inputs: Tensors) -> tuple[Tensors, Tensors]:
    """Outputs in float32 and in float64."""
    import torch

    from resnetc.backends.torch import build_module

    module = build_module(graph, seed=0).eval()
    state = {path: torch.from_numpy(weights[path].copy()) for path in weights}
    module.load_state_dict(state, strict=False)  # fit_weights has been strict already

    def run(kind: torch.dtype) -> Tensors:
        arguments = [torch.from_numpy(array).to(kind) for array in inputs.values()]
        with torch.inference_mode():
            result = module.to(kind)(*arguments)
        outputs = result if isinstance(result, dict) else dict.fromkeys(graph.outputs, result)
        return {name: tensor.numpy() for name, tensor in outputs.items()}

    return run(torch.float32), run(torch.float64)


def _require_finite(name: str, reference: np.ndarray) -> None:
    import numpy as np

    if not np.isfinite(reference).all():
        raise CheckError(
            f"the reference's output {name} is not finite: with these weights there is nothing "
            "to compare"
        )


# ----------------------------------------------------------------------------------- onnxruntime


def _read(file: Path) -> Path:
    if not file.is_file():
        raise UsageError(f"{file}: there is no such file")
    return file


def _open(model: bytes | Path, shown: str) -> tuple[Any, dict[str, str]]:
    """A session on the CPU, and the file's metadata. A fallback is impossible: one is asked for."""
    try:
        import onnxruntime as ort
    except ImportError as error:
        raise MissingError(
            "onnxruntime, which runs the ONNX model, is not installed",
            "pip install 'resnetc[cpu]'",
        ) from error
    options = ort.SessionOptions()
    options.log_severity_level = 4
    source = model if isinstance(model, bytes) else str(model)
    try:
        session = ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's exceptions share no other base
        if "NOT_IMPLEMENTED" in str(error) and _is_bf16(model):
            raise RunError(
                f"{shown} computes in bf16, and onnxruntime's CPU provider has no bf16 "
                "convolution: verify an fp32 or fp16 file here"
            ) from error
        raise RunError(f"onnxruntime cannot open {shown}: {error}") from error
    return session, dict(session.get_modelmeta().custom_metadata_map)


def _is_bf16(model: bytes | Path) -> bool:
    import onnx

    loaded = (
        onnx.load_from_string(model)
        if isinstance(model, bytes)
        else onnx.load(model, load_external_data=False)
    )
    return any(tensor.data_type == onnx.TensorProto.BFLOAT16 for tensor in loaded.graph.initializer)


def _require_same_network(graph: Graph, facts: Mapping[str, str], session: Any) -> None:
    written_from = facts.get("resnetc.graph_hash")
    if written_from is not None and written_from != graph.hash:
        name = facts.get("resnetc.network")
        raise UsageError(
            f"the ONNX file was written from {name}, graph {written_from[:12]}; "
            f"this is {graph.name}, graph {graph.hash[:12]}"
        )
    expected = ({node.name for node in graph.inputs}, set(graph.outputs))
    found = ({i.name for i in session.get_inputs()}, {o.name for o in session.get_outputs()})
    if found != expected:
        raise UsageError(
            f"the ONNX file reads {', '.join(sorted(found[0]))} and gives "
            f"{', '.join(sorted(found[1]))}; {graph.name} reads {', '.join(sorted(expected[0]))} "
            f"and gives {', '.join(sorted(expected[1]))}"
        )


def _run(session: Any, inputs: Tensors) -> Tensors:
    names = [output.name for output in session.get_outputs()]
    try:
        return dict(zip(names, session.run(names, inputs), strict=True))
    except Exception as error:  # as above
        raise RunError(f"onnxruntime failed: {error}") from error
