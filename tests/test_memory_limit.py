"""`--memory-limit`: a run that fits, with the weights it would have had anyway."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file

from resnetc.cli import sizes
from resnetc.cli.build import build
from resnetc.cli.train import train as train_verb
from resnetc.diagnostics import UsageError
from resnetc.driver import Network, load
from resnetc.train import TrainOptions, train

SPEC = """
use resnet { basic }

network small {
  input 1x8x8
  conv1: conv(3x3, 8) -> bn1: norm -> act
  layer1: basic(8) * 3
  layer2: basic(16, stride=if first then 2 else 1) * 2
  gap -> flatten -> fc: linear(10)
}

recipe short {
  data = digits
  batch = 32
  iterations = 3
}
"""
QUICK = TrainOptions(data="digits", threads=1, progress=False, deterministic=True, device="cpu")
TIGHT = 2**20


@pytest.fixture
def spec(tmp_path: Path) -> str:
    file = tmp_path / "small.rnet"
    file.write_text(SPEC)
    return f"{file}:small"


@pytest.fixture
def net(spec: str) -> Network:
    return load(spec)


def _weights(net: Network, out: Path, **options: object) -> dict[str, torch.Tensor]:
    return load_file(train(net, replace(QUICK, out=out, **options)).weights)  # type: ignore[arg-type]


def test_a_limit_changes_no_weight(net: Network, tmp_path: Path) -> None:
    plain = _weights(net, tmp_path / "plain")
    tight = _weights(net, tmp_path / "tight", memory_limit=TIGHT)
    assert list(tight) == list(plain)
    assert [path for path in plain if not torch.equal(plain[path], tight[path])] == []
    lock = json.loads((tmp_path / "tight" / "lock.json").read_text())
    assert any("to stay below 1 MiB" in note for note in lock["notes"])
    assert any(note.startswith("recomputed: layer1.") for note in lock["notes"])


def test_a_run_goes_on_under_another_limit(net: Network, tmp_path: Path) -> None:
    whole = _weights(net, tmp_path / "whole", iterations=4)
    out = tmp_path / "run"
    first = replace(QUICK, out=out, iterations=4, checkpoint_every=2, memory_limit=TIGHT)
    train(net, first)
    for step in (out / "checkpoints").glob("step-*4"):
        for file in step.iterdir():
            file.unlink()
        step.rmdir()
    (out / "weights.safetensors").unlink()
    gone_on = train(net, replace(first, resume=True, memory_limit=None))
    assert gone_on.iterations == 4
    found = load_file(gone_on.weights)
    assert all(torch.equal(found[path], whole[path]) for path in whole)


def test_a_limit_that_cannot_be_met_names_the_batch_that_fits(net: Network, tmp_path: Path) -> None:
    limit = 600 * 2**10
    asked = replace(QUICK, out=tmp_path / "run", memory_limit=limit)
    with pytest.raises(
        UsageError, match=r"64 images takes at least .*; the limit is 600 KiB"
    ) as said:
        train(net, replace(asked, batch=64))
    words = str(said.value).split()
    fits = int(words[words.index("--batch") + 1])
    assert 0 < fits < 64
    assert train(net, replace(asked, batch=fits, iterations=1)).iterations == 1
    with pytest.raises(UsageError, match="too little for a single image"):
        train(net, replace(asked, out=tmp_path / "none", memory_limit=1000))


def test_evaluations_keep_below_the_limit_too(net: Network, tmp_path: Path) -> None:
    _weights(net, tmp_path / "run", memory_limit=TIGHT)
    notes = json.loads((tmp_path / "run" / "lock.json").read_text())["notes"]
    said = next(note for note in notes if note.startswith("evaluations take"))
    images = int(said.split()[2])
    assert 1 <= images < 250
    assert images * net.cost.peak_inference_bytes < TIGHT


@pytest.mark.parametrize("verb", ["train", "build"])
def test_the_verbs_take_a_limit(spec: str, tmp_path: Path, verb: str) -> None:
    out = tmp_path / "run"
    shared = [spec, "--memory-limit", "1MiB", "--iterations", "2", "--out", str(out), "--quiet"]
    command, more = (train_verb, []) if verb == "train" else (build, ["--train"])
    result = CliRunner().invoke(command, [*shared, "--threads", "1", *more], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert "recomputed" in (out / "lock.json").read_text()


@pytest.mark.parametrize(
    ("text", "size"),
    [("4GiB", 4 << 30), ("4G", 4 << 30), ("1.5 MiB", 3 << 19), ("512kb", 512 << 10), ("77", 77)],
)
def test_sizes_are_read(text: str, size: int) -> None:
    assert sizes.size(text) == size


@pytest.mark.parametrize("text", ["", "much", "-4GiB", "0", "4PiB"])
def test_other_words_are_no_sizes(spec: str, text: str) -> None:
    result = CliRunner().invoke(train_verb, [spec, "--memory-limit", text])
    assert result.exit_code == 2
    assert "is no size" in result.output
