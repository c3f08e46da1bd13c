"""`resnetc export` and `resnetc verify` as a user meets them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from safetensors.torch import load_file

import resnetc
from resnetc.backends import parity
from resnetc.backends.onnx import OnnxOptions, write_onnx
from resnetc.backends.parity import check_parity, require_parity
from resnetc.backends.random_weights import random_weights
from resnetc.backends.weights import read_weights, write_weights
from resnetc.cli.main import run
from resnetc.diagnostics import CheckError

_ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(resnetc.__file__).parent.parent)}


pytestmark = pytest.mark.usefixtures("without_gpu")


@pytest.fixture(scope="module")
def net() -> resnetc.Network:
    return resnetc.load("resnet20")


@pytest.fixture
def weights(tmp_path: Path, net: resnetc.Network) -> str:
    path = tmp_path / "trained.safetensors"
    write_weights(path, random_weights(net.graph, 7))
    return str(path)


# --------------------------------------------------------------------------------------- export


def test_all_backends_in_one_go(
    tmp_path: Path, weights: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "made" / "here"
    arguments = ["export", "resnet20", "--to", "onnx,tensorrt,torch", "--weights", weights]
    assert run([*arguments, "--out", str(out)]) == 0
    shown = capsys.readouterr()
    assert {file.name for file in out.iterdir()} == {
        "resnet20.onnx",
        "resnet20.engine",
        "resnet20.engine.json",
        "resnet20.py",
        "resnet20.safetensors",
    }
    lines = shown.out.splitlines()
    assert [line.split()[0] for line in lines] == [
        str(out / name) for name in ("resnet20.onnx", "resnet20.engine", "resnet20.py")
    ]
    assert "52 layers fp32 (read from the network)" in lines[1]
    assert "replaced" not in shown.out
    assert shown.err == ""
    assert run([*arguments, "--out", str(out)]) == 0
    assert all(line.endswith("replaced") for line in capsys.readouterr().out.splitlines())


def test_options_reach_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = "--precision bf16 --opset 23 --batch 2 --external --no-fold --weights random"
    assert run(["export", "resnet20", *arguments.split(), "--out", str(tmp_path)]) == 0
    file = tmp_path / "resnet20.bf16.onnx"
    model = onnx.load(file, load_external_data=False)
    assert model.opset_import[0].version == 23
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_value == 2
    assert any(node.op_type == "BatchNormalization" for node in model.graph.node)
    wide = {t.name for t in model.graph.initializer if t.data_type != onnx.TensorProto.BFLOAT16}
    assert wide == {"fc.weight", "fc.bias"}
    facts = {entry.key: entry.value for entry in model.metadata_props}
    assert facts["resnetc.reference"].endswith(":resnet20")
    assert (tmp_path / "resnet20.bf16.onnx.data").is_file()


def test_a_range_of_batches_is_a_profile(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["export", "resnet20", "--to", "onnx,tensorrt", "--out", str(tmp_path), "--json"]
    assert run([*arguments, "--batch", "2..16"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["failed"] == []
    made = {each["backend"]: each for each in document["written"]}
    assert made["tensorrt"]["profile"] == [2, 16, 16]
    assert made["tensorrt"]["found"] == {"fp32": 52}
    assert made["onnx"]["bytes"] == Path(made["onnx"]["files"][0]).stat().st_size
    model = onnx.load(made["onnx"]["files"][0])
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "N"
    assert run([*arguments, "--batch", "1..4..16"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["written"][1]["profile"] == [1, 4, 16]


def test_made_up_weights_are_told_where_they_matter(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["export", "resnet20", "--to", "onnx,torch", "--out", str(tmp_path)]) == 0
    assert capsys.readouterr().err == "no --weights: random ones, seed 0\n"
    assert run(["export", "resnet20", "--to", "torch", "--out", str(tmp_path)]) == 0
    assert capsys.readouterr().err == ""


def test_weights_that_were_given_come_with_the_source(tmp_path: Path) -> None:
    """In fp32 the source is the network itself, and takes them as torch's strict loading does."""
    given = tmp_path / "given.safetensors"
    net = resnetc.load("digits_resnet14")
    write_weights(given, random_weights(net.graph, 3))
    asked = ["export", "digits_resnet14", "--to", "torch", "--out", str(tmp_path)]
    assert run([*asked, "--weights", "random"]) == 0
    assert not (tmp_path / "digits_resnet14.safetensors").exists()
    assert "safetensors" not in (tmp_path / "digits_resnet14.py").read_text()
    assert run([*asked, "--weights", str(given)]) == 0
    source = (tmp_path / "digits_resnet14.py").read_text()
    namespace: dict[str, Any] = {"__name__": "written"}
    exec(source, namespace)
    said = 'load_state_dict(safetensors.torch.load_file("digits_resnet14.safetensors"))'
    assert f"    module.{said}\n" in namespace["__doc__"]
    module = namespace["digits_resnet14"]()
    module.load_state_dict(load_file(tmp_path / "digits_resnet14.safetensors"))
    np.testing.assert_array_equal(module.conv1.weight.detach(), read_weights(given)["conv1.weight"])


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_source_and_weights_are_written_together(
    precision: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    files_of_at_most: Callable[[int], AbstractContextManager[None]],
) -> None:
    """Where the weights find no room, there is no source that has none."""
    given = tmp_path / "given.safetensors"
    write_weights(given, random_weights(resnetc.load("digits_resnet14").graph))
    asked = ["export", "digits_resnet14", "--to", "torch", "--weights", str(given)]
    asked += ["--precision", precision, "--out", str(tmp_path / "out")]
    with files_of_at_most(64 << 10):
        assert run(asked) == 1
    assert "nothing was changed" in capsys.readouterr().err
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ("--to tensorrt --opset 13", "--opset would have no effect without --to onnx"),
        ("--to tensorrt --no-fold --external", "--external, --no-fold would have no effect"),
        ("--to torch --inline", "--inline would have no effect without --to onnx"),
        ("--capability 8.9", "--capability would have no effect without --to tensorrt"),
        ("--to onnx,torch --tf32", "--tf32 would have no effect without --to tensorrt"),
        ("--library tensorrt_rtx", "--library would have no effect without --to tensorrt"),
        ("--encoding tensorrt", "--encoding would have no effect without --precision int8"),
        ("--precision fp8 --weight-bits 7", "--weight-bits would have no effect without"),
        ("--calibrate min_max", "--calibrate would have no effect without --precision int8 or fp8"),
        ("--precision fp16 --calibration-images 9", "--calibration-images would have no effect"),
        ("--data digits", "--data would have no effect without --precision int8 or fp8, or"),
        ("--kept fp16", "--kept would have no effect without --keep, or --precision int8 or fp8"),
        ("--keep conv1", "--keep would have no effect where --precision and --kept are the same"),
        ("--precision fp16 --keep conv1 --kept fp16", "--keep would have no effect where"),
        ("--precision int8 --judge-images 9", "--judge-images would have no effect without"),
        ("--fine-tune-lr 1", "--fine-tune-lr would have no effect without --fine-tune"),
    ],
)
def test_a_flag_without_effect_is_refused(
    flags: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["export", "resnet20", "--weights", "random", "--out", str(tmp_path / "out")]
    assert run([*asked, *flags.split()]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "flags",
    [
        "--to tensorrt,onnx --opset 20 --no-fold --capability 8.9",
        "--kept fp32 --fold",  # as it is anyway
        "--keep conv1 --kept fp16",
        "--precision fp16 --keep conv1",
    ],
)
def test_a_flag_that_has_an_effect_is_not(flags: str, tmp_path: Path) -> None:
    asked = ["export", "resnet20", "--weights", "random", "--out", str(tmp_path)]
    assert run([*asked, *flags.split()]) == 0


@pytest.mark.parametrize(
    ("path", "change", "said"),
    [
        ("conv1.weight", lambda a: a * np.float32("nan"), "conv1.weight holds NaN"),
        ("fc.bias", lambda a: a + np.float32("inf"), "fc.bias holds infinity"),
        ("bn1.running_var", lambda a: -1 - a, "bn1.running_var holds -2, and a variance is at"),
        ("fc.weight", lambda a: a.astype(np.int64), "fc.weight is of int64, and floats are wanted"),
    ],
)
def test_weights_that_compute_nothing_are_named(
    path: str,
    change: Callable[[np.ndarray], np.ndarray],
    said: str,
    tmp_path: Path,
    net: resnetc.Network,
    capsys: pytest.CaptureFixture[str],
) -> None:
    held = dict(random_weights(net.graph))
    held["bn1.running_var"] = np.ones_like(held["bn1.running_var"])
    file = tmp_path / "given.safetensors"
    write_weights(file, {**held, path: change(held[path])})
    asked = ["export", "resnet20", "--weights", str(file), "--out", str(tmp_path / "out")]
    assert run([*asked, "--to", "onnx,torch"]) == 1
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_file_of_pickled_code_is_refused_without_bad_advice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "given.pth"
    torch.save({"conv1.weight": torch.zeros(1), "share": Fraction(1, 2)}, file)
    assert run(["export", "resnet20", "--weights", str(file), "--out", str(tmp_path)]) == 1
    said = capsys.readouterr().err
    assert "it holds fractions.Fraction, which only code can make" in said
    assert "torch.save(model.state_dict(), PATH)" in said
    assert "weights_only" not in said


def test_a_folder_is_no_onnx_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["verify", "resnet20", "--weights", "random", "--onnx", str(tmp_path)]
    assert run(asked) == 2
    assert f"{tmp_path}: this is a folder, and a file is wanted" in capsys.readouterr().err


def test_settings_and_seed(tmp_path: Path) -> None:
    arguments = ["export", "resnet20", "--set", "classes=7", "--weights", "random"]
    for seed in ("0", "1"):
        assert run([*arguments, "--seed", seed, "--out", str(tmp_path / seed)]) == 0
    first, second = (onnx.load(tmp_path / seed / "resnet20.onnx") for seed in ("0", "1"))
    assert first.graph.output[0].type.tensor_type.shape.dim[1].dim_value == 7
    assert first.graph.initializer[0] != second.graph.initializer[0]


def test_a_mistake_costs_no_framework(tmp_path: Path) -> None:
    code = (
        "import sys; from resnetc.cli.main import run; code = run(sys.argv[1:]); "
        "heavy = {'torch', 'onnx', 'numpy', 'onnxruntime'} & set(sys.modules); "
        "sys.exit(code if not heavy else f'imported {heavy}')"
    )
    argv = [sys.executable, "-c", code, "export", "resnet20", "--to", "pytorch"]
    done = subprocess.run(argv, cwd=tmp_path, env=_ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 2, done.stderr


def test_one_failing_backend_does_not_keep_the_others_from_being_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    arguments = ["export", "resnet20", "--to", "tensorrt,onnx", "--library", "tensorrt"]
    assert run([*arguments, "--out", str(tmp_path)]) == 4
    shown = capsys.readouterr()
    assert "error: tensorrt: tensorrt is not installed\npip install 'resnetc[gpu]'" in shown.err
    assert [file.name for file in tmp_path.iterdir()] == ["resnet20.onnx"]
    assert run([*arguments, "--out", str(tmp_path), "--json"]) == 4
    document = json.loads(capsys.readouterr().out)
    assert [each["backend"] for each in document["failed"]] == ["tensorrt"]
    assert [each["backend"] for each in document["written"]] == ["onnx"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ("--to pytorch", 2, "there is no backend `pytorch` to export to; did you mean torch?"),
        ("--to onnx,", 2, "there is no backend `` to export to; choose from torch, onnx, tensor"),
        ("--batch 0", 2, "neither N nor MIN..MAX"),
        ("--batch 1..x", 2, "neither N nor MIN..MAX"),
        ("--batch 8..4", 2, "does not rise"),
        ("--precision int4", 2, "int4"),
        ("--opset 5", 2, "opset 5 is not supported"),
        ("--opset 18 --precision bf16", 2, "bf16 needs opset 22"),
        ("--weights nowhere.safetensors", 2, "there is no such file"),
        ("--to tensorrt --capability 3.5", 2, "does not know compute capability 3.5"),
        ("--to tensorrt --tf32 --precision fp16", 2, "tf32 is a way to compute in fp32"),
    ],
)
def test_mistakes_are_said_plainly(
    arguments: str,
    code: int,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["export", "resnet20", *arguments.split()]) == code
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_weights_of_another_network(
    tmp_path: Path, weights: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["export", "resnet32", "--weights", weights, "--out", str(tmp_path / "out")]) == 2
    assert "the weights do not fit resnet32:\n  missing: layer1.3" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_cut_weights_file(
    tmp_path: Path, weights: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path(weights).write_bytes(Path(weights).read_bytes()[:1000])
    assert run(["export", "resnet20", "--weights", weights, "--out", str(tmp_path / "out")]) == 1
    assert "not a whole .safetensors file" in capsys.readouterr().err


# --------------------------------------------------------------------------------------- verify


def test_verify_agrees(weights: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["verify", "resnet20", "--weights", weights, "--batch", "3", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [each["backend"] for each in document["agreements"]] == [
        "torch fp32",
        "onnxruntime fp32",
    ]
    for each in document["agreements"]:
        assert each["passed"]
        assert 0 < each["max_rel"] < 5e-6
        assert each["cosine"] > 1 - 1e-9
        assert each["top1"] == 1


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_verify_an_exported_file(
    tmp_path: Path, weights: str, precision: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--weights", weights, "--precision", precision, "--batch", "2"]
    assert run(["export", "resnet20", *arguments, "--out", str(tmp_path)]) == 0
    file = next(tmp_path.glob("*.onnx"))
    assert run(["verify", "resnet20", "--weights", weights, "--onnx", str(file)]) == 0
    assert f"onnxruntime {precision}" in capsys.readouterr().out


def test_verify_fails_on_other_weights(
    tmp_path: Path, weights: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["export", "resnet20", "--weights", "random", "--out", str(tmp_path)]) == 0
    file = str(tmp_path / "resnet20.onnx")
    assert run(["verify", "resnet20", "--weights", weights, "--onnx", file]) == 5
    shown = capsys.readouterr()
    assert "DIFFERS" in shown.out
    assert "error: resnet20.onnx is stale: it holds weights" in shown.err
    assert "onnxruntime fp32 differs by" in shown.err
    assert "torch fp32 differs" not in shown.err


def test_verify_notices_a_small_change(tmp_path: Path, net: resnetc.Network) -> None:
    """One weight of 270,000 that is off by a hundredth."""
    held = {path: array.copy() for path, array in random_weights(net.graph).items()}
    file = tmp_path / "net.onnx"
    write_onnx(net.graph, file, held)
    held["layer2.1.conv1.weight"][3, 5, 1, 1] += 0.01
    with pytest.raises(CheckError, match="onnxruntime fp32 differs"):
        require_parity(check_parity(net.graph, held, onnx_file=file))


def test_tolerance_is_an_option(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["verify", "resnet20", "--tolerance", "1e-12"]) == 5
    assert "and 1e-12 is allowed" in capsys.readouterr().err


def test_a_file_of_another_network(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["export", "resnet20", "--out", str(tmp_path)]) == 0
    file = str(tmp_path / "resnet20.onnx")
    assert run(["verify", "resnet32", "--onnx", file]) == 2
    assert "was written from resnet20, graph" in capsys.readouterr().err
    assert run(["verify", "resnet20", "--set", "classes=7", "--onnx", file]) == 5
    assert "resnet20.onnx is stale: it was written from resnet20, graph" in capsys.readouterr().err


def test_a_foreign_file_with_other_ports(
    tmp_path: Path, net: resnetc.Network, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "foreign.onnx"
    write_onnx(net.graph, file, random_weights(net.graph))
    model = onnx.load(file)
    del model.metadata_props[:]
    model.graph.output[0].name = model.graph.node[-1].output[0] = "scores"
    onnx.save(model, file)
    assert run(["verify", "resnet20", "--onnx", str(file)]) == 2
    assert "reads input and gives scores; resnet20 reads input and gives logits" in (
        capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("content", "code", "message"),
    [(None, 2, "there is no such file"), (b"junk", 1, "this is no whole ONNX model")],
)
def test_files_verify_cannot_open(
    tmp_path: Path,
    content: bytes | None,
    code: int,
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / "net.onnx"
    if content is not None:
        file.write_bytes(content)
    assert run(["verify", "resnet20", "--onnx", str(file)]) == code
    assert message in capsys.readouterr().err


def test_bf16_cannot_be_run_here_and_is_said_so(
    tmp_path: Path, net: resnetc.Network, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "net.onnx"
    write_onnx(net.graph, file, random_weights(net.graph), options=OnnxOptions(precision="bf16"))
    assert run(["verify", "resnet20", "--onnx", str(file)]) == 1
    assert "onnxruntime's CPU provider has no bf16 convolution" in capsys.readouterr().err


def test_without_onnxruntime(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert run(["verify", "resnet20"]) == 4
    assert "pip install 'resnetc[cpu]'" in capsys.readouterr().err


def test_a_network_that_has_diverged(net: resnetc.Network) -> None:
    held = {path: array.copy() for path, array in random_weights(net.graph).items()}
    held["conv1.weight"][2] = np.nan
    with pytest.raises(CheckError, match="the reference's output logits is not finite"):
        check_parity(net.graph, held)


def test_figures_of_an_agreement() -> None:
    reference = np.array([[1.0, 4.0], [2.0, -2.0]])
    found = np.array([[1.0, 3.0], [2.0, 2.5]], np.float32)
    each = parity.compare("torch", "logits", found, reference, tolerance=0.1)
    assert each.max_abs == 4.5
    assert each.max_rel == 4.5 / 4
    assert each.top1 == 0.5
    assert each.cosine == pytest.approx(12 / np.sqrt(25 * 20.25))
    assert not each.passed
    hidden = parity.compare("torch", "map", np.full((1, 2, 2, 2), np.nan), np.ones((1, 2, 2, 2)), 1)
    assert not hidden.passed
    assert hidden.top1 is None
    assert json.dumps(hidden.to_json(), allow_nan=False)


def test_the_driver_takes_a_modules_state_dict(tmp_path: Path, net: resnetc.Network) -> None:
    torch.manual_seed(0)
    file = net.to_onnx(tmp_path / "net.onnx", weights=net.to_torch().state_dict())
    onnx.checker.check_model(file, full_check=True)
    report = net.to_tensorrt(
        tmp_path / "net.engine", weights=net.to_torch().state_dict(), precision="fp16"
    )
    assert set(report.found) == {"fp16"}
