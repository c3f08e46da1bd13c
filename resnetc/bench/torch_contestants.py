"""PyTorch, as it is and through torch.compile."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import torch

from resnetc.backends.torch import build_module
from resnetc.bench.inputs import draw_input, load_graph, load_weights, side_by_side
from resnetc.bench.request import Job
from resnetc.diagnostics import MissingError

_DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
_LAYOUTS = {"channels_last": torch.channels_last, "contiguous": torch.contiguous_format}


class Eager:
    """The module as it is, in inference mode.

    Weights have the job's precision. Input and output are fp32 as in the other backends; the
    casts between are part of a run.
    """

    def __init__(self, job: Job) -> None:
        self._device = _device(job.device)
        torch.set_num_threads(job.threads)
        _allow_tf32(job.tf32)
        graph = load_graph(job)
        module = build_module(graph, seed=job.seed)
        weights = load_weights(job, graph)
        # A counter of batches may be missing from weights; inference does not read it.
        module.load_state_dict(
            {path: torch.from_numpy(np.array(array)) for path, array in weights.items()},
            strict=False,
        )
        self._dtype, layout = _DTYPES[job.precision], _LAYOUTS[job.layout]
        module = module.eval().to(self._device, self._dtype)
        self._module: Any = module.to(memory_format=layout)
        image = torch.from_numpy(draw_input(job, graph))
        self._input = image.to(self._device, memory_format=layout)
        self._outputs: list[torch.Tensor] = []
        self.facts: dict[str, Any] = {
            "runtime": f"torch {torch.__version__}",
            "device": self._device.type,
            "device_name": _device_name(self._device),
            "layout": job.layout,
            "threads": torch.get_num_threads(),
            "tf32": job.tf32 and self._device.type == "cuda",
        }

    def run(self) -> None:
        with torch.inference_mode():
            result = self._module(self._input.to(self._dtype))
            tensors = result.values() if isinstance(result, dict) else [result]
            self._outputs = [tensor.float() for tensor in tensors]
        if self._device.type == "cuda":
            torch.cuda.synchronize()

    def output(self) -> np.ndarray:
        return side_by_side(tensor.cpu().numpy() for tensor in self._outputs)


class Compiled(Eager):
    """The module through torch.compile, for one static shape."""

    def __init__(self, job: Job) -> None:
        # A cache of its own, so that what is said of the time to compile is true of a first time.
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(Path(job.scratch) / "inductor")
        super().__init__(job)
        self._module = torch.compile(self._module, dynamic=False)
        self.run()
        self.facts["mode"] = "torch.compile, default mode"


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name == "cuda" and not torch.cuda.is_available():
        raise MissingError(
            "torch sees no CUDA device here",
            "run this where an NVIDIA GPU and a CUDA build of torch are, or say --device cpu",
        )
    return torch.device(name)


def _device_name(device: torch.device) -> str | None:
    return torch.cuda.get_device_name() if device.type == "cuda" else None


def _allow_tf32(allowed: bool) -> None:
    torch.backends.cuda.matmul.allow_tf32 = allowed
    torch.backends.cudnn.allow_tf32 = allowed
