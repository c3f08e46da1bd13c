"""The script for a machine with a GPU goes through its parts on one without, and claims nothing."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from benchmark_scripts import FOLDER, benchmark_script
from fake_tensorrt import FakeTensorrt

from resnetc.backends.tensorrt import library


@pytest.fixture(scope="module")
def gpu() -> ModuleType:
    return benchmark_script("gpu")


def leaves(found: Any) -> set[Any]:
    if isinstance(found, dict):
        return {leaf for value in found.values() for leaf in leaves(value)}
    return {found}


def test_engines_are_built_and_not_measured_here(
    gpu: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(library, "gpu_present", lambda: False)
    found = gpu.dry_run(["engines"])["engines"]
    assert set(found) == {f"resnet20.{p}.engine" for p in gpu.ENGINES}
    assert {"fp32", "fp16", "bf16", "int8", "fp8"} == set(gpu.ENGINES)
    assert {each["figures"] for each in found.values()} == {gpu.NOT_HERE}


def test_what_is_built_comes_with_what_it_should_answer(
    gpu: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(library, "gpu_present", lambda: False)
    monkeypatch.setattr(gpu, "ENGINES", ("fp16",))
    gpu.build("resnet20", tmp_path)
    example = np.load(tmp_path / "resnet20.npz")
    assert example["image"].shape == (8, 3, 32, 32)
    assert example["answer"].shape == (8, 10)
    assert example["answer"].dtype == np.float64
    assert np.ptp(example["answer"], axis=0).min() > 0  # each image has an answer of its own
    assert (tmp_path / "resnet20.fp16.engine.json").is_file()


@pytest.mark.slow
def test_every_part_runs_dry(gpu: ModuleType) -> None:
    found = gpu.dry_run(["train", "infer"])
    assert leaves(found) == {gpu.NOT_HERE}


def test_without_a_gpu_it_says_so(gpu: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--parts", "train"])
    monkeypatch.setattr(gpu, "gpu_present", lambda: False)
    with pytest.raises(SystemExit, match=r"no NVIDIA GPU here.*--dry-run"):
        gpu.main()
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--dry-run", "--parts", "engines"])
    with pytest.raises(SystemExit, match="there is no engine; make some with --build"):
        gpu.engines(gpu.DRY, FOLDER)


def test_the_profilers_figures_meet_the_spec(
    gpu: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a stand-in for the engine: what a GPU would report ends up beside the spec's lines."""
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    fake = FakeTensorrt("11.0.0")
    fake.inspector = '{"Layers": [{"Name": "conv1 + relu", "Outputs": []}]}'
    runtime: Any = fake.Runtime
    engine = runtime(None).deserialize_cuda_engine(b"engine")

    class Context:
        profiler: Any = None

    context = Context()
    rows = gpu._layers(
        fake,
        engine,
        context,
        lambda: context.profiler.report_layer_time("conv1 + relu", 0.25),
        {"reference": "resnet20"},
    )
    assert rows[0]["microseconds"] == pytest.approx(250.0)
    assert rows[0]["nodes"] == ["conv1", "relu"]
    assert rows[0]["spec"][0].startswith("specs/cifar_resnet.rnet:")
