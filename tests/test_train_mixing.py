"""Mixup and cutmix, against their definitions."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from resnetc.diagnostics import UsageError
from resnetc.recipes import Cutmix, Mix, Mixup, Recipe
from resnetc.train.draws import Order, step_random
from resnetc.train.mixing import Targets, mixed, rectangle, require_partners


def _batch() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(5, 2, 6, 8, generator=generator), torch.tensor([0, 3, 1, 3, 2])


def _soft(labels: torch.Tensor, others: torch.Tensor, share: float) -> torch.Tensor:
    one, other = (nn.functional.one_hot(t, 4).double() for t in (labels, others))
    return share * one + (1 - share) * other


def _slow_loss(logits: torch.Tensor, soft: torch.Tensor, smoothing: float) -> float:
    """Mean over images of minus the sum over classes of target times log probability."""
    total = 0.0
    for row, target in zip(logits.double(), soft, strict=True):
        smoothed = (1 - smoothing) * target + smoothing / len(target)
        total -= float((smoothed * (row - torch.logsumexp(row, 0))).sum())
    return total / len(logits)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_mixup_is_its_definition(smoothing: float) -> None:
    images, labels = _batch()
    draw = step_random(9, 17)
    draw.choice([0])
    share = draw.betavariate(0.4, 0.4)
    found, targets = mixed(images, labels, [Mixup(0.4)], seed=9, step=17)
    for i in range(5):
        expected = share * images[i] + (1 - share) * images[i - 1]
        assert torch.allclose(found[i], expected, atol=1e-6)
    logits = torch.randn(5, 4)
    soft = _soft(labels, labels[torch.arange(5) - 1], share)
    assert float(targets.loss(logits, smoothing)) == pytest.approx(
        _slow_loss(logits, soft, smoothing), rel=1e-5
    )
    assert torch.equal(targets.main, soft.argmax(1))


@pytest.mark.parametrize(("repeats", "batch"), [(1, 2), (3, 6), (3, 7), (4, 9), (4, 32)])
@pytest.mark.parametrize("world", [1, 2])
def test_no_image_is_mixed_with_its_own_copy(repeats: int, batch: int, world: int) -> None:
    """Wherever among its copies a process's share begins."""
    order = Order(1_000, batch * world, seed=5, repeats=repeats)
    own = 0
    for step in range(30):
        for rank in range(world):
            indices = order.take(step, rank, world).indices
            named = indices.double()[:, None, None, None]
            found, targets = mixed(named, indices, [Mixup()], 1, step, repeats)
            own += int((targets.labels == targets.others).sum())
            blend = targets.share * targets.labels + (1 - targets.share) * targets.others
            assert torch.allclose(found[:, 0, 0, 0], blend.double(), atol=1e-9)
    assert own == 0


def test_a_share_in_which_copies_would_meet_is_refused() -> None:
    recipe = Recipe(mix=(Mixup(),), repeats=3)
    require_partners(recipe, 6)
    require_partners(replace(recipe, mix=()), 2)
    with pytest.raises(UsageError, match=r"5 images in each process are too few .* at least 6"):
        require_partners(recipe, 5)


def test_cutmix_is_its_definition() -> None:
    images, labels = _batch()
    for step in range(20):
        found, targets = mixed(images, labels, [Cutmix()], seed=2, step=step)
        partners = images.roll(1, 0)
        pasted = (found == partners).all(1)
        kept = (found == images).all(1)
        assert bool((pasted | kept).all())
        shares = kept.double().mean((1, 2))
        assert shares.tolist() == pytest.approx([targets.share] * 5)
        rows, columns = pasted[0].any(1).sum(), pasted[0].any(0).sum()
        assert int(pasted[0].sum()) == int(rows * columns)  # a rectangle
        logits = torch.randn(5, 4)
        soft = _soft(labels, labels.roll(1), targets.share)
        assert float(targets.loss(logits)) == pytest.approx(_slow_loss(logits, soft, 0.0), rel=1e-5)


def test_rectangles_have_the_share_they_should() -> None:
    areas = []
    for step in range(400):
        top, bottom, left, right = rectangle(Cutmix(), 0.75, (64, 64), step_random(0, step))
        assert 0 <= top <= bottom <= 64
        assert 0 <= left <= right <= 64
        areas.append((bottom - top) * (right - left) / 64**2)
    assert max(areas) == pytest.approx(0.25)
    assert sum(area == max(areas) for area in areas) > 50  # away from the edges


def test_mixes_are_drawn_by_seed_and_step_and_both_occur() -> None:
    images, labels = _batch()
    both: list[Mix] = [Mixup(), Cutmix()]
    one = [mixed(images, labels, both, 1, step)[1].share for step in range(40)]
    assert one == [mixed(images, labels, both, 1, step)[1].share for step in range(40)]
    assert one != [mixed(images, labels, both, 2, step)[1].share for step in range(40)]
    assert len(set(one)) > 20
    cut = [bool((mixed(images, labels, both, 1, step)[0] == images).any()) for step in range(40)]
    assert 8 < sum(cut) < 32


def test_without_a_mix_labels_are_whole() -> None:
    images, labels = _batch()
    same, targets = mixed(images, labels, (), 0, 0)
    assert same is images
    logits = torch.randn(5, 4)
    plain = nn.functional.cross_entropy(logits, labels, label_smoothing=0.2)
    assert torch.equal(targets.loss(logits, 0.2), plain)
    assert torch.equal(Targets(labels, labels.roll(1), 0.4).main, labels.roll(1))
