"""A run from its lock file, and what is said when it cannot be had again."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tiny_networks import spec_file, tiny

from resnetc.cli.main import run
from resnetc.diagnostics import RunError
from resnetc.recipes import PRESETS, Condition, DataSet, Recipe, Warmup
from resnetc.train import TrainOptions, train
from resnetc.train.recorded import recorded_recipe
from resnetc.train.run_folder import record

COMMON = ["--threads", "1", "--device", "cpu", "--quiet"]


def _same(one: Path, two: Path) -> bool:
    a, b = (load_file(path / "weights.safetensors") for path in (one, two))
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def _first(folder: Path, *more: str) -> Path:
    """A run whose request says otherwise than the spec in every way."""
    out = folder / "first"
    asked = ["--iterations", "12", "--batch", "16", "--lr", "0.05", "--seed", "3", "--override"]
    asked += ["optimizer.momentum=0.8", "--contiguous", "--deterministic", *more]
    assert run(["train", f"{spec_file(folder)}:dropping", "--out", str(out), *COMMON, *asked]) == 0
    return out


def test_a_run_is_had_again_from_its_lock(tmp_path: Path) -> None:
    first, again = _first(tmp_path, "--set", "rate=30%"), tmp_path / "again"
    assert run(["train", "--from", str(first / "lock.json"), "--out", str(again), *COMMON]) == 0
    assert _same(first, again)
    locks = [json.loads((path / "lock.json").read_text()) for path in (first, again)]
    for lock in locks:
        lock.pop("recipe_origin"), lock.pop("notes")
    assert locks[0] == locks[1]


def test_the_spec_beside_the_lock_is_taken_where_the_file_is_gone(tmp_path: Path) -> None:
    first = _first(tmp_path)
    (tmp_path / "tiny.rnet").unlink()
    assert run(["train", "--from", str(first / "lock.json"), "--out", str(tmp_path / "2")]) == 0
    assert _same(first, tmp_path / "2")


def test_a_split_of_the_set_is_had_again(tmp_path: Path) -> None:
    net = tiny(tmp_path)
    recipe = dataclasses.replace(net.recipes["short"], data=DataSet("digits", 1000, 200))
    net = dataclasses.replace(net, recipes={"short": recipe})
    options = TrainOptions(iterations=6, threads=1, progress=False, deterministic=True)
    train(net, dataclasses.replace(options, out=tmp_path / "first", device="cpu"))
    lock = tmp_path / "first" / "lock.json"
    assert run(["train", "--from", str(lock), "--out", str(tmp_path / "again"), *COMMON]) == 0
    assert _same(tmp_path / "first", tmp_path / "again")
    assert json.loads((tmp_path / "again" / "lock.json").read_text())["data_set"]["val"] == 200


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_read_back_as_it_was_recorded(name: str) -> None:
    recipe = dataclasses.replace(PRESETS[name](32), data=DataSet("digits", 9, None))
    warmed = (Warmup(until=Condition("train_error", "<", 0.8)), *recipe.schedule)
    for each in (recipe, dataclasses.replace(recipe, schedule=warmed)):
        kept = json.loads(json.dumps(record(each)))
        lock = {"recipe": kept, "data_set": {"name": "digits", "train": 9, "val": 0}}
        assert recorded_recipe(lock) == each


@pytest.mark.parametrize(
    ("lock", "said"),
    [
        ({}, "data_set"),
        ({"recipe": {"btch": 1}}, "btch"),
        ({"recipe": {"schedule": [{"word": "stp"}]}}, "stp"),
    ],
)
def test_a_lock_without_a_recipe_is_named(lock: dict[str, Any], said: str) -> None:
    data = {"name": "digits", "train": 9, "val": 0}
    with pytest.raises(RunError, match=said):
        recorded_recipe({"data_set": data, **lock} if lock else {})


@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        ({"data": "0" * 64}, 2, "the data set is another: digits"),
        ({"graph": "0" * 64}, 2, "is not the network it was"),
        ({"recipe": None}, 1, "does not record the recipe"),
        ({"network": None}, 1, "not the lock file of a run"),
        ({"world_size": 2}, 0, "number of processes: 2 then, 1 now"),
    ],
)
def test_what_is_not_as_it_was_is_explained(
    change: dict[str, Any],
    code: int,
    said: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    first = _first(tmp_path)
    lock = first / "lock.json"
    lock.write_text(json.dumps({**json.loads(lock.read_text()), **change}))
    again = ["train", "--from", str(lock), "--out", str(tmp_path / "2"), "--threads", "1"]
    assert run(again) == code
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "say what to train"),
        (["tiny", "--from", "x"], "leave out NETWORK"),
        (["--from", "x", "--seed", "0"], "leave out --seed"),
        (["--from", "x", "--contiguous"], "leave out --channels-last/--contiguous"),
        (["--from", "x", "--set", "a=1"], "leave out --set"),
        (["--from", "x/lock.json"], "x/lock.json: there is no such file"),
    ],
)
def test_a_lock_file_decides_alone(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["train", *arguments]) == 2
    assert said in capsys.readouterr().err


def test_another_network_is_told_by_name_and_size(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = _first(tmp_path)
    asked = ["--iterations", "12", "--batch", "16", "--lr", "0.05", "--seed", "3", "--override"]
    asked += ["optimizer.momentum=0.8", "--contiguous", "--deterministic", *COMMON]
    spec = str(tmp_path / "tiny.rnet")
    assert run(["train", f"{spec}:plain_tiny", "--out", str(first), "--resume", *asked]) == 2
    said = capsys.readouterr().err
    assert "the network is another: dropping, 94 parameters [" in said
    assert "then, plain_tiny, 90 parameters [" in said
    assert f"resnetc diff {first / 'spec.rnet'}:plain_tiny {spec}:plain_tiny" in said


def test_recipe_defaults_are_what_a_lock_may_leave_out() -> None:
    lock = {"recipe": {"batch": 7}, "data_set": {"name": "digits", "train": 9, "val": 0}}
    assert recorded_recipe(lock) == Recipe(batch=7, data=DataSet("digits", 9, None))
