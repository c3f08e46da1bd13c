"""Bounds of what sections and flags may say: one rule, wherever a value comes from."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import pytest
from spec_files import Folder, folder

from resnetc.bounds import Ascending, Clash, Fault, Shaped, Within, faults, rules
from resnetc.checking import check_file
from resnetc.cli.main import run
from resnetc.diagnostics import UsageError
from resnetc.recipes import PRESETS, Condition, DataSet, Recipe, Step, Warmup
from resnetc.sections import Deploy, Experiment, NetworkName
from resnetc.train import TrainOptions
from resnetc.train.plan import with_options

__all__ = ["folder"]

NETWORK = "network n { input 1x8x8  conv1: conv(3x3, 2) -> gap -> flatten -> fc: linear(10) }\n"


@pytest.mark.parametrize(
    ("rule", "held", "refused", "text"),
    [
        (Within(1), [1, 5], [0, -1], "be at least 1"),
        (Within(0), [0, 0.5], [-0.1], "not be negative"),
        (Within(0, low_open=True), [1e-9], [0, -1], "be above 0"),
        (Within(0, 1), [0, 1], [-0.1, 1.1], "lie in [0, 1]"),
        (Within(0, 1, low_open=True), [0.1, 1], [0, 1.1], "lie in (0, 1]"),
        (Within(0, 1, high_open=True), [0, 0.9], [1, -0.1], "lie in [0, 1)"),
        (Within(0), [], [float("nan"), float("inf")], "not be negative"),
        (Ascending(), [(), (1,), (1, 1, 2)], [(2, 1), (1, 3, 2)], "not descend"),
        (Shaped(r"\d", "7"), ["3"], ["", "33", "a"], 'be as "7"'),
    ],
)
def test_a_rule_has_its_ends(
    rule: Within, held: list[object], refused: list[object], text: str
) -> None:
    assert str(rule) == text
    assert all(rule.holds(value) for value in held)  # type: ignore[arg-type]
    assert not any(rule.holds(value) for value in refused)  # type: ignore[arg-type]


@dataclasses.dataclass(frozen=True)
class _Part:
    word = "part"
    number: Annotated[int, Within(1)] = 1
    other: int = 0

    def clashes(self) -> Iterator[Clash]:
        if self.other:
            yield Clash("other", "it is idle", idle=True)


@dataclasses.dataclass(frozen=True)
class _Whole:
    parts: tuple[_Part, ...] = ()
    single: _Part | None = None
    counts: Annotated[tuple[Annotated[int, Within(1)], ...], Ascending()] | None = None


def test_faults_are_found_in_records_inside_records() -> None:
    assert list(faults(_Whole((_Part(),), _Part(), (1, 2)))) == []
    assert list(faults(_Whole((_Part(), _Part(0)), _Part(-1, 3), (2, 0)))) == [
        Fault("parts", "part's number is 0; it must be at least 1"),
        Fault("single", "part's number is -1; it must be at least 1"),
        Fault("single", "part's other would have no effect: it is idle", idle=True),
        Fault("counts", "counts is [2, 0]; it must not descend"),
        Fault("counts", "an item of counts is 0; it must be at least 1"),
    ]


def test_rules_are_told_of_a_type_and_its_items() -> None:
    items = tuple[Annotated[int, Within(1)], Annotated[int, Within(1)]]
    told = list(rules(Annotated[items, Ascending()] | None))
    assert told == ["not descend", "each be at least 1"]
    assert list(rules(int | None)) == []


def test_what_is_shipped_is_within_its_bounds() -> None:
    for preset in PRESETS.values():
        for size in (8, 32, 224):
            assert list(faults(preset(size))) == []
    for record in (Recipe(), Experiment(NetworkName("n")), Deploy(NetworkName("n"))):
        assert [fault for fault in faults(record) if not fault.idle] == []


@pytest.mark.parametrize(
    "record",
    [
        DataSet("cifar10", train=0),
        DataSet("cifar10", val=-1),
        Condition("train_error", "<", 80.0),
        Warmup(lr=-0.1, iterations=3),
        Warmup(epochs=0.0),
        Step(factor=0.0),
        Experiment(NetworkName("n"), seed=-1),
    ],
)
def test_records_that_no_text_has_made_are_checked_too(record: object) -> None:
    (found,) = faults(record)
    assert "; it must " in found.why


# ------------------------------------------------------------------------------------- flags


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (TrainOptions(iterations=0), "--iterations: iterations is 0; it must be at least 1"),
        (TrainOptions(epochs=-3), "--epochs: epochs is -3; it must be at least 1"),
        (TrainOptions(batch=0), "--batch: batch is 0; it must be at least 1"),
        (TrainOptions(lr=0.0), "--lr: sgd's lr is 0.0; it must be above 0"),
        (
            TrainOptions(overrides=("augment=[hflip(p=3)]",)),
            "--override augment: hflip's p is 3; it must lie in [0, 1]",
        ),
        (
            TrainOptions(overrides=("schedule.step.at=[3, 2]",)),
            "--override schedule.step.at: at is [3, 2]; it must not descend",
        ),
        (
            TrainOptions(overrides=("epochs=3",)),
            "--override epochs: epochs would have no effect: `iterations` says how long",
        ),
        (
            TrainOptions(overrides=("batch=8", "schedule=[cosine, plateau]")),
            "--override schedule: a cosine is a schedule of its own; only warm-ups go before it",
        ),
        (
            TrainOptions(overrides=("schedule=[warmup(lr=0.1)]",)),
            "--override schedule: a warmup needs `until`, `iterations` or `epochs`, or it would "
            "never end",
        ),
        (
            TrainOptions(overrides=("augment=rand_augment(std=0.5)",)),
            "--override augment: `std` would have no effect: std is part of timm's form: give "
            'form="timm"',
        ),
    ],
)
def test_a_flag_is_held_to_the_bounds_of_sections(options: TrainOptions, message: str) -> None:
    recipe = Recipe(iterations=10, schedule=(Step(at=(5,)),))
    with pytest.raises(UsageError) as caught:
        with_options(recipe, options)
    assert str(caught.value) == message
    assert caught.value.exit_code == 2


def test_flags_blame_only_what_they_change() -> None:
    bad = Recipe(iterations=10, batch=0)
    with pytest.raises(UsageError, match=r"^batch is 0"):
        with_options(bad, TrainOptions(lr=0.1))


def test_what_a_recipe_leaves_idle_is_no_mistake_of_a_flag() -> None:
    """A recipe that is derived from one by epochs may be told in iterations."""
    recipe = Recipe(iterations=10, epochs=3)
    assert with_options(recipe, TrainOptions(batch=8)).batch == 8
    asked = TrainOptions(overrides=("iterations=5",))
    assert with_options(Recipe(epochs=3), asked).iterations == 5


def test_the_command_line_names_the_flag(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for flags, said in (
        (["--batch", "0"], "--batch: batch is 0"),
        (["--override", "optimizer.lr=-1"], "--override optimizer.lr: lr is -1"),
    ):
        assert run(["train", "resnet20", "--data", "synthetic", *flags]) == 2
        assert said in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


# ----------------------------------------------------------------------------------- sections


@pytest.mark.parametrize(
    ("section", "verb"),
    [
        ("deploy d { network = n  batch = 5..3 }", "export"),
        ("deploy d { network = n  opset = 3 }", "export"),
        ('deploy d { network = n  precision { keep = ["fc"] } }', "export"),
        ("recipe r { epochs = -3 }", "train"),
        ("experiment d { network = n  seed = -1 }", "train"),
    ],
)
def test_a_section_out_of_bounds_stops_every_verb_before_it_begins(
    folder: Folder, section: str, verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = folder.write(NETWORK + section + "\n")
    name = "d" if " d " in section else "n"
    before = set(folder.path.rglob("*"))
    for command in (["check", str(file)], [verb, f"{file}:{name}", "--out", f"{folder.path}/out"]):
        assert run(command) == 3
        assert ".rnet:2:" in capsys.readouterr().err
    assert set(folder.path.rglob("*")) == before


def test_bounds_themselves_are_held(folder: Folder) -> None:
    text = """recipe r {
      data = cifar10(train=1, val=0)  batch = 1  epochs = 1  repeats = 1  norm_images = 1
      label_smoothing = 0.0  aux_weight = 0.0  schedule = [warmup(lr=0, epochs=1), step(1, [1, 1])]
      augment = [pad(0), hflip(0), hflip(1), random_erase(1), rand_augment(1, 30)]
      optimizer = sgd(momentum=0, weight_decay=0)  resizing = progressive(1, 0.75, 0.25, 1)
    }
    experiment e { network = n  recipe = r  seed = 0 }
    deploy a { network = n  batch = 3..3  opset = 13 }
    deploy b { network = n  batch = 1  opset = 28
      precision { layers = "int8"  calibrate = percentile(1.0, images=1) } }
    deploy c { network = n  precision { layers = "fp16"  keep = ["fc"]  kept = "bf16" } }
    """
    assert check_file(folder.write(NETWORK + text)).findings == ()


def test_a_key_of_the_base_may_be_idle(folder: Folder) -> None:
    text = """recipe base { epochs = 90 }
    recipe short = base with iterations = 10
    deploy narrow { network = n  precision { layers = "fp16"  keep = ["fc"] } }
    deploy wide = narrow with precision.layers = "fp32"
    """
    assert check_file(folder.write(NETWORK + text)).findings == ()


def test_what_is_broken_does_not_clash(folder: Folder) -> None:
    text = 'deploy d { network = n  precision { layers = "fp15"  keep = ["fc"] } }\n'
    assert [found.code for found in check_file(folder.write(NETWORK + text)).findings] == ["E0302"]
