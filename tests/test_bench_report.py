"""What a benchmark reports: places, ratios, the set-up beside the figures."""

from __future__ import annotations

from typing import Any

import pytest

from resnetc.bench import Request
from resnetc.bench.report import Measurement, Parity, Report, ranks
from resnetc.bench.request import Scene

ASKED = Request("resnet20", batches=(2,), rounds=3)


def _measured(backend: str, milliseconds: list[float], **facts: Any) -> Measurement:
    known = {"device": "cpu", "tf32": False, "threads": 2, "runtime": "r", "layout": "l"}
    rounds = [[value / 1e3] * 3 for value in milliseconds]
    parity = Parity(0.0, 1e-4, 1.0)
    return Measurement(backend, Scene(4, "fp32"), known | facts, 1.0, parity, rounds)


def test_a_ranking_shares_places_where_intervals_overlap() -> None:
    fast = _measured("fast", [1.0, 1.1, 1.2, 1.0, 1.1, 1.2])
    near = _measured("near", [1.15, 1.2, 1.3, 1.2, 1.3, 1.2])
    last = _measured("last", [4.0, 4.0, 4.1, 4.0, 4.1, 4.0])
    report = Report(ASKED, {}, [last, near, fast])
    (group,) = report.groups()
    assert [m.backend for m in group] == ["fast", "near", "last"]
    assert ranks(group) == [1, 1, 3]


@pytest.mark.parametrize(
    "facts",
    [{"device": "cuda"}, {"tf32": True}, {"threads": 1}],
    ids=lambda facts: next(iter(facts)),
)
def test_unlike_setups_are_not_ranked(facts: dict[str, Any]) -> None:
    report = Report(ASKED, {}, [_measured("a", [1.0]), _measured("b", [2.0], **facts)])
    assert [len(group) for group in report.groups()] == [1, 1]


def test_another_layout_is_the_backends_own_choice() -> None:
    report = Report(ASKED, {}, [_measured("a", [1.0]), _measured("b", [2.0], layout="other")])
    assert [len(group) for group in report.groups()] == [2]


def test_ratios_are_of_paired_rounds() -> None:
    """The machine slows down tenfold half way: images/s spread, the ratio does not."""
    eager = _measured("eager", [1.0, 1.0, 10.0, 10.0])
    twice = _measured("twice", [0.5, 0.5, 5.0, 5.0])
    ratio = twice.over(eager)
    assert (ratio.low, ratio.median, ratio.high) == (2.0, 2.0, 2.0)


def test_json_records_the_setup_and_the_spread() -> None:
    measurement = _measured("eager", [1.0, 2.0, 3.0])
    told = measurement.to_json()
    assert told["latency_ms"] == {
        "p50": 2.0,
        "p90": 3.0,
        "p99": 3.0,
        "mean": 2.0,
        "min": 1.0,
        "max": 3.0,
        "n": 9,
    }
    assert told["images_per_second"]["median"] == 2000.0
    assert told["images_per_second"]["interval"] == [1333.333, 4000.0]
    assert told["images_per_second"]["confidence"] == 0.75
    assert told["round_medians_ms"] == [1.0, 2.0, 3.0]
