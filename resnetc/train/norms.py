"""Which images a batch norm takes its statistics from, in training and for evaluation."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import torch
from torch import Tensor, nn

from resnetc.train.evaluation import Mode
from resnetc.train.processes import World


class GroupedBatchNorm2d(nn.BatchNorm2d):
    """Normalises each group of about `images` images by itself, as devices do that share a batch.

    A batch is cut into groups as equal as can be. The running averages see them one by one.
    """

    images: int

    def forward(self, input: Tensor) -> Tensor:
        groups = max(1, round(len(input) / self.images))
        if not self.training or groups == 1:
            return super().forward(input)
        normalise = super().forward
        return torch.cat([normalise(part) for part in torch.tensor_split(input, groups)])


def group_norms(module: nn.Module, images: int) -> None:
    """Make every batch norm of a module take its statistics from so many images at a time."""
    for norm in batch_norms(module):
        norm.__class__ = GroupedBatchNorm2d
        norm.images = images  # type: ignore[assignment]


class _Moments:
    """Sums, by channel, of everything that flows into one norm."""

    def __init__(self, norm: nn.BatchNorm2d) -> None:
        shape, device = (norm.num_features,), norm.weight.device
        self.total = torch.zeros(shape, dtype=torch.float64, device=device)
        self.squares = torch.zeros_like(self.total)
        self.count = torch.zeros((), dtype=torch.float64, device=device)

    def hook(self, norm: nn.Module, given: tuple[Tensor, ...]) -> None:
        values = given[0].detach().double()
        self.total += values.sum((0, 2, 3))
        self.squares += values.square().sum((0, 2, 3))
        self.count += values.numel() / values.shape[1]

    def write(self, norm: nn.BatchNorm2d, world: World) -> None:
        for sums in (self.total, self.squares, self.count):
            world.sum(sums)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        mean = self.total / self.count
        variance = (self.squares / self.count - mean.square()).clamp(min=0.0)
        # Unbiased, as torch's running variance is.
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance * self.count / (self.count - 1).clamp(min=1))


def measure_norms(
    module: nn.Module, batches: Iterable[Tensor], mode: Mode, world: World | None = None
) -> None:
    """Set every batch norm's statistics for evaluation to mean and variance over all batches
    [B, C, H, W] of images.

    Norms normalise by their batches meanwhile, as in training; nothing else is in training mode.
    Each channel's moments are summed up in float64: this is the average over all values of all
    images, and no moving average ("average (not moving average) on a sufficiently large training
    batch", the authors' notes on their released models).
    """
    norms = batch_norms(module)
    moments = [_Moments(norm) for norm in norms]
    hooks = [n.register_forward_pre_hook(m.hook) for n, m in zip(norms, moments, strict=True)]
    training = module.training
    module.eval()
    for norm in norms:
        norm.train()
    try:
        with torch.no_grad(), mode.autocast():
            for images in batches:
                module(mode.laid_out(images))
        for norm, sums in zip(norms, moments, strict=True):
            sums.write(norm, world or World())
    finally:
        for hook in hooks:
            hook.remove()
        module.train(training)


def batch_norms(module: nn.Module) -> list[nn.BatchNorm2d]:
    """The batch norms of a module, torch's synchronised ones among them."""
    kinds = (nn.BatchNorm2d, nn.SyncBatchNorm)
    return [cast(nn.BatchNorm2d, part) for part in module.modules() if isinstance(part, kinds)]
