"""What gives scores for images: a module of torch, an ONNX file, a TensorRT engine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from resnetc.backends.parity.onnx_runtime import OnnxRuntime
from resnetc.backends.parity.runtimes import OnnxModel, Subject
from resnetc.backends.weights import as_arrays
from resnetc.diagnostics import UsageError
from resnetc.ir import Graph
from resnetc.ops import Dropout, Flatten, GlobalAvgPool, Linear
from resnetc.train.evaluation import Mode


class Scorer(Protocol):
    """A network made ready to judge."""

    device: torch.device
    """Where it takes its images."""

    def scores(self, images: Tensor) -> Tensor:
        """Float32 scores before softmax, [B, classes], on the CPU, of images [B, C, H, W]."""

    def dense_scores(self, images: Tensor) -> Tensor:
        """Scores at every place the network's input fits, [B, places, classes]. Raises UsageError
        for what takes images of one size only."""


class ModuleScorer:
    """A module of torch, in evaluation mode."""

    def __init__(self, module: nn.Module, graph: Graph, mode: Mode) -> None:
        self.device = mode.device
        self._module, self._graph, self._mode = mode.placed(module).eval(), graph, mode

    def scores(self, images: Tensor) -> Tensor:
        with torch.inference_mode(), self._mode.autocast():
            scores: Tensor = self._module(self._mode.laid_out(images)).float()
        return scores.cpu()

    def dense_scores(self, images: Tensor) -> Tensor:
        """The last pool slides over the map, one step at a time, instead of covering it; what
        follows it is applied at every place (Sermanet et al. 2014; Simonyan and Zisserman 2015)."""
        with SlidingPool(self._graph):
            scores = self.scores(images)
        return scores.reshape(len(images), -1, scores.shape[-1])


class SlidingPool(TorchFunctionMode):
    """For the length of a block the last global pool of a network is one that slides.

    Its window is the map of an image of the network's input size. The places it stops at become
    images of the batch: [B, C, h, w] to [B * places, C, 1, 1].
    """

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        pools = [node for node in graph if isinstance(node.op, GlobalAvgPool)]
        head = pools[-1] if pools else None
        if head is None or not _only_a_classifier_follows(graph, head.id):
            raise UsageError(
                f"{graph.name} has no global average pool right before its classifier, so it "
                "cannot be run over larger images"
            )
        self._window = graph[head.inputs[0]].type.shape[1:]
        self._before = len(pools) - 1

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        if func is not F.adaptive_avg_pool2d:
            return func(*args, **(kwargs or {}))
        if self._before:
            self._before -= 1
            return func(*args, **(kwargs or {}))
        pooled = F.avg_pool2d(args[0], self._window, stride=1)
        return pooled.permute(0, 2, 3, 1).reshape(-1, pooled.shape[1], 1, 1)


def _only_a_classifier_follows(graph: Graph, pool: Any) -> bool:
    """Whether everything that depends on the pool treats each image, and no place, by itself."""
    reached = {pool}
    for node in graph:
        if reached.isdisjoint(node.inputs):
            continue
        if not isinstance(node.op, Flatten | Linear | Dropout):
            return False
        reached.add(node.id)
    return True


class OnnxScorer:
    """An ONNX file in ONNX Runtime, on the CPU."""

    def __init__(self, path: Path, graph: Graph) -> None:
        self.device = torch.device("cpu")
        if not path.is_file():
            raise UsageError(f"{path}: there is no such file")
        model = OnnxModel(path, str(path))
        self._runtime = OnnxRuntime(Subject(graph, as_arrays({}), model))
        self._input, (self._output,) = graph.inputs[0].name, tuple(graph.outputs)
        self._path = path
        self._batch = self._runtime.batch

    def scores(self, images: Tensor) -> Tensor:
        parts = torch.split(images, self._batch or len(images))
        return torch.cat([self._run(part) for part in parts])

    def _run(self, images: Tensor) -> Tensor:
        """A last batch that is too short for a file with a fixed one is filled up."""
        missing = 0 if self._batch is None else self._batch - len(images)
        given = F.pad(images, (0, 0, 0, 0, 0, 0, 0, missing)).contiguous().numpy()
        scores = self._runtime.run({self._input: given})[self._output]
        return torch.from_numpy(scores)[: len(images)].float()

    def dense_scores(self, images: Tensor) -> Tensor:
        raise UsageError(
            f"{self._path}: an ONNX file takes images of one size; scales need weights"
        )


class EngineScorer:
    """A TensorRT engine, on the GPU it was built for."""

    def __init__(self, path: Path, graph: Graph) -> None:
        from resnetc.backends.tensorrt.running import EngineRunner, require_gpu

        if not path.is_file():
            raise UsageError(f"{path}: there is no such file")
        require_gpu("judge the ONNX file or the weights that it was built from")
        self._runner = EngineRunner(path)
        self.device = torch.device("cuda", torch.cuda.current_device())
        self._path = path
        self._input, (self._output,) = graph.inputs[0].name, tuple(graph.outputs)

    def scores(self, images: Tensor) -> Tensor:
        return self._runner.infer({self._input: images})[self._output]

    def dense_scores(self, images: Tensor) -> Tensor:
        raise UsageError(f"{self._path}: an engine takes images of one size; scales need weights")
