"""Engines: real ones built by tensorrt_rtx without a GPU, and the branches for `tensorrt`."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import json
import logging
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import tensorrt_rtx
from fake_tensorrt import FakeTensorrt
from small_graphs import cifar_resnet, imagenet_resnet, some_weights
from test_onnx_ops import CASES

from resnetc.backends.random_weights import random_weights
from resnetc.backends.tensorrt import TensorRtOptions, build_engine, library, precision
from resnetc.backends.tensorrt.library import find_library, make_logger
from resnetc.backends.weights import weights_hash
from resnetc.diagnostics import CheckError, MissingError, RunError, UsageError
from resnetc.ir import Graph
from resnetc.passes import PRECISIONS, lower_for_inference, sensitive


@pytest.fixture(autouse=True)
def _without_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same answers on a machine with a GPU."""
    monkeypatch.setattr(library, "gpu_present", lambda: False)


@pytest.fixture(scope="module")
def net() -> Graph:
    return cifar_resnet(8)


# ----------------------------------------------------------------------------- real engines (RTX)


@pytest.mark.parametrize("asked", ["fp32", "fp16", "bf16"])
def test_a_real_engine_in_every_precision(tmp_path: Path, net: Graph, asked: str) -> None:
    report = build_engine(
        net,
        tmp_path / "net.engine",
        random_weights(net),
        options=TensorRtOptions(asked, library="tensorrt_rtx"),
    )
    assert report.library == "tensorrt_rtx"
    assert report.version == tensorrt_rtx.__version__
    # The logits are kept in fp32 where bf16 would make close ones equal.
    assert set(report.found) == ({"bf16", "fp32"} if asked == "bf16" else {asked})
    assert max(report.found, key=report.found.__getitem__) == asked
    assert report.found[asked] >= 9 + 7 + 3  # convolutions, ReLUs and sums at the least
    assert report.read_from == "network"
    assert report.profile == (1, 8, 32)
    assert report.bytes == report.path.stat().st_size > 100_000
    assert report.capabilities == ("8.0", "8.6", "8.9", "12.0")


def test_half_precision_halves_the_engine(tmp_path: Path) -> None:
    graph = imagenet_resnet((2, 2, 2, 2), classes=10, side=64)
    weights = random_weights(graph)
    sizes = {
        asked: build_engine(graph, tmp_path / asked, weights, options=TensorRtOptions(asked)).bytes
        for asked in ("fp32", "fp16")
    }
    assert 1.8 < sizes["fp32"] / sizes["fp16"] < 2.2


def test_the_engine_is_pure_and_the_sidecar_says_where_it_is_from(
    tmp_path: Path, net: Graph
) -> None:
    weights = some_weights(net)
    report = build_engine(
        net,
        tmp_path / "net.engine",
        weights,
        options=TensorRtOptions("fp16", batch=(1, 4, 16), capabilities=("8.6",)),
        provenance={"reference": "cifar_resnet.rnet:resnet8"},
    )
    assert report.path.read_bytes()[:4] == b"vtrt"  # the library's own first bytes
    assert report.sidecar == tmp_path / "net.engine.json"
    facts = json.loads(report.sidecar.read_text())
    assert facts["engine_sha256"] == hashlib.sha256(report.path.read_bytes()).hexdigest()
    assert facts["graph_hash"] == net.hash
    assert facts["weights_hash"] == weights_hash(net, weights)
    assert facts["reference"] == "cifar_resnet.rnet:resnet8"
    assert facts["library"] == {"name": "tensorrt_rtx", "version": tensorrt_rtx.__version__}
    assert facts["precision"]["asked"] == "fp16"
    assert facts["precision"]["found"] == report.found
    assert facts["profile"] == [1, 4, 16]
    assert facts["capabilities"] == ["8.6"]
    assert [(t["name"], t["shape"]) for t in facts["tensors"]] == [
        ("input", [-1, 3, 32, 32]),
        ("logits", [-1, 10]),
    ]


def test_a_fixed_batch_needs_no_profile(tmp_path: Path, net: Graph) -> None:
    options = TensorRtOptions(batch=4)
    report = build_engine(net, tmp_path / "net.engine", random_weights(net), options=options)
    assert report.profile is None
    tensors = json.loads(report.sidecar.read_text())["tensors"]
    assert [t["shape"] for t in tensors] == [[4, 3, 32, 32], [4, 10]]


def test_rebuilding_gives_the_same_bytes(tmp_path: Path, net: Graph) -> None:
    """But for the numbers in names the library makes up, which its threads draw."""
    weights = random_weights(net)
    first, second = (
        re.sub(rb"__mye\d+", b"", build_engine(net, tmp_path / name, weights).path.read_bytes())
        for name in ("a", "b")
    )
    assert first == second


_MOVES = {
    *("identity", "dropout", "drop_path", "flatten", "add of one", "upsample to a size"),
    "adaptive_avgpool to as many",
}


@pytest.mark.parametrize("case", CASES)
def test_every_op_builds(tmp_path: Path, case: str) -> None:
    graph = CASES[case]()
    transposed = any(node.op.name == "conv_transpose2d" for node in graph)
    for asked in ("fp32", "fp16") if transposed else ("fp32", "fp16", "bf16"):
        options = TensorRtOptions(asked, batch=2)
        report = build_engine(graph, tmp_path / "op.engine", some_weights(graph), options=options)
        # What only moves numbers about computes in no precision; the sensitive ops, in fp32.
        wide = sensitive(lower_for_inference(graph).graph, PRECISIONS[asked])
        expected = set() if case in _MOVES else {asked}
        assert set(report.found) - {"fp32"} <= expected
        assert ("fp32" in report.found) == (bool(wide) or expected == {"fp32"})
        assert wide or set(report.found) == expected


def test_tensorrt_rtx_has_no_transposed_convolution_in_bf16(tmp_path: Path) -> None:
    """It is said by the library, as the reason why there is no engine."""
    graph = CASES["conv_transpose2d"]()
    with pytest.raises(RunError, match=r"built no engine.*deconv"):
        build_engine(
            graph, tmp_path / "op.engine", some_weights(graph), options=TensorRtOptions("bf16")
        )


def test_an_unknown_compute_capability_lists_the_known(tmp_path: Path, net: Graph) -> None:
    options = TensorRtOptions(capabilities=("6.1",))
    with pytest.raises(UsageError, match=r"does not know compute capability 6\.1: 7\.5, 8\.0"):
        build_engine(net, tmp_path / "net.engine", random_weights(net), options=options)
    assert not list(tmp_path.iterdir())


def test_an_engine_for_the_gpu_here_without_one_is_refused(tmp_path: Path, net: Graph) -> None:
    options = TensorRtOptions(capabilities=("current",))
    with pytest.raises(RunError, match=r"tensorrt_rtx built no engine: .*[Cc]uda"):
        build_engine(net, tmp_path / "net.engine", random_weights(net), options=options)


def test_a_network_the_parser_refuses() -> None:
    from resnetc.backends.tensorrt.build import build_plan

    with pytest.raises(RunError, match="tensorrt_rtx does not take this network: "):
        build_plan(find_library("tensorrt_rtx"), b"no model at all", TensorRtOptions(), {})


def test_weights_that_do_not_fit(tmp_path: Path, net: Graph) -> None:
    with pytest.raises(UsageError, match=r"missing: conv1\.weight"):
        build_engine(net, tmp_path / "net.engine", {})


# --------------------------------------------------------------------------------- the logger


def test_the_logger_routes_and_keeps_errors(caplog: pytest.LogCaptureFixture) -> None:
    logger = make_logger(tensorrt_rtx)
    severity = tensorrt_rtx.ILogger
    with caplog.at_level(logging.DEBUG, logger="resnetc.tensorrt"):
        for level in (severity.INTERNAL_ERROR, severity.ERROR, severity.WARNING, severity.INFO):
            logger.log(level, f"said at {level.name}")
    assert logger.errors == ["said at INTERNAL_ERROR", "said at ERROR"]
    loud = [record.message for record in caplog.records if record.levelno >= logging.WARNING]
    assert loud == ["said at WARNING"]
    assert len(caplog.records) == 4


# ---------------------------------------------------------------- `tensorrt`, 10.x and 11.x (fake)


def with_tensorrt(
    monkeypatch: pytest.MonkeyPatch, version: str, *, gpu: bool = True
) -> FakeTensorrt:
    fake = FakeTensorrt(version)
    fake.__spec__ = importlib.machinery.ModuleSpec("tensorrt", None)
    monkeypatch.setitem(sys.modules, "tensorrt", fake)
    monkeypatch.setattr(library, "gpu_present", lambda: gpu)
    return fake


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
