"""Engines: real ones, built by tensorrt_rtx without a GPU."""

from __future__ import annotations

import hashlib
import json
import logging
import re
from pathlib import Path

import pytest
import tensorrt_rtx
from op_cases import CASES
from small_graphs import cifar_resnet, imagenet_resnet, some_weights

from resnetc.backends.random_weights import random_weights
from resnetc.backends.tensorrt import TensorRtOptions, build_engine
from resnetc.backends.tensorrt.library import find_library, make_logger
from resnetc.backends.weights import weights_hash
from resnetc.diagnostics import RunError, UsageError
from resnetc.ir import Graph
from resnetc.passes import PRECISIONS, lower_for_inference, sensitive

pytestmark = pytest.mark.usefixtures("without_gpu")


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
