"""Presets that follow a published table, against the table; and runs by them."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny_networks import tiny

from resnetc.driver import load
from resnetc.ops import DropPath
from resnetc.recipes import (
    PRESETS,
    BinaryCrossEntropy,
    CenterCrop,
    Cosine,
    Cutmix,
    HorizontalFlip,
    Lamb,
    Mixup,
    Pad,
    Progressive,
    RandAugment,
    RandomCrop,
    RandomResizedCrop,
    Recipe,
    ResizeShorter,
    Sgd,
    Step,
    Warmup,
)
from resnetc.train import TrainOptions, train
from resnetc.train.resizing import size_at

SPECS = Path(__file__).parent.parent / "specs"

TABLE = {
    #          epochs  rate  decay  smoothing  mixup  level  pixels  repeats
    "rsb_a1": (600, 5e-3, 0.01, 0.1, 0.2, 7, 224, 3),
    "rsb_a2": (300, 5e-3, 0.02, 0.0, 0.1, 7, 224, 3),
    "rsb_a3": (100, 8e-3, 0.02, 0.0, 0.1, 6, 160, 1),
}
"""Of Wightman et al. 2021, arXiv 2110.00476; the number of repeats is not in it."""


@pytest.mark.parametrize("name", TABLE)
def test_the_procedures_of_resnet_strikes_back_are_its_tables(name: str) -> None:
    epochs, lr, decay, smoothing, mixup, level, pixels, repeats = TABLE[name]
    recipe = PRESETS[name](224)
    assert (recipe.epochs, recipe.batch, recipe.repeats) == (epochs, 2048, repeats)
    assert recipe.label_smoothing == smoothing
    assert recipe.mix == (Mixup(mixup), Cutmix(1.0))
    assert recipe.optimizer == Lamb(lr, weight_decay=decay, decay_norm=False, decay_bias=False)
    assert recipe.schedule == (Warmup(1e-4, epochs=5.0, ramp=True), Cosine(1e-6))
    assert recipe.loss == BinaryCrossEntropy(threshold=0.2)
    strong = RandAugment(2, level, std=0.5, form="timm")
    assert recipe.augment[:3] == (RandomResizedCrop(pixels), HorizontalFlip(), strong)
    assert recipe.evaluate[:2] == (ResizeShorter((235, 235)), CenterCrop(224))  # 0.95 of 235


def test_progressive_resizing_is_mosaicmls() -> None:
    """Against the figures of its files: a half-life of 100 steps, decay of 5e-4 a step."""
    recipe = PRESETS["mosaic_mild"](224)
    assert recipe.resizing == Progressive(start=0.5, delay=0.4, settle=0.2, increment=4)
    sides = [size_at(recipe.resizing, (176, 176), step, 100)[0] for step in (0, 39, 60, 80)]
    assert sides == [88, 88, 132, 176]
    assert (recipe.epochs, recipe.batch, recipe.label_smoothing) == (36, 2048, 0.08)
    assert recipe.ema is not None
    assert recipe.ema.decay ** (100 / recipe.ema.every) == pytest.approx(0.5, rel=1e-3)
    assert isinstance(recipe.optimizer, Sgd)
    lr, momentum, decay = 2.048, 0.875, recipe.optimizer.weight_decay
    assert (recipe.optimizer.lr, recipe.optimizer.momentum) == (lr, momentum)
    assert lr * decay / (1 - momentum) == pytest.approx(5e-4, rel=1e-2)


def test_a_preset_for_small_images_is_mixups() -> None:
    recipe = PRESETS["mixup_cifar"](32)
    assert recipe.iterations == 200 * 50_000 / recipe.batch
    (step,) = recipe.schedule
    assert isinstance(step, Step)
    assert [round(at * recipe.batch / 50_000, 1) for at in step.at] == [100.0, 150.0]
    assert recipe.mix == (Mixup(1.0),)
    assert recipe.optimizer == Sgd(lr=0.1, momentum=0.9, weight_decay=1e-4, form="torch")
    assert recipe.augment[:3] == (Pad(4), RandomCrop(32), HorizontalFlip())


def test_stochastic_depth_comes_from_shipped_networks() -> None:
    """As docs/training.md says."""
    assert "--set drop_path=5%" in Path("docs/training.md").read_text()
    for name, settings in (
        ("efficientnet_b0", {}),
        ("resnet50d", {"drop_path": "5%"}),
        ("resnet26", {"depths": "[3, 4, 6, 3]", "drop_path": "5%"}),
    ):
        assert any(isinstance(node.op, DropPath) for node in load(name, settings).graph), name


SHIPPED = {
    ("cifar_resnet", "cifar"): "he2015_cifar",
    ("cifar_resnet", "cifar_warmup"): "he2015_cifar_warmup",
    ("resnet152", "imagenet"): "he2015_imagenet",
    ("digits", "digits"): "digits",
}
"""Every recipe of a spec that is shipped, and the preset that is of the same source."""


def _shipped_recipes() -> dict[tuple[str, str], tuple[Recipe, int]]:
    """The recipes of shipped specs, each with the side of its networks' inputs."""
    found: dict[tuple[str, str], tuple[Recipe, int]] = {}
    for path in sorted(SPECS.glob("**/*.rnet")):
        text = path.read_text()
        if "\nrecipe " not in text:
            continue
        network = re.search(r"^network (\w+) =", text, re.MULTILINE)
        assert network, path
        net = load(f"{path}:{network[1]}")
        side = net.graph.inputs[0].type.shape[-1]
        found |= {(path.stem, name): (recipe, side) for name, recipe in net.recipes.items()}
    return found


def test_shipped_recipes_are_the_presets_of_their_source() -> None:
    shipped = _shipped_recipes()
    assert shipped.keys() == SHIPPED.keys()
    for place, (recipe, side) in shipped.items():
        assert recipe == PRESETS[SHIPPED[place]](side), place


@pytest.mark.parametrize("name", [*TABLE, "mosaic_mild", "mixup_cifar"])
def test_a_run_by_a_procedure_is_the_same_twice_and_may_have_readers(
    name: str, tmp_path: Path
) -> None:
    """In small: the digits, a few images a step."""
    options = TrainOptions(
        data="digits", threads=1, progress=False, device="cpu", deterministic=True, recipe=name
    )
    options = replace(options, batch=12, iterations=3)
    weights = [
        load_file(train(tiny(tmp_path), replace(options, out=tmp_path / str(w), workers=w)).weights)
        for w in (0, 1)
    ]
    assert all(torch.equal(weights[0][path], weights[1][path]) for path in weights[0])
    assert all(bool(torch.isfinite(t).all()) for t in weights[0].values())
