"""Batch norms whose statistics are those of several processes' images."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from resnetc.diagnostics import UsageError
from resnetc.recipes import Recipe
from resnetc.train.norms import batch_norms, group_norms
from resnetc.train.processes import World


class SyncedBatchNorm2d(nn.BatchNorm2d):
    """Normalises by mean and variance over the images of all processes of its group.

    torch's own SyncBatchNorm, which knows no CPU, is for GPUs. Every process has equally many
    images, so that moments of the whole are means over processes.
    """

    group: dist.ProcessGroup

    def forward(self, input: Tensor) -> Tensor:
        if not self.training:
            return super().forward(input)
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        assert self.momentum is not None
        output, mean, variance = _Normalised.apply(
            input, self.weight, self.bias, self.eps, self.group
        )
        count = self.group.size() * input.numel() // input.shape[1]
        with torch.no_grad():
            self.num_batches_tracked.add_(1)
            self.running_mean.lerp_(mean, self.momentum)
            # Unbiased, as torch's running variance is.
            self.running_var.lerp_(variance * (count / (count - 1)), self.momentum)
        normalised: Tensor = output
        return normalised


class _Normalised(torch.autograd.Function):
    """[B, C, H, W] to the same, and the mean and the variance [C] that it was normalised by."""

    @staticmethod
    def forward(
        ctx: Any,
        images: Tensor,
        weight: Tensor,
        bias: Tensor,
        eps: float,
        group: dist.ProcessGroup,
    ) -> tuple[Tensor, Tensor, Tensor]:
        # Moments by process first: a difference of large sums would lose its digits.
        ours = torch.stack(torch.var_mean(images.float(), (0, 2, 3), correction=0))
        held = [torch.empty_like(ours) for _ in range(group.size())]
        dist.all_gather(held, ours, group)
        variances, means = torch.stack(held, 1)
        mean = means.mean(0)
        variance = variances.mean(0) + (means - mean).square().mean(0)
        ctx.save_for_backward(images, weight, mean, torch.rsqrt(variance + eps))
        ctx.group = group
        ctx.mark_non_differentiable(mean, variance)
        return F.batch_norm(images, mean, variance, weight, bias, eps=eps), mean, variance

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, given: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        """The gradient of the sum of all processes' losses with respect to this one's images.

        Those of scale and shift are of this process's loss alone: they are averaged later, as all
        parameters' gradients are.
        """
        images, weight, mean, scale = ctx.saved_tensors
        given_32 = given.float()
        whitened = (images.float() - _spread(mean)) * _spread(scale)
        ours = torch.stack([given_32.sum((0, 2, 3)), (given_32 * whitened).sum((0, 2, 3))])
        of_bias, of_weight = ours.clone()
        dist.all_reduce(ours, group=ctx.group)
        level, slope = ours / (ctx.group.size() * (images.numel() // images.shape[1]))
        of_images = (given_32 - _spread(level) - whitened * _spread(slope)) * _spread(
            weight * scale
        )
        return of_images.to(images.dtype), of_weight, of_bias, None, None


def _spread(values: Tensor) -> Tensor:
    """[C] as [1, C, 1, 1]."""
    return values[None, :, None, None]


def settle_norms(module: nn.Module, recipe: Recipe, images: int, world: World) -> None:
    """Make a module's batch norms take their statistics from as many images as a recipe says.

    `images` are those that a process sends through the module at a time. Raises UsageError where
    the processes' images cannot be put together so.
    """
    wanted = recipe.norm_images
    if not recipe.norm_sync or world.size == 1 or (wanted is not None and wanted <= images):
        if wanted is not None:
            group_norms(module, wanted)
        return
    _share_norms(module, world, _span(wanted, images, world))


def _span(wanted: int | None, images: int, world: World) -> int:
    """How many processes, next to each other, have the images that a norm wants."""
    if wanted is None or wanted >= images * world.size:
        return world.size
    if wanted % images or world.size % (wanted // images):
        raise UsageError(
            f"norm_images is {wanted}, which {world.size} processes of {images} images each cannot "
            "put together in equal groups; choose another, or norm_sync=false"
        )
    return wanted // images


def _share_norms(module: nn.Module, world: World, span: int) -> None:
    groups = [
        dist.new_group(list(range(first, first + span))) for first in range(0, world.size, span)
    ]
    group = groups[world.rank // span]
    for norm in batch_norms(module):
        synced = nn.SyncBatchNorm if norm.weight.is_cuda else SyncedBatchNorm2d
        norm.__class__ = synced  # type: ignore[assignment]
        named = "process_group" if synced is nn.SyncBatchNorm else "group"
        object.__setattr__(norm, named, group)
