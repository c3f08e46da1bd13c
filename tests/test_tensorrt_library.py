"""TensorRT's libraries: `tensorrt` 10.x and 11.x by a stand-in, which one is taken, its options,
and what is read back from a network."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from fake_tensorrt import FakeTensorrt, with_tensorrt
from small_graphs import cifar_resnet

from resnetc.backends.random_weights import random_weights
from resnetc.backends.tensorrt import TensorRtOptions, build_engine, library, precision
from resnetc.backends.tensorrt.library import find_library
from resnetc.diagnostics import CheckError, MissingError, RunError, UsageError
from resnetc.ir import Graph

pytestmark = pytest.mark.usefixtures("without_gpu")


@pytest.fixture(scope="module")
def net() -> Graph:
    return cifar_resnet(8)


# ---------------------------------------------------------------- `tensorrt`, 10.x and 11.x (fake)


@pytest.mark.parametrize(("version", "flags"), [("10.8.0.43", 2), ("11.0.0", 0), ("12.1", 0)])
def test_strong_typing_is_asked_for_where_it_is_a_choice(
    tmp_path: Path, net: Graph, monkeypatch: pytest.MonkeyPatch, version: str, flags: int
) -> None:
    fake = with_tensorrt(monkeypatch, version)
    report = build_engine(
        net, tmp_path / "net.engine", random_weights(net), options=TensorRtOptions("fp16")
    )
    assert (report.library, report.version) == ("tensorrt", version)
    assert fake.asked["network_flags"] == flags
    assert fake.asked["cleared"] == ["tf32"]
    assert fake.asked["profile"] == {"input": ((1, 3, 32, 32), (8, 3, 32, 32), (32, 3, 32, 32))}
    assert "capabilities" not in fake.asked
    assert report.read_from == "engine"
    assert report.found["fp16"] > report.found["fp32"] == 1  # the cast before the output
    assert report.capabilities == ("current",)


def test_an_engine_that_silently_became_fp32_is_an_error(
    tmp_path: Path, net: Graph, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = with_tensorrt(monkeypatch, "11.0.0")
    layer = {"Name": "a", "LayerType": "kgen", "Outputs": [{"Format/Datatype": "Float"}]}
    fake.inspector = json.dumps({"Layers": [layer], "I/O Tensors": [{"Name": "input"}]})
    with pytest.raises(CheckError, match=r"fp16 was asked for, but .* are \{'fp32': 1\}"):
        build_engine(
            net, tmp_path / "net.engine", random_weights(net), options=TensorRtOptions("fp16")
        )
    assert not list(tmp_path.iterdir())


def test_a_network_that_is_weakly_typed_is_an_error(
    tmp_path: Path, net: Graph, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_tensorrt(monkeypatch, "10.8.0")
    monkeypatch.setattr(library, "_OLDEST", 9)  # sabotage: the flag is not given on 10.x
    with pytest.raises(CheckError, match=r"fp16 was asked for, but \d+ of \d+ layers"):
        build_engine(
            net, tmp_path / "net.engine", random_weights(net), options=TensorRtOptions("fp16")
        )


def test_tf32_only_when_asked(tmp_path: Path, net: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = with_tensorrt(monkeypatch, "11.0.0")
    options = TensorRtOptions(tf32=True)
    report = build_engine(net, tmp_path / "net.engine", random_weights(net), options=options)
    assert "cleared" not in fake.asked
    assert json.loads(report.sidecar.read_text())["precision"]["tf32"] is True


def test_a_build_that_fails_says_why(
    tmp_path: Path, net: Graph, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_tensorrt(monkeypatch, "11.0.0").builds = False
    with pytest.raises(RunError, match="tensorrt built no engine: out of memory"):
        build_engine(net, tmp_path / "net.engine", random_weights(net))


def test_tensorrt_takes_no_capabilities(
    tmp_path: Path, net: Graph, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_tensorrt(monkeypatch, "11.0.0")
    options = TensorRtOptions(capabilities=("8.6",))
    with pytest.raises(UsageError, match="--library tensorrt_rtx"):
        build_engine(net, tmp_path / "net.engine", random_weights(net), options=options)


def test_rtx_builds_for_the_gpu_that_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "gpu_present", lambda: True)
    fake = FakeTensorrt("1.7.1", "tensorrt_rtx")
    config = fake.Builder(None).create_builder_config()
    found = library.Library("tensorrt_rtx", fake)
    assert found.set_targets(config, ()) == ("current",)
    assert found.set_targets(config, ("8.6", "12.0")) == ("8.6", "12.0")
    assert fake.asked["capabilities"] == ["current", "86", "120"]
    assert config.num_compute_capabilities == 2


# ------------------------------------------------------------------------- which library, if any


def hide(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    genuine = importlib.util.find_spec

    def find_spec(name: str, package: str | None = None) -> object:
        return None if name in names else genuine(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", find_spec)
    for name in names:
        monkeypatch.setitem(sys.modules, name, None)


def test_neither_library(monkeypatch: pytest.MonkeyPatch) -> None:
    hide(monkeypatch, "tensorrt", "tensorrt_rtx")
    with pytest.raises(MissingError, match="neither tensorrt nor tensorrt_rtx") as caught:
        find_library()
    assert "pip install 'resnetc[tensorrt-rtx]'" in caught.value.remedy
    assert "pip install 'resnetc[gpu]'" in caught.value.remedy
    assert caught.value.exit_code == 4


@pytest.mark.parametrize("name", ["tensorrt", "tensorrt_rtx"])
def test_the_one_asked_for_is_missing(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    hide(monkeypatch, name)
    with pytest.raises(MissingError, match=f"{name} is not installed") as caught:
        find_library(name)  # type: ignore[arg-type]
    assert caught.value.remedy == library.REMEDIES[name]


def test_choice_by_what_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    with_tensorrt(monkeypatch, "11.0.0", gpu=True)
    assert find_library().name == "tensorrt"
    assert find_library("tensorrt_rtx").name == "tensorrt_rtx"
    monkeypatch.setattr(library, "gpu_present", lambda: False)
    assert find_library().name == "tensorrt_rtx"


def test_tensorrt_without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    with_tensorrt(monkeypatch, "11.0.0", gpu=False)
    with pytest.raises(MissingError, match="there is none here") as caught:
        find_library("tensorrt")
    assert caught.value.remedy.startswith("pip install 'resnetc[tensorrt-rtx]'")
    hide(monkeypatch, "tensorrt_rtx")
    with pytest.raises(MissingError, match="there is none here"):
        find_library()


def test_too_old_a_tensorrt(monkeypatch: pytest.MonkeyPatch) -> None:
    with_tensorrt(monkeypatch, "8.6.1")
    with pytest.raises(MissingError, match=r"tensorrt 8\.6\.1 is too old") as caught:
        find_library("tensorrt")
    assert caught.value.remedy == "pip install 'resnetc[gpu]' --upgrade"


def test_a_library_that_cannot_be_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tensorrt.py").write_text("raise OSError('libnvinfer.so.11: cannot open')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(MissingError, match=r"tensorrt cannot be imported: libnvinfer\.so\.11"):
        find_library("tensorrt")


# -------------------------------------------------------------------------------------- options


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "fp4"}, "there is no precision 'fp4'"),
        ({"batch": 0}, "not 0, 0, 0"),
        ({"batch": (4, 2, 8)}, "1 <= min <= opt <= max, not 4, 2, 8"),
        ({"batch": (1, 9, 8)}, "1 <= min <= opt <= max, not 1, 9, 8"),
        ({"library": "onnx"}, "there is no library 'onnx'"),
        ({"precision": "fp16", "tf32": True}, "tf32 is a way to compute in fp32"),
    ],
)
def test_options_that_make_no_sense(options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        TensorRtOptions(**options)  # type: ignore[arg-type]


# ------------------------------------------------------------------------------ reading back


def test_engine_words_of_all_versions() -> None:
    layers = [
        {"Name": "a", "Outputs": [{"Format/Datatype": "Row major linear FP32"}]},
        {"Name": "b", "Outputs": [{"Format/Datatype": "Half"}]},
        {"Name": "c", "Outputs": [{"Format/Datatype": "BFloat16"}, {"Format/Datatype": "Float"}]},
        {"Name": "d", "Outputs": [{"Format/Datatype": "Thirty-two wide row major Int8 format."}]},
        {"Name": "e", "Outputs": [{"Format/Datatype": "N/A due to dynamic shapes"}]},
        {"Name": "f", "LayerType": "Reformat", "Outputs": [{"Format/Datatype": "Float"}]},
        {"Name": "g", "LayerType": "NoOp", "Outputs": [{"Format/Datatype": "Float"}]},
        "only a name",
    ]
    found = precision.engine_precisions(json.dumps({"Layers": layers}))
    assert found == {"a": "fp32", "b": "fp16", "c": "bf16+fp32", "d": "int8"}
    assert precision.count(found) == {"fp32": 1, "fp16": 1, "bf16+fp32": 1, "int8": 1}
    precision.require_engine("bf16", found)
    precision.require_engine("bf16", {})
    with pytest.raises(CheckError):
        precision.require_engine("fp8", found)


def test_a_type_the_backend_does_not_know_is_not_overlooked() -> None:
    tensor = SimpleNamespace(dtype=SimpleNamespace(name="FP6"))
    counter = SimpleNamespace(dtype=SimpleNamespace(name="INT64"))
    layer = SimpleNamespace(
        name="conv",
        type=SimpleNamespace(name="CONVOLUTION"),
        num_inputs=2,
        num_outputs=1,
        get_input=(counter, None).__getitem__,
        get_output=(tensor,).__getitem__,
    )
    network = SimpleNamespace(num_layers=1, get_layer=(layer,).__getitem__)
    assert precision.network_precisions(network) == {"conv": "fp6"}


def test_one_layer_of_another_precision_is_named() -> None:
    expected = {"conv": "fp16", "relu": "fp16"}
    with pytest.raises(CheckError, match=r"1 of 2 layers have another precision: relu \(fp32\)"):
        precision.require_network("fp16", {"conv": "fp16", "relu": "fp32"}, expected)
    precision.require_network("fp16", {"conv": "fp16"}, expected)
    mixed = {"conv": "fp16", "fc": "fp32"}
    precision.require_network("fp16", mixed, mixed)
    precision.require_network("fp16", {"conv": "fp16", "fc.product": "fp32"}, mixed)
    with pytest.raises(CheckError, match=r"1 of 1 layers have another precision: conv \(fp32\)"):
        precision.require_network("fp16", {"conv": "fp32"}, mixed)
