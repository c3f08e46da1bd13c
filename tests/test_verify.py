"""`resnetc verify`: the first block where runtimes part, and the runtimes' table."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from verified import SMALL, change_array, net, scale_first_filters, weights

import resnetc
from resnetc.backends.onnx import OnnxOptions, write_onnx
from resnetc.backends.parity import Parting, bfloat16, check_parity, onnx_runtime, parting
from resnetc.backends.random_weights import random_weights
from resnetc.backends.weights import Arrays
from resnetc.cli.main import run
from resnetc.diagnostics import RunError
from resnetc.ir import Node
from resnetc.passes import Plan, find_encoding
from resnetc.quantization import Images, calibrate
from resnetc.sections import MinMax

__all__ = ["net", "weights"]


def partings(
    net: resnetc.Network, file: Path, backends: Sequence[str] = ("onnxruntime",)
) -> list[Parting | None]:
    held = random_weights(net.graph)
    found = check_parity(net.graph, held, onnx_file=file, batch=2, backends=backends)
    assert not any(each.passed for each in found)
    return [each.parting for each in found]


# ------------------------------------------------------------------- the first block that is off


@pytest.mark.parametrize(
    ("network", "layer", "block", "kind"),
    [
        (SMALL, "conv1", "conv1", "conv2d"),
        (SMALL, "layer1.0.conv1", "layer1.0", "basic"),
        (SMALL, "layer2.1.conv2", "layer2.1", "basic"),
        (SMALL, "layer3.2.conv1", "layer3.2", "basic"),
        (SMALL, "fc", "fc", "linear"),
        ("mobilenet_v2", "features.9.conv.2", "features.9", "inverted_residual"),
        ("resnet18", "layer3.0.downsample.0", "layer3.0", "basic"),
    ],
)
def test_weights_that_are_off_in_one_layer(
    tmp_path: Path, network: str, layer: str, block: str, kind: str
) -> None:
    net = resnetc.load(network)
    file = tmp_path / "net.onnx"
    write_onnx(net.graph, file, random_weights(net.graph))
    change_array(file, f"{layer}.weight", scale_first_filters)
    (found,) = partings(net, file)
    assert found is not None
    assert (found.place, found.block, found.op) == (block, kind, layer)
    (node,) = (each for each in net.graph if each.name == layer)
    assert node.span is not None
    assert found.op_at == f"{node.span.source.name}:{node.span.line}"
    assert found.before < 5e-6
    assert found.after > 1e-4


def test_every_layer_of_a_network_in_turn(
    tmp_path: Path, net: resnetc.Network, weights: Arrays
) -> None:
    """Scaled by a thousandth, which the logits hardly show: it is what is not before it that
    tells."""
    whole = tmp_path / "whole.onnx"
    write_onnx(net.graph, whole, weights)
    file = tmp_path / "net.onnx"
    convs = [each.name for each in net.graph if each.op.name == "conv2d"]
    for layer in convs[1::4]:
        shutil.copy(whole, file)
        change_array(file, f"{layer}.weight", lambda array: array * np.float32(1.001))
        (found,) = partings(net, file)
        assert found is not None
        assert found.place == layer.rpartition(".")[0]
        assert found.op == layer


def test_an_epsilon_of_one_norm(tmp_path: Path, net: resnetc.Network, weights: Arrays) -> None:
    """A file with its norms kept: tensors of the same names mean other things in it."""
    file = tmp_path / "net.onnx"
    write_onnx(net.graph, file, weights, options=OnnxOptions(fold=False))
    model = onnx.load(file)
    (norm,) = (each for each in model.graph.node if each.name == "layer2.0.bn2")
    (eps,) = (each for each in norm.attribute if each.name == "epsilon")
    eps.f = 1e-2
    onnx.save(model, file)
    (found,) = partings(net, file)
    assert found is not None
    assert (found.place, found.op) == ("layer2.0", "layer2.0.bn2")


def test_the_first_of_several(tmp_path: Path, net: resnetc.Network, weights: Arrays) -> None:
    file = tmp_path / "net.onnx"
    write_onnx(net.graph, file, weights)
    for layer in ("layer3.1.conv2", "layer1.2.conv1", "layer2.0.conv1"):
        change_array(file, f"{layer}.weight", scale_first_filters)
    (found,) = partings(net, file)
    assert found is not None
    assert found.place == "layer1.2"


@pytest.mark.parametrize(
    "options",
    [OnnxOptions(precision="fp16"), OnnxOptions(external=True), OnnxOptions(batch=2)],
    ids=["fp16", "external", "fixed"],
)
def test_other_files(
    tmp_path: Path, net: resnetc.Network, weights: Arrays, options: OnnxOptions
) -> None:
    file = tmp_path / "net.onnx"
    write_onnx(net.graph, file, weights, options=options)
    change_array(file, "layer2.1.conv2.weight", scale_first_filters)
    (found,) = partings(net, file)
    assert found is not None
    assert (found.place, found.op) == ("layer2.1", "layer2.1.conv2")


def test_a_file_with_names_of_its_own(
    tmp_path: Path, net: resnetc.Network, weights: Arrays
) -> None:
    """Nothing in it can be told apart but the outputs, and it is those that part."""
    file = tmp_path / "net.onnx"
    write_onnx(net.graph, file, weights)
    change_array(file, "layer2.1.conv2.weight", scale_first_filters)
    model = onnx.load(file)
    kept = {each.name for each in (*model.graph.input, *model.graph.output)}
    kept |= {each.name for each in model.graph.initializer}
    for node in model.graph.node:
        for names in (node.input, node.output):
            names[:] = [name if name in kept else f"t.{name}" for name in names]
    del model.graph.value_info[:]
    onnx.save(model, file)
    (found,) = partings(net, file)
    assert found is not None
    assert found.place == "fc"


def test_a_number_that_is_none(tmp_path: Path, net: resnetc.Network, weights: Arrays) -> None:
    file = tmp_path / "net.onnx"
    write_onnx(net.graph, file, weights)
    change_array(file, "layer2.1.conv2.bias", lambda array: np.full_like(array, np.nan))
    (found,) = partings(net, file)
    assert found is not None
    assert found.place == "layer2.1"
    assert found.to_json()["error_after"] is None
    assert json.dumps(found.to_json(), allow_nan=False)


def profile(errors: Sequence[float], net: resnetc.Network) -> parting._Profile:
    nodes: list[Node] = list(net.graph)[: len(errors)]
    return parting._Profile(nodes, list(errors))


@pytest.mark.parametrize(
    ("errors", "first"),
    [
        ([1e-7, 2e-7, 3e-7], None),
        ([1e-7, 2e-7, 3e-3, 5e-3], 2),
        ([1e-7, 9e-6, 1.1e-5, 2.1e-5], 1),  # where it began, though it is beyond later
        ([1e-7, 1e-7, 3e-3, 1e-7, 9e-1], 2),
        ([4e-7, 1.8e-6, 7e-6, 2.1e-5], 3),  # no step of it stands out
        ([float("nan")], 0),
    ],
)
def test_which_is_the_first(net: resnetc.Network, errors: list[float], first: int | None) -> None:
    assert profile(errors, net).first_apart(2.0**-24, 2e-5) == first


def test_a_difference_that_goes_away_when_looked_at(net: resnetc.Network) -> None:
    """As of a fusion that outputs in the middle prevent: there is no block to be named."""

    def values(nodes: Sequence[Node]) -> dict[str, np.ndarray]:
        return {node.name: np.ones((1, *node.type.shape)) for node in nodes}

    assert parting.find_parting(net.graph, values, values, "fp32", 2e-5) is None


def test_the_command_names_the_block(
    tmp_path: Path, weights: Arrays, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "net.onnx"
    write_onnx(resnetc.load(SMALL).graph, file, weights)
    change_array(file, "layer2.1.conv1.weight", scale_first_filters)
    asked = ["verify", SMALL, "--weights", "random", "--onnx", str(file)]
    assert run(asked) == 5
    assert (
        "they part at layer2.1, `basic` of specs/cifar_resnet.rnet:15, "
        "in it at layer2.1.conv1 (specs/resnet.rnet:7)" in capsys.readouterr().err
    )
    assert run([*asked, "--json"]) == 5
    torch, ort = json.loads(capsys.readouterr().out)["agreements"]
    assert "parting" not in torch
    assert ort["parting"]["place"] == "layer2.1"


# ---------------------------------------------------------------------------------- the runtimes


def test_openvino_agrees_and_is_told_apart(
    tmp_path: Path, net: resnetc.Network, weights: Arrays
) -> None:
    file = tmp_path / "net.onnx"
    write_onnx(net.graph, file, weights)
    (agreement,) = check_parity(net.graph, weights, onnx_file=file, backends=["openvino"])
    assert agreement.backend == "openvino fp32"
    assert 0 < agreement.max_rel < 5e-6  # by default it would compute in bf16
    change_array(file, "layer3.1.conv1.weight", scale_first_filters)
    (found,) = partings(net, file, ["openvino"])
    assert found is not None
    assert (found.place, found.op) == ("layer3.1", "layer3.1.conv1")


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_openvino_in_other_precisions(
    tmp_path: Path, net: resnetc.Network, weights: Arrays, precision: str
) -> None:
    file = tmp_path / "net.onnx"
    write_onnx(net.graph, file, weights, options=OnnxOptions(precision=precision))
    (agreement,) = check_parity(net.graph, weights, onnx_file=file, backends=["openvino"])
    assert agreement.backend == f"openvino {precision}"
    assert agreement.passed
    assert agreement.max_rel > 1e-6


@pytest.mark.parametrize(
    ("layers", "inputs", "tolerance"),
    [
        ("fp32", "fp16", 1e-2),
        ("fp32", "bf16", 8e-2),
        ("fp16", "bf16", 8e-2),
        ("fp16", "fp32", 1e-2),
    ],
)
def test_inputs_are_given_as_the_file_takes_them(
    layers: str,
    inputs: str,
    tolerance: float,
    tmp_path: Path,
    net: resnetc.Network,
    weights: Arrays,
) -> None:
    """And rounded inputs are allowed for, like rounded layers."""
    file = tmp_path / "net.onnx"
    write_onnx(net.graph, file, weights, options=OnnxOptions(plan=Plan(layers, inputs=inputs)))
    for each in check_parity(net.graph, weights, onnx_file=file, backends=["onnxruntime"]):
        assert each.tolerance == tolerance
        assert 1e-5 < each.max_rel < tolerance
    for each in check_parity(net.graph, weights, onnx_file=file, backends=["openvino"]):
        assert each.tolerance == tolerance
        assert 1e-5 < each.max_rel < tolerance


def test_bits_of_bfloat16_are_torchs() -> None:
    drawn = np.random.default_rng(0).standard_normal(1000).astype(np.float32)
    ties = np.array([1.00390625, 1.01171875, -0.0, 3.0], np.float32)  # between two, to the even one
    numbers = np.concatenate([drawn, ties])
    expected = torch.from_numpy(numbers).bfloat16()
    np.testing.assert_array_equal(bfloat16.to_bits(numbers), expected.view(torch.uint16).numpy())
    np.testing.assert_array_equal(
        bfloat16.from_bits(bfloat16.to_bits(numbers)), expected.float().numpy()
    )


def test_a_runtime_that_cannot_run_a_file_ends_nothing_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The gravest error is the exit code; the others are told."""
    for precision in ("bf16", "fp32"):
        asked = ["--weights", "random", "--precision", precision, "--out", str(tmp_path)]
        assert run(["export", SMALL, *asked]) == 0
    narrow, wide = tmp_path / f"{SMALL}.bf16.onnx", tmp_path / f"{SMALL}.onnx"
    verify = ["verify", SMALL, "--weights", "random", "--backends", "onnxruntime,openvino"]
    verify += ["--onnx", str(narrow), "--onnx", str(wide)]
    capsys.readouterr()
    assert run(verify) == 1
    shown = capsys.readouterr()
    assert [line.split()[:2] for line in shown.out.splitlines() if " cosine " in line] == [
        ["openvino", "bf16"],
        ["onnxruntime", "fp32"],
        ["openvino", "fp32"],
    ]
    assert shown.err.count("error: ") == 1
    assert "computes in bf16, and onnxruntime's CPU provider has no bf16" in shown.err
    change_array(wide, "layer2.1.conv2.weight", scale_first_filters)
    assert run(verify) == 5
    shown = capsys.readouterr()
    assert "has no bf16 convolution" in shown.err
    assert "error: onnxruntime fp32 differs by" in shown.err
    assert run([*verify, "--json"]) == 5
    document = json.loads(capsys.readouterr().out)
    assert len(document["agreements"]) == 3
    assert len(document["refused"]) == 1


@pytest.mark.parametrize(
    ("layers", "bits", "saturates", "note"),
    [
        ("fp8", 8, False, "takes float8 for an integer and drops ReLUs"),
        ("int8", 8, True, "to run it here, export it with --weight-bits 7"),
        ("int8", 7, True, None),
        ("int8", 8, False, None),
    ],
)
def test_eight_bits_are_run_as_they_are_meant(
    layers: str,
    bits: int,
    saturates: bool,
    note: str | None,
    tmp_path: Path,
    net: resnetc.Network,
    weights: Arrays,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(onnx_runtime, "sums_saturate", lambda: saturates)
    encoding = find_encoding(layers, "ort", bits)
    rng = np.random.default_rng(0)
    images = rng.standard_normal((16, 3, 32, 32), np.float32)
    drawn = Images(lambda batch: iter([images]), len(images), "drawn")
    found = calibrate(net.graph, weights, encoding, drawn, MinMax())
    plan = Plan(layers, encoding=encoding, ranges=found.ranges)
    file = tmp_path / "net.onnx"
    write_onnx(net.graph, file, weights, options=OnnxOptions(plan=plan))
    asked = {"onnx_file": file, "backends": ["onnxruntime"], "images": images}
    (agreement,) = check_parity(net.graph, weights, **asked)
    assert agreement.note is None if note is None else note in str(agreement.note)
    if note is not None:
        assert agreement.passed
        assert agreement.to_json()["note"] == agreement.note


def test_a_tolerance_is_printed_as_it_is_applied(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["verify", SMALL, "--weights", "random", "--backends", "eager", "--batch", "1"]
    assert run([*asked, "--tolerance", "0.15"]) == 0
    assert "agrees (tolerance 0.15 rel)" in capsys.readouterr().out


def test_openvino_that_is_not_installed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    assert run(["verify", SMALL, "--backends", "openvino"]) == 4
    assert "pip install 'resnetc[openvino]'" in capsys.readouterr().err


def test_a_file_that_openvino_cannot_open(tmp_path: Path) -> None:
    from resnetc.backends.openvino import read_model

    file = tmp_path / "net.onnx"
    file.write_bytes(b"junk")
    with pytest.raises(RunError, match=r"openvino cannot open net\.onnx"):
        read_model(file, "net.onnx")


def test_a_runtime_that_does_not_exist(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["verify", SMALL, "--backends", "opnvino"]) == 2
    assert "did you mean openvino?" in capsys.readouterr().err


def test_real_images(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["verify", SMALL, "--data", "digits"]
    assert run([*asked, "--batch", "40", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["data"], document["batch"]) == ("digits", 40)
    for each in document["agreements"]:
        assert each["top1"] == 1


@pytest.mark.slow
def test_a_compiled_module(net: resnetc.Network, weights: Arrays) -> None:
    (agreement,) = check_parity(net.graph, weights, backends=["compile"], batch=2)
    assert agreement.backend == "torch.compile fp32"
    assert 0 < agreement.max_rel < 5e-6
