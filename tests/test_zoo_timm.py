"""timm's families are here as a whole, and drop what timm's do."""

from __future__ import annotations

import functools

import pytest
from zoo.parity import TOLERANCE, differences, load
from zoo.reference import Reference

from zoo import references, timm

FAMILIES = ("res2net", "resnest", "resnet", "resnetv2", "senet", "sknet")
NOT_EXPRESSIBLE = {
    "resnetv2_50d_evos",  # a norm with an activation of its own, by each group's deviation
    "resnetv2_50d_frn",  # a norm by the root of the mean square, with a learned threshold
}

DEPTHS = [2, 2, 2, 2]
RATE = 7 / 64
"""Eight units differ by 1/64 each, which float32 holds: timm computes some rates in it."""


@pytest.mark.parametrize("family", FAMILIES)
def test_every_network_of_a_family_is_here(family: str) -> None:
    offered = timm.names(family)
    assert offered - NOT_EXPRESSIBLE <= references().keys()
    assert not NOT_EXPRESSIBLE & references().keys()


@pytest.mark.parametrize(
    "name", ["resnet18d", "resnet26t", "res2net50d", "skresnet18", "resnetv2_18"]
)
def test_rates_and_places(name: str) -> None:
    """On the same random numbers, the same samples are dropped."""
    build = functools.partial(timm.classifier, name, layers=DEPTHS, drop_path_rate=RATE)
    settings = {"depths": str(DEPTHS), "drop_path": str(RATE)}
    reference = Reference(name, build, settings=settings)
    found = differences(load(name, reference), reference)
    assert "chance logits" in found
    assert max(found.values()) <= TOLERANCE
