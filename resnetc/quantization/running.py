"""A lowered graph in onnxruntime on the CPU, and how right its answers are."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from resnetc.backends.onnx import OnnxOptions, lowered_bytes
from resnetc.backends.onnx.kernels import why_unoptimized
from resnetc.diagnostics import MissingError, RunError
from resnetc.ir import Graph
from resnetc.passes import Plan, lower_for_inference
from resnetc.processor import sums_saturate

if TYPE_CHECKING:
    import numpy as np

BATCH = 50
"""Images that are judged at a time."""


@dataclass(frozen=True)
class Labelled:
    """Images to judge by: `batches` of float32 [N, C, H, W] with int64 labels [N], `count` images
    in all; `said` names them, `real` is false for made-up ones."""

    batches: Callable[[int], Iterator[tuple[np.ndarray, np.ndarray]]]
    count: int
    said: str
    real: bool = True


class Runner:
    """A session. Called with a batch it gives the outputs by name.

    Raises MissingError without onnxruntime, RunError for a graph that it cannot run.
    """

    def __init__(
        self,
        lowered: Graph,
        weights: Mapping[str, np.ndarray],
        options: OnnxOptions | None = None,
        *,
        optimize: bool = True,
    ) -> None:
        try:
            import onnxruntime as ort
        except ImportError as error:
            raise MissingError(
                "quantization runs the network in onnxruntime, which is not installed",
                "pip install 'resnetc[cpu]'",
            ) from error
        settings = ort.SessionOptions()
        settings.log_severity_level = 4
        settings.intra_op_num_threads = int(os.environ.get("OMP_NUM_THREADS", "0"))
        if not optimize:
            settings.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        model = lowered_bytes(lowered, weights, options)
        (self._entry,) = (node.name for node in lowered.inputs)
        self._names = list(lowered.outputs)
        try:
            self._session: Any = ort.InferenceSession(
                model, settings, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime's exceptions share no other base
            raise RunError(f"onnxruntime cannot run {lowered.name}: {error}") from error

    def __call__(self, batch: np.ndarray) -> dict[str, np.ndarray]:
        found: list[np.ndarray] = self._session.run(self._names, {self._entry: batch})
        return dict(zip(self._names, found, strict=True))


def logits(
    graph: Graph, weights: Mapping[str, np.ndarray], plan: Plan, images: Labelled
) -> np.ndarray:
    """What a classifier (a graph of stage SOURCE) says of all images in a precision: float32."""
    import numpy as np

    lowered = lower_for_inference(graph, plan=plan).graph
    run = Runner(lowered, weights, OnnxOptions(plan=plan), optimize=not _computes_otherwise(plan))
    kind = {"fp32": np.float32, "fp16": np.float16}[plan.inputs]
    said = [run(batch.astype(kind)) for batch, _ in images.batches(BATCH)]
    return np.concatenate([next(iter(each.values())) for each in said]).astype(np.float32)


def _computes_otherwise(plan: Plan) -> bool:
    """Whether onnxruntime's optimizer would make something else of eight bits here."""
    bits = 8 if plan.encoding is None else plan.encoding.weight_bits
    return why_unoptimized(plan.layers, bits, saturates=sums_saturate()) is not None


def labels(images: Labelled) -> np.ndarray:
    """The right answers, in the same order."""
    import numpy as np

    return np.concatenate([right for _, right in images.batches(BATCH)])
