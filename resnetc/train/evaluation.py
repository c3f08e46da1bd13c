"""A network judged by a set of images: every image once, whatever the number of processes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resnetc.train.draws import Samples
from resnetc.train.feed import View, Workers, batches
from resnetc.train.processes import World

BATCH = 250
"""Images per batch of an evaluation. The result does not depend on it beyond rounding."""


@dataclass(frozen=True)
class Evaluation:
    """What a full pass found.

    `top1` and `top5` are accuracies in [0, 1], `loss` the mean cross entropy in nats (null in JSON
    where it is not finite), `per_class` the top-1 accuracy of each class that has images, by name.
    """

    images: int
    loss: float
    top1: float
    top5: float
    per_class: dict[str, float]

    @property
    def error(self) -> float:
        return 1.0 - self.top1

    def to_json(self) -> dict[str, Any]:
        loss = self.loss if math.isfinite(self.loss) else None
        scores = {"top1": self.top1, "top5": self.top5, "loss": loss}
        return {"images": self.images, **scores, "per_class": self.per_class}


@dataclass(frozen=True)
class Mode:
    """How a network is run: where, in which precision and layout."""

    device: torch.device
    precision: str = "fp32"
    channels_last: bool = False

    def autocast(self) -> torch.autocast:
        return torch.autocast(
            self.device.type, torch.bfloat16, enabled=self.precision == "bf16", cache_enabled=True
        )

    def placed(self, module: nn.Module) -> nn.Module:
        """The module where it is to run, its weights in the layout of its images."""
        layout = torch.channels_last if self.channels_last else torch.preserve_format
        placed: nn.Module = module.to(self.device, memory_format=layout)  # type: ignore[call-overload]
        return placed

    def laid_out(self, images: Tensor) -> Tensor:
        if not self.channels_last:
            return images
        return images.contiguous(memory_format=torch.channels_last)


def evaluate_module(
    module: nn.Module,
    seen: View,
    classes: Sequence[str],
    mode: Mode,
    *,
    world: World | None = None,
    workers: Workers | None = None,
    batch: int = BATCH,
) -> Evaluation:
    """Run a module over all images of a view, in eval mode; it is left in the mode it was in.

    Each process takes its share and the counts are added up. Outputs that are not finite make the
    loss so: early in a training the running statistics of batch norms may be far off.
    """
    world = world or World()
    tally = Tally(len(classes), mode.device)
    training = module.training
    module.eval()
    try:
        with torch.inference_mode(), mode.autocast():
            plan = share(len(seen.images), world, batch)
            for images, labels in batches(seen, plan, mode.device, workers or Workers()):
                tally.add(module(mode.laid_out(images)).float(), labels)
    finally:
        module.train(training)
    return tally.result(classes, world)


def share(images: int, world: World, batch: int = BATCH) -> list[Samples]:
    """This process's images, in batches; together the processes have each image once.

    None is padded: of few images some processes have one less, and of fewer than processes none.
    """
    indices = torch.arange(images)[world.rank :: world.size]
    parts = torch.split(indices, batch) if len(indices) else ()
    return [Samples(0, torch.zeros_like(part), part) for part in parts]


class Tally:
    """Sums over an evaluation, on the device, read once at the end."""

    def __init__(self, classes: int, device: torch.device) -> None:
        self._loss = torch.zeros((), dtype=torch.float64, device=device)
        self._top5 = torch.zeros((), dtype=torch.int64, device=device)
        self._right = torch.zeros(classes, dtype=torch.int64, device=device)
        self._seen = torch.zeros(classes, dtype=torch.int64, device=device)

    def add(self, logits: Tensor, labels: Tensor) -> None:
        """Count a batch: its scores before softmax and its labels."""
        self._loss += F.cross_entropy(logits, labels, reduction="sum").double()
        ranked = logits.topk(min(5, logits.shape[1])).indices == labels[:, None]
        self._top5 += ranked.sum()
        self._seen.index_add_(0, labels, torch.ones_like(labels))
        self._right.index_add_(0, labels, ranked[:, 0].long())

    def result(self, classes: Sequence[str], world: World | None = None) -> Evaluation:
        """What was found, by all processes together."""
        world = world or World()
        for sums in (self._loss, self._top5, self._right, self._seen):
            world.sum(sums)
        images = int(self._seen.sum())
        pairs = zip(classes, self._right.tolist(), self._seen.tolist(), strict=True)
        return Evaluation(
            images,
            float(self._loss) / images,
            top1=int(self._right.sum()) / images,
            top5=int(self._top5) / images,
            per_class={name: right / seen for name, right, seen in pairs if seen},
        )
