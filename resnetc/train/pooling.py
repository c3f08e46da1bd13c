"""Scores of several looks and several networks, pooled into one verdict."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from resnetc.train.evaluation import BATCH, Evaluation, Tally, share
from resnetc.train.feed import Workers, batches
from resnetc.train.looks import Look
from resnetc.train.processes import World
from resnetc.train.scorers import Scorer


def scores_of(scorer: Scorer, look: Look, classes: int, workers: Workers, world: World) -> Tensor:
    """Scores before softmax of this process's share of a set, float32 [N, classes].

    Where a look shows an image several times, or in several places, these are logarithms of the
    averaged probabilities: "10-crop, softmax scores averaged", as the authors' notes have it.
    """
    given = _images(scorer, look, workers, world)
    # A share may be empty.
    parts = [torch.empty(0, classes), *(_averaged(scorer, look, images) for images in given)]
    return torch.cat(parts)


def pooled(scores: Sequence[Tensor]) -> Tensor:
    """Scores [N, classes] of several looks or networks as one: logarithms of the averaged
    probabilities; of one alone, its own."""
    if len(scores) == 1:
        return scores[0]
    return _mean(torch.stack([each.double() for each in scores]), 0)


def verdict(scores: Tensor, labels: Tensor, classes: Sequence[str], world: World) -> Evaluation:
    """What the scores [N, classes] of all processes' shares are worth by the set's labels."""
    tally = Tally(len(classes), torch.device("cpu"))
    own = labels[world.rank :: world.size]
    for part, truth in zip(torch.split(scores, BATCH), torch.split(own, BATCH), strict=True):
        tally.add(part, truth)
    return tally.result(classes, world)


def _images(scorer: Scorer, look: Look, workers: Workers, world: World) -> Iterator[Tensor]:
    plan = share(len(look.view.images), world, look.batch)
    return (images for images, _ in batches(look.view, plan, scorer.device, workers))


def _averaged(scorer: Scorer, look: Look, images: Tensor) -> Tensor:
    if look.dense:
        several = scorer.dense_scores(images)
    else:
        scores = scorer.scores(images)
        if look.crops == 1:
            return scores
        several = scores.reshape(-1, look.crops, scores.shape[-1])
    return _mean(several, 1)


def _mean(scores: Tensor, dim: int) -> Tensor:
    """Logarithms of the probabilities averaged along a dimension, finite where scores are."""
    mean = scores.double().softmax(-1).mean(dim)
    return mean.clamp(min=torch.finfo(torch.float64).tiny).log()
