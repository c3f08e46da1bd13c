"""`benchmarks/train.py` measures what it says; how fast that is, is not asked here."""

from __future__ import annotations

import importlib
import mmap
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
import torch
from benchmark_scripts import FOLDER

from resnetc.driver import load

ONE_OF_EACH = """rnet 1

network sample {
  input 1x8x8
  conv1: conv(3x3, 4) -> bn1: norm -> act
  flatten -> fc: linear(10)
}
"""


@pytest.fixture(scope="module")
def scripts() -> Iterator[dict[str, ModuleType]]:
    """The script and what it imports, by name; under these names for no longer than this file."""
    names = ("harness", "cifar_resnet", "traffic", "contestants", "train")
    before = {name: sys.modules.pop(name, None) for name in names}
    sys.path.insert(0, str(FOLDER))
    try:
        yield {name: importlib.import_module(name) for name in names}
    finally:
        sys.path.remove(str(FOLDER))
        for name, module in before.items():
            sys.modules.pop(name, None)
            if module is not None:
                sys.modules[name] = module


def test_all_contestants_of_a_network_train_it(scripts: dict[str, ModuleType]) -> None:
    setting = scripts["contestants"].Setting("resnet20", batch=2)
    makers = scripts["train"].contestants(setting, compiled=False)
    assert list(makers) == ["resnetc", "resnetc, bare", "by hand, bare"]
    losses = {name: [makers[name]()().item() for _ in range(2)] for name in list(makers)[1:]}
    # The same weights by name, and the same first loss from them.
    assert losses["resnetc, bare"] == pytest.approx(losses["by hand, bare"], rel=1e-5)
    torch.manual_seed(0)
    step = makers["resnetc, bare"]()
    first, *_, last = (step().item() for _ in range(12))
    assert last < first


def test_compiled_contestants_are_named_where_they_are_asked_for(
    scripts: dict[str, ModuleType],
) -> None:
    setting = scripts["contestants"].Setting("resnet50", batch=2)
    makers = scripts["train"].contestants(setting, compiled=True)
    bare = [f"{who}, bare{how}" for who in ("resnetc", "torchvision", "timm")
            for how in ("", ", compiled")]  # fmt: skip
    assert list(makers) == ["resnetc", "resnetc, compiled", *bare]


def test_our_step_is_that_of_a_run_and_its_share_is_told(scripts: dict[str, ModuleType]) -> None:
    found = scripts["contestants"]
    setting = found.Setting("resnet20", batch=4)
    ours = found.Ours.of(setting)
    work = ours.plain()
    for _ in range(2):
        work()
    assert ours.step.state.step == 2
    assert int(ours.step.state.sums.images) == 8
    assert 0.0 < found.share_outside(setting, steps=1) < 0.9
    with found._clocked(ours.step) as clock:
        work()
        for name in ("loss", "backward"):  # what is timed is put back afterwards
            assert (
                "call"
                in getattr(found.Targets if name == "loss" else found.Tensor, name).__qualname__
            )
    assert clock[0] > 0.0
    assert "call" not in found.Tensor.backward.__qualname__


def test_bytes_of_a_step_are_counted_op_by_op(
    scripts: dict[str, ModuleType], tmp_path: Path
) -> None:
    path = tmp_path / "sample.rnet"
    path.write_text(ONE_OF_EACH)
    graph = load(f"{path}:sample").graph
    image, maps, outputs = 64, 4 * 64, 10
    conv = 3 * (image + maps)
    norm = (2 * maps + maps) + (2 * (maps + maps) + maps)
    act = (maps + maps) + (2 * maps + maps)
    linear = 3 * (maps + outputs)
    weights = 4 * 9 + 2 * 4 + maps * outputs + outputs
    expected = 8 * 2 * (conv + norm + act + linear) + 28 * weights
    assert scripts["traffic"].step_bytes(graph, batch=8, width=2) == expected


def test_a_round_has_everything_it_promises(
    scripts: dict[str, ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    train = scripts["train"]
    monkeypatch.setattr(train, "copy_speed", lambda device: 1e9)
    monkeypatch.setattr(train, "share_outside", lambda setting: 0.02)
    setting = scripts["contestants"].Setting("resnet20", batch=2)
    found = train.measure(setting, rounds=2, repeats=2, compiled=False)
    ours = found["contestants"]["resnetc"]
    assert ours["seconds"]["n"] == 2
    assert ours["images_per_second"] == pytest.approx(2 / ours["seconds"]["median"], rel=0.01)
    assert found["contestants"]["by hand, bare"]["speed_over_baseline"]["median"] == 1.0
    assert found["baseline"] == "by hand, bare"
    assert found["memory"]["fraction_of_bandwidth"] > 0
    assert found["share_outside"] == 0.02
    assert not any("contiguous" in name for name in found["contestants"])

    found = train.measure(replace(setting, channels_last=True), rounds=2, repeats=1, compiled=False)
    plain = found["contestants"]["by hand, bare, contiguous"]["seconds"]["median"]
    ours = found["contestants"]["resnetc"]
    ratio = plain / ours["seconds"]["median"]
    assert ours["speed_over_plain_loop"]["median"] == pytest.approx(ratio, rel=0.5)


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's account of a process is Linux's")
def test_a_peak_is_above_what_was_held_before(scripts: dict[str, ModuleType]) -> None:
    harness = scripts["harness"]
    before = harness.forget_peak()
    # Not from the allocator, which may have room that was counted before.
    with mmap.mmap(-1, 1 << 26) as held:
        for page in range(0, 1 << 26, mmap.PAGESIZE):
            held[page] = 1
        assert harness.own_peak() - before >= 0.9 * (1 << 26)
    assert harness.own_peak() - before >= 0.9 * (1 << 26)
    assert harness.forget_peak() - before < 0.5 * (1 << 26)
