"""Stochastic depth in timm's networks, none of which has any by default."""

from __future__ import annotations

import functools

import pytest
from zoo import timm
from zoo.parity import TOLERANCE, differences, load
from zoo.reference import Reference

DEPTHS = [2, 2, 2, 2]
RATE = 7 / 64
"""Eight units differ by 1/64 each, which float32 holds: timm computes some rates in it."""


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
