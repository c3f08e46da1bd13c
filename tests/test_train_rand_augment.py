"""timm's form of RandAugment, operation by operation against timm's own on PIL images."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from timm.data import auto_augment
from torch import Tensor

from resnetc.diagnostics import UsageError
from resnetc.recipes import RandAugment, Recipe
from resnetc.train import TrainOptions
from resnetc.train import timm_augment as ours
from resnetc.train.draws import Samples
from resnetc.train.plan import make_plan
from resnetc.train.transforms import apply

_EXACT = {
    *("Invert", "PosterizeIncreasing", "SolarizeIncreasing", "SolarizeAdd", "Equalize"),
    *("BrightnessIncreasing", "SharpnessIncreasing"),
}
"""Operations that give the same bytes; the others differ by rounding, and moves at their edges."""
_MOVES = {"Rotate", "ShearX", "ShearY", "TranslateXRel", "TranslateYRel"}


def _picture() -> Tensor:
    """Something smooth, so that interpolations agree: uint8 [3, 60, 50]."""
    y, x = torch.meshgrid(torch.arange(60.0), torch.arange(50.0), indexing="ij")
    waves = [torch.sin(x / 9) + torch.cos(y / 7), torch.cos(x / 11 + y / 13), torch.sin(y / 10)]
    bands = [(w - w.min()) / (w.max() - w.min()) * 200 + 20 for w in waves]
    return torch.stack(bands).round().to(torch.uint8)


def _theirs(name: str, image: Tensor, level: float, sign: float) -> Tensor:
    operation: Any = auto_augment.NAME_TO_OP[name]
    level_of: Any = auto_augment.LEVEL_TO_ARG[name]
    before, auto_augment._randomly_negate = auto_augment._randomly_negate, lambda v: sign * v
    try:
        arguments = level_of(level, {}) if level_of else ()
    finally:
        auto_augment._randomly_negate = before
    pil = Image.fromarray(image.permute(1, 2, 0).numpy())
    grey = {"fillcolor": (128,) * 3, "resample": Image.Resampling.BILINEAR}
    return torch.from_numpy(np.array(operation(pil, *arguments, **grey))).permute(2, 0, 1)


def test_the_operations_are_timms() -> None:
    assert list(ours.OPERATIONS) == auto_augment._RAND_INCREASING_TRANSFORMS


@pytest.mark.parametrize("level", [0.0, 3.3, 7.0, 9.9])
@pytest.mark.parametrize("name", ours.OPERATIONS)
def test_each_operation_does_what_timms_does(name: str, level: float) -> None:
    image = _picture()
    for sign in (-1.0, 1.0):
        # A move to the right in one is a move of the window, to the left, in the other.
        turned = -sign if name.startswith("Translate") else sign
        found = ours.OPERATIONS[name](image, level / 10, turned)
        expected = _theirs(name, image, level, sign)
        apart = (found.int() - expected.int()).abs()
        assert found.dtype == torch.uint8
        assert found.shape == image.shape
        if name in _EXACT:
            assert int(apart.max()) == 0
        elif name in _MOVES:
            assert float((apart > 2).float().mean()) < 0.06
        else:
            assert int(apart.max()) <= 1


def test_operations_are_done_half_the_time_at_levels_around_the_magnitude(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[tuple[str, float, float]] = []

    def noting(name: str) -> ours.Operation:
        def note(image: Tensor, strength: float, sign: float) -> Tensor:
            seen.append((name, strength, sign))
            return image

        return note

    monkeypatch.setattr(ours, "OPERATIONS", {name: noting(name) for name in ours.OPERATIONS})
    draw, image = random.Random(0), _picture()
    for _ in range(3000):
        ours.augmented(image, 2, 9.0, 0.5, draw)
    assert len(seen) == pytest.approx(3000, rel=0.05)
    counts = [sum(n == name for n, *_ in seen) for name in ours.OPERATIONS]
    assert min(counts) > 0.7 * 200
    assert max(counts) < 1.3 * 200
    levels = torch.tensor([10 * strength for _, strength, _ in seen])
    assert float(levels.mean()) == pytest.approx(9.0, abs=0.03)
    assert float(levels.std()) == pytest.approx(0.5, abs=0.03)
    assert float(levels.max()) == 10.0
    assert sum(sign > 0 for *_, sign in seen) == pytest.approx(1500, rel=0.1)


def _samples(count: int) -> Samples:
    return Samples(4, torch.zeros(count, dtype=torch.int64), torch.arange(count))


@pytest.mark.parametrize("channels", [1, 3])
def test_draws_belong_to_their_sample(channels: int) -> None:
    images = _picture()[:channels].expand(12, -1, -1, -1)
    before = torch.get_rng_state()
    chain = [RandAugment(2, 7, 0.5, "timm")]
    done = apply(chain, images, _samples(12), None)
    assert torch.equal(torch.get_rng_state(), before)
    assert done.shape == images.shape
    alone = Samples(4, torch.tensor([0]), torch.tensor([5]))
    assert torch.equal(apply(chain, images[5:6], alone, None)[0], done[5])
    assert len({tuple(image.flatten().tolist()) for image in done}) > 5
    again = Samples(4, torch.ones(12, dtype=torch.int64), torch.arange(12))
    assert not torch.equal(apply(chain, images, again, None), done)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        (
            'rand_augment(2, 11, form="timm")',
            r"magnitude is 11; in timm's form it lies in \[0, 10\]",
        ),
        ("rand_augment(2, 31)", r"magnitude is 31; in torchvision's form it lies in \[0, 30\]"),
        ("rand_augment(2, -1)", "magnitude is -1"),
        ("rand_augment(0)", "ops is 0"),
        ("rand_augment(2, 9, 0.5)", "std is part of timm's form"),
        ('rand_augment(2, 9, -0.5, form="timm")', "std is -0.5"),
    ],
)
def test_levels_that_no_table_has(word: str, message: str) -> None:
    asked = TrainOptions(overrides=(f"augment=[{word}, subtract_mean]",))
    with pytest.raises(UsageError, match=message):
        make_plan(Recipe(iterations=10), asked, images=100)
