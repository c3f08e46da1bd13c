"""Every network with a reference: the same parameters, and the same numbers in both modes."""

from __future__ import annotations

import dataclasses

import pytest
import torch
import torchvision
from zoo import references
from zoo.parity import TOLERANCE, differences, load
from zoo.torchvision import NOT_CONVOLUTIONAL
from zoo.torchvision import REFERENCES as TORCHVISION

REFERENCES = references()
PARITY = [
    pytest.param(name, marks=pytest.mark.slow if reference.slow else [])
    for name, reference in REFERENCES.items()
]


@pytest.mark.parametrize("name", REFERENCES)
def test_parameters(name: str) -> None:
    """Names, shapes and order of the state_dict."""
    reference = REFERENCES[name]
    with torch.device("meta"):
        state = reference.build().state_dict()
    expected = [(path, tuple(tensor.shape)) for path, tensor in state.items()]
    parameters = load(name, reference).graph.parameters.items()
    found = [(reference.path(path), parameter.type.shape) for path, parameter in parameters]
    if not reference.same_order:
        found, expected = sorted(found), sorted(expected)
    assert found == expected


@pytest.mark.parametrize("name", PARITY)
def test_numbers(name: str) -> None:
    reference = REFERENCES[name]
    found = differences(load(name, reference), reference)
    wrong = {what: value for what, value in found.items() if not value <= TOLERANCE}
    assert not wrong


@pytest.mark.parametrize(
    ("setting", "shows"),
    [
        ("batchnorm(eps=1.01e-5)", {"train logits", "eval logits", "statistics"}),
        ("batchnorm(momentum=0.101)", {"statistics"}),
    ],
)
def test_a_small_change_shows(setting: str, shows: set[str]) -> None:
    reference = dataclasses.replace(REFERENCES["resnet18"], settings={"norm": setting})
    found = differences(load("resnet18", reference), reference)
    assert {what for what, value in found.items() if value > TOLERANCE} == shows


def test_what_only_chance_does_shows() -> None:
    reference = REFERENCES["resnet18"]
    dropping = dataclasses.replace(reference, build=lambda: _with_dropout(reference.build()))
    found = differences(load("resnet18", reference), dropping)
    assert {what for what, value in found.items() if value > TOLERANCE} == {"chance logits"}


def _with_dropout(module: torch.nn.Module) -> torch.nn.Module:
    """What a dropout does that is there and has no parameters."""
    module.maxpool = torch.nn.Sequential(module.maxpool, torch.nn.Dropout(0.1))
    return module


def test_every_convolutional_classifier_of_torchvision_is_here() -> None:
    offered = torchvision.models.list_models(module=torchvision.models)
    attending = {name for name in offered if name.startswith(NOT_CONVOLUTIONAL)}
    assert set(offered) - attending == TORCHVISION.keys() & set(offered)
    assert {name.partition("_")[0] for name in attending} == {"maxvit", "swin", "vit"}
