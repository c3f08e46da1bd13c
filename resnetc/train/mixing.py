"""Mixup and cutmix: batches whose images and labels are blends of two."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from resnetc.diagnostics import UsageError
from resnetc.recipes import BinaryCrossEntropy, CrossEntropy, Cutmix, Loss, Mix, Mixup, Recipe
from resnetc.train.draws import step_random

_CROSS_ENTROPY = CrossEntropy()


@dataclass(frozen=True)
class Targets:
    """The labels of a batch: `share` of each is `labels`, the rest `others`; both int64 [B]."""

    labels: Tensor
    others: Tensor
    share: float = 1.0

    def loss(self, logits: Tensor, smoothing: float = 0.0, rule: Loss = _CROSS_ENTROPY) -> Tensor:
        """Mean loss of float32 logits [B, classes] with the blended labels.

        Cross entropy is linear in the label, so a blend's is the blend of two. `smoothing` of
        each label is spread evenly over all classes (Szegedy et al. 2015b, section 7).
        """
        if isinstance(rule, BinaryCrossEntropy):
            wanted = self.spread(logits.shape[1], smoothing, rule.threshold)
            return F.binary_cross_entropy_with_logits(logits, wanted)
        loss = F.cross_entropy(logits, self.labels, label_smoothing=smoothing)
        if self.share == 1.0:
            return loss
        other = F.cross_entropy(logits, self.others, label_smoothing=smoothing)
        return self.share * loss + (1.0 - self.share) * other

    def spread(self, classes: int, smoothing: float, threshold: float | None) -> Tensor:
        """What each class should answer: float32 [B, classes] in [0, 1].

        The shares in the image; with a threshold, 1 where the share is above it and 0 elsewhere.
        Smoothing comes after it.
        """
        numbers = torch.arange(classes, device=self.labels.device)
        one, other = ((t[:, None] == numbers).float() for t in (self.labels, self.others))
        shares = self.share * one + (1.0 - self.share) * other
        if threshold is not None:
            shares = (shares > threshold).float()
        return shares * (1.0 - smoothing) + smoothing / classes

    @property
    def main(self) -> Tensor:
        """The label each image has most of: what counts as right in the training error."""
        return self.labels if self.share >= 0.5 else self.others


def mixed(
    images: Tensor,
    labels: Tensor,
    mixes: Sequence[Mix],
    seed: int,
    step: int,
    copies: int = 1,
) -> tuple[Tensor, Targets]:
    """A batch [B, C, H, W] by one of the mixes; each image's partner is the one before it.

    Of images that come in so many `copies`, one after the other, the partner is the one that many
    places before: another image, where the batch holds twice as many (`require_partners`).
    Which mix, its share and its rectangle are drawn once a batch, by (seed, step).
    """
    if not mixes:
        return images, Targets(labels, labels)
    draw = step_random(seed, step)
    mix = draw.choice(mixes)
    share = draw.betavariate(mix.alpha, mix.alpha)
    partners, others = images.roll(copies, 0), labels.roll(copies, 0)
    if isinstance(mix, Mixup):
        return images * share + partners * (1.0 - share), Targets(labels, others, share)
    height, width = images.shape[-2:]
    top, bottom, left, right = rectangle(mix, share, (height, width), draw)
    pasted = images.clone()
    pasted[..., top:bottom, left:right] = partners[..., top:bottom, left:right]
    kept = 1.0 - (bottom - top) * (right - left) / (height * width)
    return pasted, Targets(labels, others, kept)


def require_partners(recipe: Recipe, share: int) -> None:
    """Raise UsageError where images would be mixed with copies of themselves, in a process's share
    of a batch: between two copies lie fewer places than there are copies, round the end too."""
    if recipe.mix and recipe.repeats > 1 and share < 2 * recipe.repeats:
        raise UsageError(
            f"{share} images in each process are too few to mix images that are repeated "
            f"{recipe.repeats} times: copies would be mixed with each other; give at least "
            f"{2 * recipe.repeats} to each process with --batch"
        )


def rectangle(
    mix: Cutmix, share: float, size: tuple[int, int], draw: random.Random
) -> tuple[int, int, int, int]:
    """Top, bottom, left and right of a rectangle of 1 - `share` of the area, cut off at the edges:
    its centre may be any pixel (Yun et al., section 3.1)."""
    half = 0.5 * math.sqrt(1.0 - share)
    bounds = []
    for extent in size:
        centre, reach = draw.randrange(extent), int(half * extent)
        bounds += [max(0, centre - reach), min(extent, centre + reach)]
    top, bottom, left, right = bounds
    return top, bottom, left, right
