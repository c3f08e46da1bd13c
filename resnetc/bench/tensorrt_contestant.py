"""A TensorRT engine, run on tensors that torch holds on the GPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from resnetc.backends.tensorrt.running import EngineRunner, require_gpu
from resnetc.bench.inputs import draw_input, load_graph, load_weights, only_input, side_by_side
from resnetc.bench.request import Job


class TensorRt:
    """An engine built for the job's batch and precision on the GPU that is here."""

    def __init__(self, job: Job) -> None:
        require_gpu(
            "run this on a machine with one, or leave tensorrt out: "
            "--backends eager,compile,onnxruntime"
        )
        import torch

        from resnetc.backends.tensorrt import TensorRtOptions, build_engine

        graph = load_graph(job)
        options = TensorRtOptions(precision=job.precision, batch=job.batch, tf32=job.tf32)
        path = Path(job.scratch) / "network.engine"
        built = build_engine(graph, path, load_weights(job, graph), options=options)
        self._runner = EngineRunner(path, built.library)
        image = torch.from_numpy(draw_input(job, graph))
        self._inputs = self._runner.given({only_input(graph).name: image})
        self._outputs = self._runner.bind(self._inputs)
        self._names = list(graph.outputs)
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
        self._runner.run()

    def output(self) -> np.ndarray:
        return side_by_side(self._outputs[name].cpu().numpy() for name in self._names)
