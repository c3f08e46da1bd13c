"""OpenVINO on the CPU, on the ONNX model that onnxruntime is given."""

from __future__ import annotations

from typing import Any

import numpy as np

from resnetc.bench.inputs import draw_input, load_graph, load_weights, only_input, side_by_side
from resnetc.bench.request import Job
from resnetc.diagnostics import MissingError, RunError


class OpenVino:
    """A compiled model, the batch fixed, that computes in the job's precision.

    Left to itself, OpenVINO computes an fp32 model in bf16 where the processor can: that is what
    `--precision bf16` measures.
    """

    def __init__(self, job: Job) -> None:
        from resnetc.backends.onnx import OnnxOptions, model_bytes
        from resnetc.backends.openvino import (
            INFERENCE,
            compile_model,
            import_openvino,
            read_model,
        )

        openvino = import_openvino()
        if job.device != "cpu":
            raise MissingError("openvino is measured on the CPU alone", "say --device cpu")
        graph = load_graph(job)
        options = OnnxOptions(batch=job.batch, precision=job.precision)
        model = read_model(model_bytes(graph, load_weights(job, graph), options), "the model")
        compiled = compile_model(model, job.precision, threads=job.threads)
        computes_in = compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
        if computes_in != INFERENCE[job.precision]:
            raise RunError(
                f"openvino computes in {computes_in} on this processor, not in {job.precision}"
            )
        self._request = compiled.create_infer_request()
        self._image = draw_input(job, graph)  # the tensor is only a view of it
        tensor = openvino.Tensor(self._image, shared_memory=True)
        self._request.set_tensor(only_input(graph).name, tensor)
        self._names = list(graph.outputs)
        self.facts: dict[str, Any] = {
            "runtime": f"openvino {openvino.__version__.partition('-')[0]}",
            "device": job.device,
            "computes_in": computes_in,
            "layout": "chosen by OpenVINO",
            "threads": compiled.get_property("INFERENCE_NUM_THREADS"),
            "tf32": False,
        }

    def run(self) -> None:
        try:
            self._request.infer()
        except RuntimeError as error:
            raise RunError(f"openvino failed: {error}") from error

    def output(self) -> np.ndarray:
        found = (np.array(self._request.get_tensor(name).data) for name in self._names)
        return side_by_side(found)
