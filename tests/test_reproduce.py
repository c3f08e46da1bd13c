"""The paper's tables and figures made again: counts, the budget, pages, and what was not run."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import torch
from torch import nn

from resnetc.backends.torch import build_module
from resnetc.cli.main import run
from resnetc.diagnostics import UsageError
from resnetc.driver import load
from resnetc.reproduce import counts
from resnetc.reproduce.cells import Cell, Outcome, Request, Workshop, _Speed
from resnetc.reproduce.context import Context, degradation
from resnetc.reproduce.figures import Curve, Panel, draw
from resnetc.reproduce.measured import Measured, Spread
from resnetc.reproduce.page import Figure, Report, Table, write
from resnetc.reproduce.responses import normed_layers, responses
from resnetc.reproduce.studies import STUDIES
from resnetc.train.metrics import Row


def _table(report: Report, title: str) -> list[tuple[str, ...]]:
    return next(list(table.rows) for table in report.tables if table.title.startswith(title))


# ----------------------------------------------------------------------------------------- counts


def test_table_1_is_the_papers_to_the_last_layer() -> None:
    report = counts.table1()
    flops = {row[0]: (row[1], row[2], row[3]) for row in _table(report, "FLOPs")}
    assert flops["resnet50_v1"] == ("3.8 x 10^9", "3,857,973,248", "yes")
    assert flops["resnet152_v1"][0] == "11.3 x 10^9"
    assert {row[2] for row in flops.values()} == {"yes"}
    assert "0.23 x 10^9 more" in report.findings[1]
    assert report.headline == "The paper's set-up."


def test_a_count_that_is_not_the_papers_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    real = counts.load

    def other_stride(name: str, *more: Any) -> Any:
        return real(name.replace("50_v1", "50"), *more)

    monkeypatch.setattr(counts, "load", other_stride)
    report = counts.table1()
    assert ("resnet50", "3.8 x 10^9", "4,089,184,256", "no", "25,557,032") in _table(
        report, "FLOPs"
    )
    assert "90 of 90" not in report.findings[0]


def test_what_shortcuts_cost_is_as_recounted() -> None:
    report = counts.claims()
    assert [row[1] for row in _table(report, "Figure 5")] == ["69,632", "135,168"]
    for row in _table(report, "Options A"):
        assert row[2] == row[3], row
    projections = {row[0]: row[1] for row in _table(report, "Options A")}
    assert (projections["ResNet-34 B"], projections["ResNet-34 C"]) == ("3", "16")
    for n, layers, shortcuts, params, twin, _, recount in _table(report, "The networks for CIFAR"):
        assert int(layers) == 6 * int(n) + 2
        assert int(shortcuts) == 3 * int(n)
        assert params == twin == recount
    assert "x 1.84" in {row[2] for row in _table(report, "All shortcuts")}
    assert "in 6 of 6 depths" in report.findings[1]


# -------------------------------------------------------------------------------------- responses


@pytest.mark.parametrize("shortcut", ["plain", "A", "B"])
def test_responses_are_1_everywhere_at_initialisation(shortcut: str) -> None:
    net = load("cifar_resnet", {"depth": "20", "shortcut": shortcut})
    images = torch.randn(16, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    found = responses(net.graph, build_module(net.graph, seed=0), images)
    assert len(found) == 19  # every 3x3 layer and no projection
    for each in found:
        assert each.deviation == pytest.approx(1.0, abs=1e-3), each.layer
        assert each.closed_form == 1.0


def test_responses_follow_gamma_and_beta() -> None:
    net = load("digits_net", {"depth": "8"})
    module: Any = net.to_torch()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for path in normed_layers(net.graph):
            module.get_submodule(path).weight.uniform_(0.2, 3, generator=generator)
            module.get_submodule(path).bias.normal_(0, 2, generator=generator)
    found = responses(net.graph, module, torch.randn(64, 1, 8, 8, generator=generator))
    for each in found:
        assert each.deviation == pytest.approx(each.closed_form, rel=2e-3)
        assert abs(each.deviation - 1) > 0.01
    norm: nn.BatchNorm2d = module.get_submodule(found[0].layer)
    gamma, beta = norm.weight.detach().double(), norm.bias.detach().double()
    wanted = (gamma.square().mean() + beta.square().mean() - beta.mean().square()).sqrt()
    assert found[0].closed_form == pytest.approx(float(wanted))


# ---------------------------------------------------------------------------------- measurements


def test_a_spread_is_told_as_the_paper_tells_it() -> None:
    spread = Spread((0.0661, 0.0643, 0.0679))
    assert spread.percent() == "6.43 (6.61 +- 0.18)"
    assert Spread((0.0643,)).percent() == "6.43"
    assert spread.deviation == pytest.approx(0.0018)


def _found(train_error: float, test_error: float = 0.1) -> Measured:
    rows = [Row("train", 1, 0.1, 1.0, 0.9), Row("test", 2, 0.2, 1.0, 0.5)]
    lock = {"graph": "g", "recipe": {}, "device": "cpu"}
    sizes = (100, test_error, test_error, train_error)
    return Measured(Path("run"), 2, *sizes, rows, 1.0, "hash", lock)


def _context(errors: dict[Cell, float], seeds: tuple[int, ...] = (0, 1)) -> Context:
    outcomes = {cell: Outcome(cell, _found(error)) for cell, error in errors.items()}
    networks = sorted({(cell.depth, cell.option) for cell in errors})
    return Context("fig6", "", Request(seeds=seeds), networks, outcomes)


@pytest.mark.parametrize(
    ("deep", "verdict"),
    [((0.30, 0.31), "visible"), ((0.10, 0.32), "not visible"), ((0.05, 0.06), "not visible")],
)
def test_degradation_is_more_than_the_seeds_make(deep: tuple[float, float], verdict: str) -> None:
    errors = {Cell(20, "plain", 0): 0.20, Cell(20, "plain", 1): 0.21}
    errors |= {Cell(56, "plain", seed): error for seed, error in enumerate(deep)}
    said = degradation(_context(errors), "plain")
    assert f"plain networks: {verdict} with 56 layers. Training error 20.50 % with 20" in said


def test_degradation_is_told_of_every_depth() -> None:
    """A single seed decides nothing."""
    errors = {Cell(20, "A"): 0.1, Cell(32, "A"): 0.09, Cell(44, "A"): 0.11, Cell(56, "A"): 0.12}
    assert degradation(_context(errors, seeds=(0,)), "A") == (
        "Degradation of residual networks: too few seeds to say with 32, 44, 56 layers. "
        "Training error 10.00 % with 20 layers, 9.00 % with 32 (-1.00 points; of one seed), "
        "11.00 % with 44 (+1.00 points; of one seed), 12.00 % with 56 (+2.00 points; of one seed)."
    )


@pytest.mark.parametrize(("iterations", "verdict"), [(2, "too short to say"), (64_000, "visible")])
def test_a_network_that_has_hardly_begun_shows_no_degradation(
    iterations: int, verdict: str
) -> None:
    """Half of guessing's 90 % is 45 %; at the recipe's own length nothing is too short."""
    errors = {Cell(20, "plain", s): 0.30 for s in (0, 1)}
    errors |= {Cell(32, "plain", s): 0.44 for s in (0, 1)}
    errors |= {Cell(56, "plain", s): 0.46 for s in (0, 1)}
    context = _context(errors)
    outcomes = {
        cell: replace(outcome, found=replace(outcome.found, iterations=iterations))
        for cell, outcome in context.outcomes.items()
        if outcome.found
    }
    said = degradation(replace(context, outcomes=outcomes), "plain")
    both = "visible with 32 layers, too short to say with 56 layers."
    assert (both if iterations == 2 else "visible with 32, 56 layers.") in said
    assert f"{verdict} with" in said


def test_one_depth_shows_no_degradation() -> None:
    assert "not run at two depths" in degradation(_context({Cell(20, "plain"): 0.2}), "plain")


def test_a_seed_that_was_not_run_is_said_so() -> None:
    context = _context({Cell(20, "A", 0): 0.2}, seeds=(0, 1, 2))
    assert context.text(20, "A", "train_error") == "20.00, 2 seeds not run"
    assert context.text(32, "A", "train_error") == "not run"


# ------------------------------------------------------------------------------------- the budget


def _workshop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **asked: Any) -> list[str]:
    """What was trained, with how many iterations, of two networks of known speed."""
    trained: list[str] = []
    shop = Workshop(Request(data="digits", runs=tmp_path, **asked), lambda text: None)

    def outcome(self: Workshop, cell: Cell, iterations: int | None) -> Outcome:
        trained.append(f"{cell.slug}-{cell.seed}: {iterations}")
        return Outcome(cell, None)

    monkeypatch.setattr(Workshop, "_outcome", outcome)
    speeds = {8: _Speed(0.1, 0.5, 1.0), 14: _Speed(0.3, 1.0, 1.0)}
    monkeypatch.setattr(Workshop, "_probe", lambda self, cell: speeds[cell.depth])
    shop.outcomes([Cell(depth, "A", seed) for seed in (0, 1) for depth in (8, 14)])
    return trained


def test_the_budget_is_shared_by_all_cells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # 0.9 * 180 s less 40 s of evaluations and set-up, over 2 * 0.4 s for an iteration of each
    trained = _workshop(tmp_path, monkeypatch, budget=3.0)
    assert trained == [f"resnet{d}-a-{s}: 150" for s in (0, 1) for d in (8, 14)]
    assert set(json.loads((tmp_path / "speed.json").read_text())) == {"resnet8-a", "resnet14-a"}


def test_a_budget_that_did_not_choose_the_length_is_said_last(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Runs of an earlier trial decide it. Depths that were not asked for are not missed."""
    runs, out = tmp_path / "runs", tmp_path / "out"
    asked = ["reproduce", "table3-small", "--data", "digits", "--depths", "8", "--threads", "1"]
    asked += ["--runs", str(runs), "--out", str(out)]
    assert run([*asked, "--iterations", "12"]) == 0
    assert "did not choose the length" not in capsys.readouterr().out
    assert run([*asked, "--budget", "5"]) == 0
    told = capsys.readouterr().out.splitlines()[-3]
    assert "The budget of 5 minutes did not choose the length: runs of 12 iterations lie in" in told
    report = json.loads((out / "table3-small.json").read_text())
    assert report["findings"][-1] == told.strip()
    assert not any(finding.startswith("20 layers") for finding in report["findings"])


def test_what_the_budget_does_not_hold_is_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert _workshop(tmp_path, monkeypatch, budget=0.3, iterations=100) == ["resnet8-a-0: 100"]


def test_nothing_is_trained_that_was_not_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert _workshop(tmp_path, monkeypatch) == []


def test_a_run_is_never_longer_than_the_recipes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert _workshop(tmp_path, monkeypatch, budget=600.0)[0] == "resnet8-a-0: 800"


@pytest.mark.parametrize("asked", [{"budget": 0.0}, {"budget": math.nan}, {"iterations": 0}])
def test_a_request_without_sense_is_refused(asked: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="must be"):
        Request(**asked)


def test_deep_networks_warm_up_as_in_the_paper() -> None:
    words = [[p.word for p in Request().recipe(Cell(d, "A")).schedule] for d in (56, 110)]
    assert words == [["step"], ["warmup", "step"]]


# ------------------------------------------------------------------------------------- the pages


def test_a_page_stands_alone_and_says_what_is_otherwise(tmp_path: Path) -> None:
    table = Table("T <1>", ("a", "b"), [("x & y", "not run"), ("z", "1.5")])
    panel = Panel("p", "x", "y", [Curve("c", ([1, 2], [3, 4]), 0)])
    figure = Figure(draw([panel, panel]), "caption")
    report = Report("name", "Title", ["found"], [table], ["digits instead of CIFAR-10"], [figure])
    page, numbers = write(report, tmp_path)
    text = page.read_text()
    headline = text.index("Not the paper's set-up: digits instead of CIFAR-10.")
    assert text.index("<h1>") < headline < text.index("<svg") < text.index("<table>")
    assert '<td class="missing">not run</td>' in text
    assert "x &amp; y" in text
    assert "T &lt;1&gt;" in text
    assert not re.search(r'(src|href)="(?!#)', text.replace("xlink:href", "href"))
    assert json.loads(numbers.read_text())["tables"][0]["rows"][1] == ["z", "1.5"]


def test_a_figure_is_the_same_each_time_and_parses() -> None:
    panel = Panel("p", "x", "y", [Curve("c", ([1, 2], [3, 4]), 0, dashed=True)], top=5)
    assert draw([panel]) == draw([panel])
    ElementTree.fromstring(draw([panel, panel], stacked=True))


def test_every_study_has_the_papers_networks() -> None:
    assert (56, "plain") in STUDIES["fig6"].networks
    assert (110, "A") in STUDIES["fig6"].networks
    assert {option for _, option in STUDIES["table3-small"].networks} == {"plain", "A", "B", "C"}
    assert [depth for depth, _ in STUDIES["table6"].networks] == [20, 32, 44, 56, 110, 1202]


def test_studies_share_their_runs_and_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Trained for real, for three iterations; the second time nothing is."""
    common = ["--data", "digits", "--depths", "8,14", "--threads", "1", "--device", "cpu"]
    common += ["--runs", str(tmp_path / "runs"), "--out", str(tmp_path / "pages")]
    assert run(["reproduce", "fig1", "fig6", "fig7", *common, "--iterations", "3"]) == 0
    shown = capsys.readouterr()
    assert "4 of 4 runs to train, 3 iterations each" in shown.err
    assert "3 iterations instead of 64,000" in shown.out
    assert len(list((tmp_path / "runs").iterdir())) == 4
    weights = {p: p.read_bytes() for p in (tmp_path / "runs").rglob("weights.safetensors")}
    first = json.loads((tmp_path / "pages/fig6.json").read_text())
    assert {r["network"]: "missing" in r for r in first["runs"]}["ResNet-110"] is True
    assert {r["network"]: "missing" in r for r in first["runs"]}["ResNet-14"] is False
    responses = json.loads((tmp_path / "pages/fig7.json").read_text())["responses"]
    assert responses["plain-14"]["trained"]
    assert not responses["plain-56"]["trained"]
    for each in responses["plain-14"]["trained"]:
        assert each["deviation"] == pytest.approx(each["closed_form"], rel=1e-2)

    assert run(["reproduce", "fig6", "--json", *common]) == 0
    shown = capsys.readouterr()
    assert "runs to train" not in shown.err
    assert json.loads(shown.out)["runs"] == first["runs"]
    assert weights == {p: p.read_bytes() for p in weights}


def test_a_budget_trains_what_it_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    probe = Workshop._probe

    def slow(self: Workshop, cell: Cell) -> _Speed:
        # The minute is for machines that are busy; half a second a step leaves it few steps.
        assert min(vars(probe(self, cell)).values()) > 0
        return _Speed(step=0.5, evaluation=0.1, beside=1)

    monkeypatch.setattr(Workshop, "_probe", slow)
    common = ["--data", "digits", "--depths", "8", "--threads", "1", "--device", "cpu"]
    common += ["--runs", str(tmp_path / "runs"), "--out", str(tmp_path), "--seeds", "0"]
    assert run(["reproduce", "table6", "--budget", "1", *common]) == 0
    shown = capsys.readouterr()
    assert "s a step" in shown.err
    found = {r["network"]: r for r in json.loads((tmp_path / "table6.json").read_text())["runs"]}
    assert found["ResNet-1202"]["missing"] == "not run"
    assert 12 <= found["ResNet-8"]["iterations"] <= 60 / 0.5


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["fig9"], 2, "there is no study `fig9`"),
        (["fig6", "--depths", "20,x"], 2, "is not a list of numbers"),
        (["fig6", "--data", "digits", "--depths", "9", "--iterations", "2"], 3, "6n + 2"),
    ],
)
def test_mistakes_are_said_plainly(
    arguments: list[str],
    code: int,
    said: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["reproduce", *arguments, "--runs", str(tmp_path), "--out", str(tmp_path)]) == code
    assert said in capsys.readouterr().err
