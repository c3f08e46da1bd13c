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
from resnetc.recipes import (
    PRESETS,
    BinaryCrossEntropy,
    CenterCrop,
    Cosine,
    Cutmix,
    HorizontalFlip,
    Lamb,
    Mixup,
    RandAugment,
    RandomResizedCrop,
    Recipe,
    ResizeShorter,
    Warmup,
)
from resnetc.train import TrainOptions, train

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


@pytest.mark.parametrize("name", TABLE)
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
