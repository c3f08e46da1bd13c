"""What processes send each other in a step, computed from the graph."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from resnetc.analysis import communication
from resnetc.cli.info import info
from resnetc.driver import load

PAGE = (Path(__file__).parents[1] / "docs/scale.md").read_text()


def _printed(*arguments: str) -> str:
    result = CliRunner().invoke(info, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def _ring(numbers: int, processes: int) -> list[int]:
    """Numbers that each process sends in a ring all-reduce, by playing it: in every round each
    passes one part on to its neighbour; first parts are added up, then the sums go round."""
    bounds = [numbers * part // processes for part in range(processes + 1)]
    sent = [0] * processes
    for turn in range(2 * (processes - 1)):
        for process in range(processes):
            part = (process - turn) % processes
            sent[process] += bounds[part + 1] - bounds[part]
    return sent


@pytest.mark.parametrize("processes", [1, 2, 4, 8, 64])
def test_a_ring_sends_what_a_played_one_does(processes: int) -> None:
    net = load("resnet50")
    found = communication(net.graph, processes, 1e9)
    assert found.gradients == net.cost.params == 25_557_032
    played = [4 * numbers for numbers in _ring(found.gradients, processes)]
    assert all(abs(found.sent_bytes - bytes_) <= 8 * processes for bytes_ in played)
    assert sum(played) == 2 * (processes - 1) * found.gradient_bytes
    assert found.seconds == pytest.approx(found.sent_bytes * 8 / 1e9)


def test_synchronised_norms_are_counted() -> None:
    """ResNet-18 has 20 batch norms: the stem's, two a block, and three projections'."""
    channels = 64 * 5 + 128 * 5 + 256 * 5 + 512 * 5
    found = communication(load("resnet18").graph, 4, 1e9)
    assert (found.norms, found.channels) == (20, channels)
    gathered, reduced = 3 * 2 * 4 * channels, 2 * 3 / 4 * 2 * 4 * channels
    assert found.norm_bytes == gathered + reduced


def test_heads_that_only_train_are_sent_too() -> None:
    net = load("googlenet")
    assert net.graph.aux
    assert communication(net.graph, 2, 1e9).gradients == net.cost.params


@pytest.mark.parametrize("processes", [8, 64])
def test_the_page_on_scale_shows_what_is_printed(processes: int) -> None:
    command = f"$ resnetc info resnet152 --processes {processes}\n"
    shown = PAGE.split(command)[1].split("```")[0]
    assert _printed("resnet152", "--processes", str(processes)).endswith(shown)
    assert shown.startswith(f"{processes} processes, each step\n")


def test_json_has_the_exact_figures() -> None:
    document = json.loads(_printed("resnet18", "--processes", "8", "--link", "100", "--json"))
    found = document["communication"]
    assert found["gradient_bytes"] == 4 * document["total"]["params"]
    assert found["sent_bytes"] == 7 / 4 * found["gradient_bytes"]
    assert found["seconds"] == pytest.approx(found["sent_bytes"] / 12.5e9)
    assert "communication" not in json.loads(_printed("resnet18", "--json"))


def test_the_pages_iterations_are_the_epochs_it_names() -> None:
    """ImageNet has 1,281,167 training images; Goyal et al. drop the rate after 30, 60, 80 of 90."""
    epoch = 1_281_167 / 2_048
    assert f"One epoch is {epoch:.1f} of these" in " ".join(PAGE.split())
    drops = re.search(r"at=\[([\d_, ]+)\]", PAGE)
    assert drops
    numbers = [int(text) for text in drops[1].split(",")]
    assert numbers == [round(epoch * epochs) for epochs in (30, 60, 80)]
    assert f"--iterations {round(90 * epoch, -2):.0f}" in PAGE
