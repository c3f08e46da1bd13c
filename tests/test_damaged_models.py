"""Damaged ONNX files: `lift` and `verify` say in one line what is wrong, whatever it is."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import damage
import numpy as np
import onnx
import onnx_models
import pytest
import torch
from onnx import helper
from test_lift import Small

from resnetc.backends.onnx import OnnxOptions
from resnetc.backends.random_weights import random_weights
from resnetc.backends.weights import write_weights
from resnetc.cli.main import run
from resnetc.driver import load

SPEC = """rnet 1

use resnet { basic }

network small {
  input 3x8x8
  stem: conv(3x3, 4)
  layer1: basic(4)
  layer2: basic(8, stride=2)
  gap -> flatten -> fc: linear(5)
}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A spec, its weights, and whole files of it: by torch's exporter and by ours."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "small.rnet").write_text(SPEC)
    net = load(f"{folder}/small.rnet:small")
    weights = random_weights(net.graph)
    write_weights(folder / "small.safetensors", dict(weights))
    for fold in (True, False):
        net.to_onnx(folder / f"ours-{fold}.onnx", weights, OnnxOptions(fold=fold))
    torch.manual_seed(0)
    onnx_models.export(onnx_models.randomized(Small()), folder / "traced.onnx", "folded", 16)
    return folder


def verify(folder: Path, file: Path) -> list[str]:
    network, weights = f"{folder}/small.rnet:small", f"{folder}/small.safetensors"
    compared = ("--backends", "onnxruntime", "--batch", "1")
    return ["verify", network, "--weights", weights, "--onnx", str(file), *compared]


def told(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Exit code and the message, which must be short and plain."""
    code = run(arguments)
    error = capsys.readouterr().err
    assert code in (0, 1, 2, 3, 5), error
    assert "Traceback" not in error
    if code:
        assert error.startswith("error"), error
        assert len(error.splitlines()) <= 6, error
    return code, error


@pytest.mark.parametrize("kind", damage.DAMAGES)
@pytest.mark.parametrize("whole", ["traced", "ours-True", "ours-False"])
def test_lifting_what_is_damaged(
    kind: str, whole: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, rng = (folder / f"{whole}.onnx").read_bytes(), random.Random(f"{kind} {whole}")
    file = tmp_path / "damaged.onnx"
    codes: Counter[int] = Counter()
    for _ in range(30 if kind == "change" else 8):
        file.write_bytes(damage.DAMAGES[kind](data, rng))
        codes[told(["lift", str(file)], capsys)[0]] += 1
    assert codes.total() > codes[0], "something was damaged"


@pytest.mark.parametrize("kind", damage.DAMAGES)
@pytest.mark.parametrize("whole", ["ours-True", "ours-False"])
def test_verifying_what_is_damaged(
    kind: str, whole: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, rng = (folder / f"{whole}.onnx").read_bytes(), random.Random(f"{kind} {whole}")
    file = tmp_path / "damaged.onnx"
    codes: Counter[int] = Counter()
    for _ in range(10 if kind == "change" else 4):
        file.write_bytes(damage.DAMAGES[kind](data, rng))
        codes[told(verify(folder, file), capsys)[0]] += 1
    assert codes.total() > codes[0], "something was damaged"


# ------------------------------------------------------------------------ each with its message


def changed(folder: Path, tmp_path: Path, whole: str = "traced") -> tuple[onnx.ModelProto, Path]:
    return onnx.load(folder / f"{whole}.onnx"), tmp_path / "changed.onnx"


def first(model: onnx.ModelProto, kind: str) -> onnx.NodeProto:
    return next(node for node in model.graph.node if node.op_type == kind)


def _reads_nothing(model: onnx.ModelProto) -> None:
    first(model, "Add").input[0] = "nope"


def _gives_twice(model: onnx.ModelProto) -> None:
    model.graph.node.insert(0, model.graph.node[0])


def _against_the_schema(model: onnx.ModelProto) -> None:
    del first(model, "Conv").input[1:]


def _three_pads(model: onnx.ModelProto) -> None:
    conv = first(model, "Conv")
    next(each for each in conv.attribute if each.name == "pads").ints.pop()


def _no_output(model: onnx.ModelProto) -> None:
    model.graph.output[0].name = "nope"


def _input_as_output(model: onnx.ModelProto) -> None:
    model.graph.output[0].name = model.graph.input[0].name


def _blown_up(model: onnx.ModelProto) -> None:
    """Eighty bytes that would be four terabytes."""
    sizes = onnx.numpy_helper.from_array(np.array([10**6, 10**6], np.int64), "sizes")
    model.graph.initializer.append(sizes)
    model.graph.node.insert(0, helper.make_node("ConstantOfShape", ["sizes"], ["huge"], "bomb"))
    first(model, "Conv").input[1] = "huge"


def _too_wide(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_value = 2**62


DAMAGED = {
    "operand": (_reads_nothing, 1, "reads `nope`, which nothing before it gives"),
    "twice": (_gives_twice, 1, "which is there already"),
    "schema": (_against_the_schema, 1, "is not as ONNX has it: Node"),
    "pads": (_three_pads, 3, "(Conv): only windows of two dimensions are lifted"),
    "output": (_no_output, 1, "nothing gives the output `nope`"),
    "short": (_input_as_output, 3, "the output is the input"),
    "bomb": (_blown_up, 3, "node bomb (ConstantOfShape): the constant huge would hold 1,000,000,"),
    "input": (_too_wide, 3, "is no batch of images"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_what_is_wrong_is_said(
    name: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damaging, expected, said = DAMAGED[name]
    model, file = changed(folder, tmp_path)
    damaging(model)
    file.write_bytes(model.SerializeToString())
    code, error = told(["lift", str(file)], capsys)
    assert (code, said in error) == (expected, True), error


def test_scopes_that_are_no_list_say_nothing(folder: Path, tmp_path: Path) -> None:
    model, file = changed(folder, tmp_path)
    for node in model.graph.node:
        node.metadata_props.add(key="pkg.torch.onnx.name_scopes", value="__import__('os')")
    file.write_bytes(model.SerializeToString())
    assert run(["lift", str(file), "-o", str(tmp_path / "lifted.rnet")]) == 0


def test_a_precision_that_is_none(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, file = changed(folder, tmp_path, "ours-True")
    next(e for e in model.metadata_props if e.key == "resnetc.precision").value = "fp33"
    file.write_bytes(model.SerializeToString())
    code, error = told(verify(folder, file), capsys)
    assert (code, "it says that its precision is 'fp33', none of fp32" in error) == (1, True)


@pytest.mark.parametrize("batch", [0, -1, 2**40])
def test_a_batch_that_there_cannot_be(
    batch: int, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, file = changed(folder, tmp_path, "ours-True")
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = batch
    file.write_bytes(model.SerializeToString())
    code, error = told(verify(folder, file), capsys)
    assert (code, f"is fixed to a batch of {batch:,}" in error) == (1, True), error


def test_an_output_of_another_shape(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, file = changed(folder, tmp_path, "ours-True")
    last = model.graph.node[-1]
    weight, bias = (
        next(t for t in model.graph.initializer if t.name == name) for name in last.input[1:]
    )
    for array in (weight, bias):
        kept = onnx.numpy_helper.to_array(array)[:3]
        array.CopyFrom(onnx.numpy_helper.from_array(kept, array.name))
    del model.graph.output[0].type.tensor_type.shape.dim[:]
    file.write_bytes(model.SerializeToString())
    code, error = told(verify(folder, file), capsys)
    assert (code, "as 1x3, and it is 1x5" in error) == (5, True), error
