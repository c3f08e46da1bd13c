"""Fine-tuning with eight bits in the loop: the network learns to live with its rounding.

The module is that of the quantized graph. Activations are rounded where the graph rounds them, to
the calibrated scales; weights are rounded to eight bits with a scale for each output channel, which
moves with them. Gradients pass the rounding as if it were not there (Bengio et al. 2013; Jacob et
al. 2018). Batch norms are folded, and what is learned goes back into the network's own weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

from resnetc.backends.torch import build_module
from resnetc.diagnostics import RunError
from resnetc.ir import Graph, Parameter
from resnetc.ir.quantized import Dequantized, Scales
from resnetc.passes import Plan, lower_for_inference
from resnetc.quantization.unfold import can_unfold, unfold
from resnetc.shapes import DType
from resnetc.train.deterministic import torch_settings
from resnetc.train.draws import Order
from resnetc.train.feed import Workers, batches
from resnetc.train.judging import EvaluateOptions, open_sight
from resnetc.train.plainly import said_plainly

if TYPE_CHECKING:
    import numpy as np

    from resnetc.driver import Network

_MOMENTUM = 0.9


@dataclass(frozen=True)
class FineTuning:
    """How long and how fast: the rate falls along half a cosine from `lr` to 0."""

    iterations: int
    lr: float = 1e-3
    batch: int = 64
    seed: int = 0


def fine_tune(
    net: Network,
    weights: Mapping[str, np.ndarray],
    plan: Plan,
    options: FineTuning,
    *,
    folder: Path | None = None,
    data: str | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> dict[str, np.ndarray]:
    """Train weights on in the plan's eight bits; returns the network's weights, by path.

    `folder` is where the weights are from; it and `data` say the set, as in `evaluate`. Raises
    RunError when the training diverges, MissingError without the data.
    """
    lowered = lower_for_inference(net.graph, plan=plan).graph
    with said_plainly(), torch_settings(deterministic=False, threads=None):
        sight = open_sight(net, folder, EvaluateOptions(data=data))
        module = _module(lowered, weights)
        seen = sight.training_view(options.seed)
        order = Order(len(seen.images), options.batch, options.seed)
        steps = order.steps(0, options.iterations, 0, 1)
        learned = [p for p in module.parameters() if p.requires_grad]
        optimizer = torch.optim.SGD(learned, lr=options.lr, momentum=_MOMENTUM)
        module.train()
        for step, (images, labels) in enumerate(
            batches(seen, steps, torch.device("cpu"), Workers())
        ):
            for group in optimizer.param_groups:
                group["lr"] = options.lr * (1 + math.cos(math.pi * step / options.iterations)) / 2
            loss = F.cross_entropy(module(images).float(), labels)
            if not math.isfinite(float(loss.detach())):
                raise RunError(f"fine-tuning diverged at iteration {step + 1}; choose a lower rate")
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            if progress is not None:
                progress(step + 1, options.iterations)
        changed = _learned(module, lowered)
    folded = lower_for_inference(net.graph).graph
    return unfold(folded, changed, weights)


class _Rounding(nn.Module):
    """A weight as its eight bits have it, with a scale for each output channel."""

    def __init__(self, dtype: DType, levels: float) -> None:
        super().__init__()
        self._float8 = dtype is DType.F8
        self._levels = levels

    def forward(self, weight: Tensor) -> Tensor:
        held = weight.detach()
        largest = held.flatten(1).abs().amax(1).clamp(min=1e-30)
        scale = (largest / self._levels).view(-1, *[1] * (held.ndim - 1))
        levels = held / scale
        rounded = levels.to(torch.float8_e4m3fn).float() if self._float8 else levels.round()
        return weight + (rounded * scale - held)


def _module(lowered: Graph, weights: Mapping[str, np.ndarray]) -> nn.Module:
    """The quantized graph with weights that can learn: unrounded underneath, rounded in use."""
    module = build_module(lowered, seed=0).float()
    state = {
        path: torch.from_numpy(_unrounded(parameter, weights))
        for path, parameter in lowered.parameters.items()
    }
    module.load_state_dict(state, strict=False)
    for path, parameter in lowered.parameters.items():
        owner, _, name = path.rpartition(".")
        held = module.get_parameter(path) if path in state else None
        if held is not None:
            held.requires_grad_(can_unfold(_folded_value(parameter)))
        levels = parameter.value.levels if isinstance(parameter.value, Dequantized) else None
        if levels is not None and isinstance(levels.scales, Scales):
            rounding = _Rounding(levels.dtype, levels.scales.levels)
            parametrize.register_parametrization(module.get_submodule(owner), name, rounding)
    return module


def _folded_value(parameter: Parameter) -> Any:
    """A parameter's value before it was quantized."""
    value = parameter.value
    return value.levels.value if isinstance(value, Dequantized) else value


def _unrounded(parameter: Parameter, weights: Mapping[str, np.ndarray]) -> np.ndarray:
    array: np.ndarray = _folded_value(parameter).evaluate(weights).astype("float32")
    return array


def _learned(module: nn.Module, lowered: Graph) -> dict[str, np.ndarray]:
    """What the parameters that may change have become, unrounded, by path."""
    found: dict[str, np.ndarray] = {}
    held = dict(module.named_parameters())
    for path in lowered.parameters:
        owner, _, name = path.rpartition(".")
        dot = f"{owner}." if owner else ""
        parameter = held.get(path, held.get(f"{dot}parametrizations.{name}.original"))
        if parameter is not None and parameter.requires_grad:
            found[path] = parameter.detach().numpy().copy()
    return found
