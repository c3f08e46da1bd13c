"""A TensorRT engine, run on tensors that torch holds on the GPU."""

from __future__ import annotations

from pathlib import Path
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


class TensorRt:
    """An engine built for the job's batch and precision on the GPU that is here."""

    def __init__(self, job: Job) -> None:
        _require_gpu()
        import torch

        from resnetc.backends.tensorrt import TensorRtOptions, build_engine
        from resnetc.backends.tensorrt.library import find_library, make_logger

        if not torch.cuda.is_available():
            raise MissingError(
                "torch, which holds the engine's memory, is not built for CUDA",
                "pip install --force-reinstall torch  # a CUDA build, see pytorch.org",
            )
        graph = load_graph(job)
        options = TensorRtOptions(precision=job.precision, batch=job.batch, tf32=job.tf32)
        path = Path(job.scratch) / "network.engine"
        built = build_engine(graph, path, load_weights(job, graph), options=options)
        trt = find_library(options.library).module
        self._logger = make_logger(trt)
        self._engine = trt.Runtime(self._logger).deserialize_cuda_engine(path.read_bytes())
        if self._engine is None:
            raise RunError(f"{built.library} cannot open the engine here: {self._logger.errors}")
        self._context = self._engine.create_execution_context()
        self._input = torch.from_numpy(draw_input(job, graph)).cuda()
        self._outputs = {
            name: torch.empty(shape, dtype=torch.float32, device="cuda")
            for name, shape in output_shapes(job, graph).items()
        }
        self._context.set_tensor_address(only_input(graph).name, self._input.data_ptr())
        for name, tensor in self._outputs.items():
            self._context.set_tensor_address(name, tensor.data_ptr())
        self._stream: Any = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        torch.cuda.synchronize()
        self.facts: dict[str, Any] = {
            "runtime": f"{built.library} {built.version}",
            "device": "cuda",
            "device_name": torch.cuda.get_device_name(),
            "layers": built.found,
            "read_from": built.read_from,
            "layout": "chosen by TensorRT",
            "threads": job.threads,
            "tf32": job.tf32,
        }

    def run(self) -> None:
        if not self._context.execute_async_v3(self._stream.cuda_stream):
            raise RunError(f"TensorRT did not run: {'; '.join(self._logger.errors)}")
        self._stream.synchronize()

    def output(self) -> np.ndarray:
        return side_by_side(tensor.cpu().numpy() for tensor in self._outputs.values())


def _require_gpu() -> None:
    from resnetc.backends.tensorrt.library import gpu_present

    if not gpu_present():
        raise MissingError(
            "a TensorRT engine runs on an NVIDIA GPU, and there is none here",
            "run this on a machine with one, or leave tensorrt out: "
            "--backends eager,compile,onnxruntime",
        )
