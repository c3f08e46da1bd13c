"""What eight bits cost, layer by layer, and which layers to keep so that they cost little."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from resnetc.ir import Graph, Node
from resnetc.passes import Plan, lower_for_inference
from resnetc.passes.placement import QUANTIZABLE
from resnetc.quantization.running import Labelled, labels, logits

if TYPE_CHECKING:
    import numpy as np

    Weights = Mapping[str, np.ndarray]

Progress = Callable[[int, int], object]

_ROUNDING = 1e-9
"""What the difference of two accuracies may be off, in points."""


@dataclass(frozen=True)
class LayerCost:
    """What it costs that this layer alone is narrow: `loss` in points of top-1 accuracy, and
    `divergence`, the mean Kullback-Leibler divergence in nats from what the network says in
    fp32, which tells more where few images change sides. `share` is the layer's part of all
    multiply-accumulates."""

    layer: str
    place: str
    loss: float
    divergence: float
    share: float

    def to_json(self) -> dict[str, Any]:
        return dict(vars(self))


@dataclass(frozen=True)
class Sensitivity:
    """Layers by what they cost, dearest first; accuracies in [0, 1] of fp32 and of all narrow.

    `keep` are the layers that stay wide so that no more than what was allowed is lost, and `kept`
    the accuracy that is left then; without a limit, none and None.
    """

    images: str
    wide: float
    narrow: float
    layers: tuple[LayerCost, ...]
    keep: tuple[str, ...] = ()
    kept: float | None = None

    def to_json(self) -> dict[str, Any]:
        return {**vars(self), "layers": [each.to_json() for each in self.layers]}


def rank_layers(
    graph: Graph,
    weights: Weights,
    plan: Plan,
    images: Labelled,
    *,
    progress: Progress | None = None,
) -> Sensitivity:
    """Judge a classifier (of stage SOURCE) with one layer narrow at a time, as `plan` has it.

    Layers that the plan keeps wide are not tried. Raises as :class:`Runner` does.
    """
    lowered = lower_for_inference(graph).graph
    held = plan.wide(lowered)
    every = [n for n in lowered if isinstance(n.op, QUANTIZABLE)]
    tried = [node for node in every if node.name not in held]
    right = labels(images)
    exact = logits(graph, weights, Plan(), images)
    whole = logits(graph, weights, plan, images)
    wide, narrow = _accuracy(exact, right), _accuracy(whole, right)
    macs = sum(node.op.macs(node.type) for node in every)
    costs = []
    for number, node in enumerate(tried, 1):
        others = tuple(each.name for each in every if each is not node)
        said = logits(graph, weights, replace(plan, keep=others, kept="fp32"), images)
        loss = 100 * (wide - _accuracy(said, right))
        share = node.op.macs(node.type) / macs
        costs.append(LayerCost(node.name, _place(node), loss, _divergence(exact, said), share))
        if progress is not None:
            progress(number, len(tried))
    costs.sort(key=lambda cost: (-cost.loss, -cost.divergence))
    return Sensitivity(images.said, wide, narrow, tuple(costs))


def choose_kept(
    graph: Graph,
    weights: Weights,
    plan: Plan,
    images: Labelled,
    found: Sensitivity,
    max_loss: float,
) -> Sensitivity:
    """Keep the dearest layers wide, as few as leave a loss of at most `max_loss` points of top-1.

    By bisection over the ranking: what is chosen has been judged itself.
    """
    right = labels(images)
    dearest = [cost.layer for cost in found.layers]
    judged: dict[int, float] = {0: found.narrow}

    def fits(count: int) -> bool:
        if count not in judged:
            tried = replace(plan, keep=(*plan.keep, *dearest[:count]))
            judged[count] = _accuracy(logits(graph, weights, tried, images), right)
        return 100 * (found.wide - judged[count]) <= max_loss + _ROUNDING

    low, high = 0, len(dearest)
    if not fits(high):
        low = high
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if fits(middle) else (middle + 1, high)
    fits(low)
    return replace(found, keep=tuple(dearest[:low]), kept=judged[low])


def _place(node: Node) -> str:
    """Where in the spec a layer stands."""
    return "" if node.span is None else f"{node.span.source.name}:{node.span.line}"


def _accuracy(said: np.ndarray, right: np.ndarray) -> float:
    return float((said.argmax(1) == right).mean())


def _divergence(exact: np.ndarray, said: np.ndarray) -> float:
    """Mean divergence of the classes' probabilities, in nats."""
    import numpy as np

    p, q = _log_softmax(exact), _log_softmax(said)
    return float((np.exp(p) * (p - q)).sum(1).mean())


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    import numpy as np

    shifted = logits.astype(np.float64) - logits.max(1, keepdims=True)
    found: np.ndarray = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    return found
