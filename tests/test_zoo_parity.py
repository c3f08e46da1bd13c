"""Every network with a reference: the same parameters, and the same numbers in both modes."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import pytest
import torch
import torchvision
from zoo.parity import TOLERANCE, differences, load
from zoo.torchvision import NOT_CONVOLUTIONAL
from zoo.torchvision import REFERENCES as TORCHVISION

from zoo import references

ROOT = Path(__file__).parent.parent
REFERENCES = references()
# Several gigabytes each, in float64 and twice: never two at a time.
LARGE = ("regnet_y_128gf", "resnext101_32x32d", "resnetv2_101x3_bit", "resnetv2_152x4_bit")


def _marks(name: str) -> list[pytest.MarkDecorator]:
    slow = [pytest.mark.slow] if REFERENCES[name].slow else []
    return [*slow, pytest.mark.xdist_group("large")] if name in LARGE else slow


PARITY = [pytest.param(name, marks=_marks(name)) for name in REFERENCES]


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


@pytest.mark.parametrize("name", [name for name, each in TORCHVISION.items() if not each.settings])
def test_multiply_accumulates_are_those_torchvision_publishes(name: str) -> None:
    network = load(name, TORCHVISION[name])
    (image,) = network.graph.inputs
    published = {
        weights.meta["_ops"]
        for weights in torchvision.models.get_model_weights(name)
        if weights.transforms().crop_size[0] == image.type.shape[1]
    }
    assert list(published) == pytest.approx([network.cost.macs / 1e9], abs=6e-4)


def test_every_convolutional_classifier_of_torchvision_is_here() -> None:
    offered = torchvision.models.list_models(module=torchvision.models)
    attending = {name for name in offered if name.startswith(NOT_CONVOLUTIONAL)}
    assert set(offered) - attending == TORCHVISION.keys() & set(offered)
    assert {name.partition("_")[0] for name in attending} == {"maxvit", "swin", "vit"}


# ---------------------------------------------------------------------------------- docs/zoo.md


def _documented() -> list[list[str]]:
    """Cells of the table, row by row."""
    text = (ROOT / "docs" / "zoo.md").read_text(encoding="utf-8")
    table = text.partition("<!-- table -->")[2].partition("<!-- end of table -->")[0]
    rows = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("| ")]
    return rows[1:]


def test_the_table_has_every_network_and_what_was_measured() -> None:
    measured = json.loads((ROOT / "benchmarks" / "results" / "zoo.json").read_text())["results"]
    assert measured.keys() == REFERENCES.keys(), "run benchmarks/zoo.py"
    rows = _documented()
    assert sorted(row[1] for row in rows) == sorted(each.shown for each in REFERENCES.values())
    largest = {each["network"]: max(each["differences"].values()) for each in measured.values()}
    assert {row[0]: float(row[6]) for row in rows} == pytest.approx(largest, rel=0.5)
    assert max(largest.values()) < TOLERANCE


@pytest.mark.parametrize("name", REFERENCES)
def test_the_table_is_true(name: str) -> None:
    network = load(name, REFERENCES[name])
    settings = ", ".join(f"{key} = {value}" for key, value in network.settings.items())
    title = f"{network.name} with {settings}" if settings else network.name
    (row,) = [row for row in _documented() if row[0] == title]
    code = re.sub(r"#.*", "", network.path.read_text(encoding="utf-8"))
    assert row[1:6] == [
        REFERENCES[name].shown,
        f"{network.cost.params:,}",
        f"{network.cost.macs / 1e9:.3f}",
        f"[{network.path.name}](../specs/{network.path.name})",
        str(len(re.findall(r"\S.*", code))),
    ]
