"""Binary cross entropy of blended labels, against a slow definition and timm's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import timm.loss
import torch
from tiny_networks import tiny
from torch import Tensor

from resnetc.diagnostics import UsageError
from resnetc.recipes import BinaryCrossEntropy, Recipe
from resnetc.train import TrainOptions, train
from resnetc.train.metrics import read as read_metrics
from resnetc.train.mixing import Targets
from resnetc.train.plan import make_plan

LABELS, OTHERS = torch.tensor([0, 3, 1, 2, 2]), torch.tensor([1, 3, 0, 2, 4])
CLASSES = 5


def _logits() -> Tensor:
    return torch.randn(5, CLASSES, generator=torch.Generator().manual_seed(0)) * 3


def _slow(logits: Tensor, wanted: list[list[float]]) -> float:
    """The mean over images and classes of minus t log p + (1 - t) log (1 - p)."""
    p = torch.sigmoid(logits.double())
    t = torch.tensor(wanted, dtype=torch.float64)
    return float(-(t * p.log() + (1 - t) * (1 - p).log()).mean())


def _shares(share: float) -> list[list[float]]:
    """What is in each image: `share` of its label, the rest of its partner's."""
    rows = [[0.0] * CLASSES for _ in LABELS]
    for row, label, other in zip(rows, LABELS.tolist(), OTHERS.tolist(), strict=True):
        row[label] += share
        row[other] += 1 - share
    return rows


@pytest.mark.parametrize("share", [1.0, 0.85, 0.5, 0.1])
@pytest.mark.parametrize("threshold", [None, 0.2, 0.0])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_bce_is_its_definition(share: float, threshold: float | None, smoothing: float) -> None:
    wanted = _shares(share)
    if threshold is not None:
        wanted = [[float(each > threshold) for each in row] for row in wanted]
    wanted = [[(1 - smoothing) * each + smoothing / CLASSES for each in row] for row in wanted]
    found = Targets(LABELS, OTHERS, share).loss(_logits(), smoothing, BinaryCrossEntropy(threshold))
    assert float(found) == pytest.approx(_slow(_logits(), wanted), rel=1e-5)


@pytest.mark.parametrize("share", [1.0, 0.7, 0.15])
@pytest.mark.parametrize("threshold", [None, 0.2])
def test_bce_of_a_blend_is_timms(share: float, threshold: float | None) -> None:
    logits = _logits()
    theirs = timm.loss.BinaryCrossEntropy(smoothing=0.0, target_threshold=threshold)
    found = Targets(LABELS, OTHERS, share).loss(logits, 0.0, BinaryCrossEntropy(threshold))
    assert float(found) == pytest.approx(float(theirs(logits, torch.tensor(_shares(share)))))


def test_bce_of_smoothed_labels_is_timms() -> None:
    logits = _logits()
    theirs = timm.loss.BinaryCrossEntropy(smoothing=0.1)(logits, LABELS)
    ours = Targets(LABELS, LABELS).loss(logits, 0.1, BinaryCrossEntropy())
    assert float(ours) == pytest.approx(float(theirs))


def test_both_parts_of_a_blend_count_whole_above_the_threshold() -> None:
    blend = Targets(torch.tensor([0]), torch.tensor([1]), 0.75)
    assert blend.spread(3, 0.0, 0.2).tolist() == [[1.0, 1.0, 0.0]]
    assert blend.spread(3, 0.0, 0.3).tolist() == [[1.0, 0.0, 0.0]]
    assert blend.spread(3, 0.0, None).tolist() == [[0.75, 0.25, 0.0]]
    assert blend.spread(3, 0.3, 0.2)[0].tolist() == pytest.approx([0.8, 0.8, 0.1])


@pytest.mark.parametrize("threshold", ["-0.1", "1.0"])
def test_thresholds_that_divide_nothing(threshold: str) -> None:
    asked = TrainOptions(overrides=(f"loss=bce(threshold={threshold})",))
    with pytest.raises(UsageError, match="bce's threshold is"):
        make_plan(Recipe(iterations=10), asked, images=100)


def test_a_run_is_trained_and_shown_by_the_loss_of_its_recipe(tmp_path: Path) -> None:
    """The first reading is that of fresh weights; a test's loss stays the cross entropy."""
    net = tiny(tmp_path, "plain_tiny")
    options = TrainOptions(
        data="digits", threads=1, progress=False, device="cpu", iterations=1, log_every=1
    )
    readings = []
    for loss in ("cross_entropy", "bce"):
        asked = replace(options, overrides=(f"loss={loss}",), out=tmp_path / loss)
        train(net, asked)
        readings.append(read_metrics(tmp_path / loss / "metrics.jsonl"))
    (by_ce, judged), (by_bce, judged_too) = readings
    assert by_ce.loss == pytest.approx(2.3, abs=0.3)  # log 10
    assert by_bce.loss == pytest.approx(0.69, abs=0.2)  # log 2
    assert by_ce.error == by_bce.error
    assert judged.loss == pytest.approx(2.3, abs=0.3)
    assert judged_too.loss == pytest.approx(2.3, abs=0.3)
    assert judged.loss != judged_too.loss
