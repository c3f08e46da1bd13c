"""An engine, run on tensors that torch holds on the GPU."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resnetc.backends.tensorrt.library import find_library, make_logger
from resnetc.diagnostics import MissingError, RunError

if TYPE_CHECKING:
    import torch

    Tensors = Mapping[str, torch.Tensor]

DEVICE = "cuda"
_TYPES = {"FLOAT": "float32", "HALF": "float16", "BF16": "bfloat16"}
"""TensorRT's words for element types, and torch's."""


def require_gpu(remedy: str) -> None:
    """Raise MissingError where no GPU is, or torch does not see it."""
    from resnetc.backends.tensorrt.library import gpu_present

    if not gpu_present():
        raise MissingError(
            "a TensorRT engine runs on an NVIDIA GPU, and there is none here", remedy
        )
    import torch

    if not torch.cuda.is_available():
        raise MissingError(
            "torch, which holds the engine's memory, is not built for CUDA",
            "pip install --force-reinstall torch  # a CUDA build, see pytorch.org",
        )


class EngineRunner:
    """An engine made ready on the GPU that is here.

    `inputs` and `outputs` are the names of its tensors, `batch` is the largest it takes, and
    `fixed` whether it takes no other. Raises MissingError without a GPU, RunError for what cannot
    be opened here.
    """

    def __init__(self, path: Path, library: str | None = None) -> None:
        require_gpu("run this on a machine with one")
        import torch

        trt = find_library(library).module
        self._path = path
        self._logger = make_logger(trt)
        self._runtime = trt.Runtime(self._logger)
        self._engine: Any = self._runtime.deserialize_cuda_engine(path.read_bytes())
        if self._engine is None:
            said = "; ".join(self._logger.errors)
            raise RunError(f"{path}: the engine cannot be opened here: {said}")
        names = [self._engine.get_tensor_name(i) for i in range(self._engine.num_io_tensors)]
        entries = {n for n in names if self._engine.get_tensor_mode(n) == trt.TensorIOMode.INPUT}
        self.inputs = [name for name in names if name in entries]
        self.outputs = [name for name in names if name not in entries]
        words = {name: self._engine.get_tensor_dtype(name).name for name in names}
        self._types = {name: getattr(torch, _TYPES[word]) for name, word in words.items()}
        self._context = self._engine.create_execution_context()
        self._stream: Any = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        first = self.inputs[0]
        only = int(self._engine.get_tensor_shape(first)[0])
        self.fixed = only > 0
        most = only if self.fixed else self._engine.get_tensor_profile_shape(first, 0)[2][0]
        self.batch = int(most)

    def bind(self, inputs: Tensors) -> Tensors:
        """The tensors that every run from here on writes, for those that it reads; both lie on the
        GPU and must be kept. Inputs are in the engine's element types, see :meth:`given`."""
        import torch

        for name, tensor in inputs.items():
            self._context.set_input_shape(name, tuple(tensor.shape))
        written = {
            name: torch.empty(
                tuple(self._context.get_tensor_shape(name)), dtype=self._types[name], device=DEVICE
            )
            for name in self.outputs
        }
        for name, tensor in {**inputs, **written}.items():
            self._context.set_tensor_address(name, tensor.data_ptr())
        torch.cuda.synchronize()  # what fills the inputs runs in another stream than the engine
        return written

    def given(self, inputs: Tensors) -> dict[str, torch.Tensor]:
        """Inputs as the engine takes them."""
        return {
            name: tensor.to(DEVICE, self._types[name]).contiguous()
            for name, tensor in inputs.items()
        }

    def run(self) -> None:
        """Infer once, on what is bound; returns when the outputs are there. Raises RunError."""
        if not self._context.execute_async_v3(self._stream.cuda_stream):
            said = "; ".join(self._logger.errors)
            raise RunError(f"{self._path}: TensorRT did not run: {said}")
        self._stream.synchronize()

    def infer(self, inputs: Tensors) -> dict[str, torch.Tensor]:
        """Outputs in float32 on the host, of any number of samples: as many at a time as the engine
        takes, a last part that is too short for a fixed batch filled up."""
        import torch

        count = len(next(iter(inputs.values())))
        parts = [
            self._infer({name: tensor[at : at + self.batch] for name, tensor in inputs.items()})
            for at in range(0, count, self.batch)
        ]
        return {name: torch.cat([part[name] for part in parts]) for name in self.outputs}

    def _infer(self, inputs: Tensors) -> dict[str, torch.Tensor]:
        import torch.nn.functional as F

        count = len(next(iter(inputs.values())))
        missing = self.batch - count if self.fixed else 0
        filled = {
            name: F.pad(tensor, (*(0, 0) * (tensor.dim() - 1), 0, missing))
            for name, tensor in inputs.items()
        }
        given = self.given(filled)
        written = self.bind(given)
        self.run()
        return {name: tensor[:count].float().cpu() for name, tensor in written.items()}
