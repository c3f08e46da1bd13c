"""Models that are refused: which node it is, and why."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from lifted import weights
from onnx import TensorProto, helper
from onnx_models import write

from resnetc.cli.main import run as resnetc_main
from resnetc.diagnostics import RunError, UsageError
from resnetc.lift import LiftError, lift

BRANCH = helper.make_graph(
    [helper.make_node("Relu", ["x"], ["inner"])],
    "branch",
    [],
    [helper.make_tensor_value_info("inner", TensorProto.FLOAT, None)],
)

REFUSED = {
    "operator": ([helper.make_node("Erf", ["x"], ["y"], "odd")], "node odd (Erf): there is no"),
    "transpose": (
        [helper.make_node("Transpose", ["x"], ["y"], "t", perm=[0, 2, 3, 1])],
        "node t (Transpose)",
    ),
    "sides": (
        [helper.make_node("Conv", ["x", "w"], ["y"], "c", pads=[0, 0, 1, 1])],
        "node c (Conv): pads 0, 0 before and 1, 1 after",
    ),
    "clip": (
        [helper.make_node("Clip", ["x", "one"], ["y"], "k")],
        "node k (Clip): only clipping to 0..6",
    ),
    "axis": ([helper.make_node("Concat", ["x", "x"], ["y"], "j", axis=2)], "node j (Concat)"),
    "lstm": (
        [helper.make_node("LSTM", ["x", "w", "w"], ["y"], "l", hidden_size=4)],
        "node l (LSTM): there is no layer for this operator",
    ),
    "if": (
        [helper.make_node("If", ["x"], ["y"], "i", then_branch=BRANCH, else_branch=BRANCH)],
        "node i (If): there is no layer for this operator",
    ),
    "attention": (
        [helper.make_node("MatMul", ["x", "x"], ["y"], "m")],
        "node m (MatMul): operand 1 is computed, and must be a constant",
    ),
    "cubic": (
        [helper.make_node("Resize", ["x", "", "two"], ["y"], "z", mode="cubic")],
        "node z (Resize): cubic, half_pixel: only nearest (asymmetric, floor) and linear",
    ),
    "rounding": (
        [helper.make_node("Resize", ["x", "", "two"], ["y"], "z")],
        "node z (Resize): nearest, half_pixel, round_prefer_floor: only",
    ),
    "corners": (
        [
            helper.make_node(
                "Resize",
                ["x", "", "two"],
                ["y"],
                "z",
                mode="linear",
                coordinate_transformation_mode="align_corners",
            )
        ],
        "node z (Resize): linear, align_corners: only",
    ),
    "depth": (
        [
            helper.make_node(
                "Resize",
                ["x", "", "deep"],
                ["y"],
                "z",
                coordinate_transformation_mode="asymmetric",
                nearest_mode="floor",
            )
        ],
        "node z (Resize): only height and width are resized, not to [1, 8, 8, 8]",
    ),
    "domain": (
        [helper.make_node("Gelu", ["x"], ["y"], "g", domain="com.microsoft")],
        "node g (com.microsoft::Gelu)",
    ),
    "softmax": ([helper.make_node("Softmax", ["x"], ["y"], "s", axis=-1)], "node s (Softmax)"),
    "reshape": ([helper.make_node("Reshape", ["x", "to"], ["y"], "r")], "node r (Reshape)"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals_name_the_node(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nodes, said = REFUSED[name]
    arrays = {
        **weights("w"),
        "one": np.array(1, np.float32),
        "to": np.array([1, 8, 4, 8], np.int64),
        "two": np.array([1, 1, 2, 2], np.float32),
        "deep": np.array([1, 2, 1, 1], np.float32),
    }
    path = write(tmp_path / "refused.onnx", nodes, arrays)
    spec, out = tmp_path / "spec.rnet", tmp_path / "w.safetensors"
    assert resnetc_main(["lift", str(path), "-o", str(spec), "--weights", str(out)]) == 3
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error
    assert not spec.exists()
    assert not out.exists()


def test_models_of_two_outputs_and_open_shapes_are_refused(tmp_path: Path) -> None:
    two = [helper.make_node("Relu", ["x"], ["y"]), helper.make_node("Tanh", ["x"], ["z"])]
    with pytest.raises(LiftError, match="1 inputs and 2 outputs"):
        lift(write(tmp_path / "two.onnx", two, {}, outputs=("y", "z")))
    path = write(tmp_path / "open.onnx", two[:1], {}, shape=("N", 4, "h", "w"))
    with pytest.raises(UsageError, match="--input"):
        lift(path)
    assert "input 4x8x8" in lift(path, shape=(4, 8, 8)).text
    with pytest.raises(UsageError, match="not 3x8x8"):
        lift(path, shape=(3, 8, 8))


def test_files_that_are_no_models(tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_text("not a model")
    with pytest.raises(RunError, match=r"text\.onnx"):
        lift(tmp_path / "text.onnx")
    with pytest.raises(UsageError, match="no such file"):
        lift(tmp_path / "missing.onnx")
