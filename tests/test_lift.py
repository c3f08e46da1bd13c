"""Lifting ONNX models into source: what is recognised, that it is the same network, refusals."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx_models
import pytest
import torch
import torchvision
from onnx import TensorProto, helper
from onnx_models import EXPORTS, export, run, torchvision_model, without_names, write

from resnetc.backends.onnx import OnnxOptions
from resnetc.backends.random_weights import random_weights
from resnetc.backends.torch import build_module
from resnetc.cli.main import run as resnetc_main
from resnetc.diagnostics import InternalError, RunError, UsageError
from resnetc.driver import load
from resnetc.lang.format import Source, format_source
from resnetc.lift import Lifted, LiftError, lift, source
from resnetc.lift.operators import OPERATORS

TOLERANCE = 5e-6
"""Of the largest output: the order of sums differs between torch and onnxruntime."""


def outputs(lifted: Lifted, x: np.ndarray) -> np.ndarray:
    """What the lifted source makes of an input with the lifted weights, as torch builds it."""
    module = build_module(lifted.graph).eval()
    state = {name: torch.from_numpy(np.array(a)) for name, a in lifted.arrays.items()}
    keys = module.load_state_dict(state, strict=False)
    assert not keys.unexpected_keys
    assert all(key.endswith("num_batches_tracked") for key in keys.missing_keys)
    with torch.no_grad():
        return module(torch.from_numpy(x)).numpy()


def assert_same(path: Path, lifted: Lifted, x: np.ndarray) -> None:
    expected = run(path, x)
    assert np.abs(outputs(lifted, x) - expected).max() <= TOLERANCE * np.abs(expected).max()
    assert format_source(Source("lifted", lifted.text)) == lifted.text


# ------------------------------------------------------------------------- torch's classifiers


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "mobilenet_v2", "densenet121"])
def test_golden(name: str, tmp_path: Path, golden: Callable[[str, str], None]) -> None:
    module = torchvision_model(name)
    x = export(module, path := tmp_path / f"{name}.onnx", "kept")
    lifted = lift(path)
    assert_same(path, lifted, x)
    names = [key for key in module.state_dict() if "num_batches" not in key]
    assert sorted(lifted.arrays) == sorted(names), "parameters keep the file's names"
    golden(f"lift/{name}.rnet", lifted.text)


@pytest.mark.slow  # half a gigabyte, twice
def test_golden_of_vgg(tmp_path: Path, golden: Callable[[str, str], None]) -> None:
    x = export(torchvision_model("vgg11"), path := tmp_path / "vgg11.onnx", "kept", side=224)
    lifted = lift(path)
    assert_same(path, lifted, x)
    golden("lift/vgg11.rnet", lifted.text)


def test_no_golden_is_orphaned() -> None:
    found = {path.stem for path in (Path(__file__).parent / "golden/lift").glob("*")}
    assert found == {"resnet18", "resnet50", "mobilenet_v2", "densenet121", "vgg11"}


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2"])
def test_folded_batch_norms_leave_biases(name: str, tmp_path: Path) -> None:
    x = export(torchvision_model(name), path := tmp_path / f"{name}.onnx", "folded")
    lifted = lift(path)
    assert_same(path, lifted, x)
    # The exporter calls folded arrays by number; what is left is the module they were traced in.
    assert not any(part in name for name in lifted.arrays for part in ("onnx", "Conv"))
    assert "norm: layer? = none" in lifted.text
    assert "conv: layer = conv2d(bias=true)" in lifted.text


class Small(torch.nn.Module):
    """Two stages of two units: enough for the slower exporter."""

    def __init__(self) -> None:
        super().__init__()
        make = torchvision.models.resnet.BasicBlock
        down = torch.nn.Sequential(
            torch.nn.Conv2d(8, 16, 1, 2, bias=False), torch.nn.BatchNorm2d(16)
        )
        self.stem = torch.nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.layer1 = torch.nn.Sequential(make(8, 8), make(8, 8))
        self.layer2 = torch.nn.Sequential(make(8, 16, 2, down), make(16, 16))
        self.fc = torch.nn.Linear(16, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.layer2(self.layer1(self.stem(x)))
        return self.fc(x.mean((2, 3)))


@pytest.mark.parametrize("kind", EXPORTS)
def test_every_exporter(kind: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    path = tmp_path / "small.onnx"
    x = export(onnx_models.randomized(Small()), path, kind, side=16)
    lifted = lift(path)
    assert_same(path, lifted, x)
    assert "layer2: basic(16, stride=if first then 2 else 1) * 2" in lifted.text
    assert ("norm: layer? = none" in lifted.text) == (kind in ("folded", "dynamo"))
    assert {"layer2.0.downsample.0.weight", "fc.bias"} <= set(lifted.arrays)


SWEEP = [
    *("resnet18", "resnet34", "resnet50", "resnet101", "resnet152"),
    *("resnext50_32x4d", "resnext101_32x8d", "resnext101_64x4d"),
    *("wide_resnet50_2", "wide_resnet101_2", "mobilenet_v2"),
    *("densenet121", "densenet161", "densenet169", "densenet201"),
    *("vgg11", "vgg13", "vgg16", "vgg19", "vgg11_bn", "vgg13_bn", "vgg16_bn", "vgg19_bn"),
    *("squeezenet1_0", "squeezenet1_1", "mnasnet1_0", "regnet_y_400mf", "efficientnet_b0"),
    *("mobilenet_v3_small", "mobilenet_v3_large", "shufflenet_v2_x0_5", "alexnet"),
]


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(SWEEP)), ids=SWEEP)
def test_sweep(number: int, tmp_path: Path) -> None:
    """Every network, with batch norms folded and kept in turn; `test_every_exporter` has torch's
    other exporter."""
    name, kind = SWEEP[number], EXPORTS[number % 2]
    side = 224 if name.startswith(("vgg", "alexnet")) else 64
    x = export(torchvision_model(name), path := tmp_path / f"{name}.onnx", kind, side)
    assert_same(path, lift(path), x)


@pytest.mark.slow
def test_a_split_into_a_sequence_is_refused(tmp_path: Path) -> None:
    """torch's exporter writes one where its optimizer does not run."""
    export(torchvision_model("shufflenet_v2_x0_5"), path := tmp_path / "x.onnx", "dynamo_kept", 64)
    with pytest.raises(LiftError, match="SplitToSequence"):
        lift(path)


# -------------------------------------------------------------------------- our own exports


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("resnet20", "shortcut: shortcut = A"),
        ("resnet34_c", "shortcut: shortcut = C"),
        ("seresnet18", "mul {"),
        ("shufflenet_v2_x0_5", "channel_shuffle(2)"),
        ("googlenet", "maxpool(3x3, stride=2, pad=0, ceil=true)"),
    ],
)
@pytest.mark.parametrize("fold", [True, False])
def test_our_own_exports(name: str, said: str, fold: bool, tmp_path: Path) -> None:
    net = load(name)
    net.to_onnx(
        path := tmp_path / f"{name}.onnx", random_weights(net.graph), OnnxOptions(fold=fold)
    )
    lifted = lift(path)
    assert said in lifted.text
    if not fold:
        used = [
            p.path for n in net.graph if n.id not in net.graph.training_only for p in n.parameters
        ]
        assert set(lifted.arrays) == {path for path in used if "num_batches" not in path}
    x = np.random.default_rng(0).standard_normal((1, *net.graph.inputs[0].type.shape), np.float32)
    assert_same(path, lifted, x)


@pytest.mark.parametrize("fold", [True, False])
def test_our_own_option_a_on_both_sides(fold: bool, tmp_path: Path) -> None:
    net = load("resnet20", {"shortcut": 'A(sides="both")'})
    net.to_onnx(path := tmp_path / "both.onnx", random_weights(net.graph), OnnxOptions(fold=fold))
    lifted = lift(path)
    assert 'shortcut: shortcut = A(sides="both")' in lifted.text
    x = np.random.default_rng(0).standard_normal((1, 3, 32, 32), np.float32)
    assert_same(path, lifted, x)


def test_the_source_compiles_and_takes_the_weights_on_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(0)
    export(onnx_models.randomized(Small()), path := tmp_path / "small.onnx", "folded", side=16)
    spec, weights = tmp_path / "small.rnet", tmp_path / "small.safetensors"
    assert resnetc_main(["lift", str(path), "-o", str(spec), "--weights", str(weights)]) == 0
    assert resnetc_main(["fmt", "--check", str(spec)]) == 0
    assert resnetc_main(["check", str(spec)]) == 0
    assert resnetc_main(["convert", str(weights), "--to", str(spec)]) == 0
    assert load(spec, classes=3).graph.outputs
    capsys.readouterr()
    assert resnetc_main(["lift", str(path), "--name", "again"]) == 0
    assert capsys.readouterr().out.startswith("rnet 1\n")


# ------------------------------------------------------------------------------- structure


def test_without_names_the_structure_is_found(tmp_path: Path) -> None:
    x = export(torchvision_model("resnet18"), path := tmp_path / "anonymous.onnx", "folded")
    without_names(path)
    lifted = lift(path)
    assert_same(path, lifted, x)
    for stage, width in ((2, 128), (3, 256), (4, 512)):
        row = f"layer{stage}: basic({width}, stride=if first then 2 else 1) * 2"
        assert row in lifted.text
    assert "layer4.0.downsample.0.weight" in lifted.arrays


def conv(x: str, y: str, weight: str, **attributes: object) -> onnx.NodeProto:
    return helper.make_node("Conv", [x, weight], [y], y, pads=[1, 1, 1, 1], **attributes)


def weights(*names: str, channels: int = 4) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(3)
    shape = (channels, channels, 3, 3)
    return {name: rng.standard_normal(shape).astype(np.float32) / 6 for name in names}


X = np.random.default_rng(4).standard_normal((1, 4, 8, 8)).astype(np.float32)


def test_branches_that_share_a_tensor_name_it(tmp_path: Path) -> None:
    nodes = [
        conv("x", "a", "a.weight"),
        conv("a", "b", "b.weight"),
        conv("a", "c", "c.weight"),
        helper.make_node("Add", ["b", "c"], ["d"]),
        helper.make_node("Concat", ["d", "b", "x"], ["e"], axis=1),
        helper.make_node("Relu", ["e"], ["y"]),
    ]
    path = write(tmp_path / "tangle.onnx", nodes, weights("a.weight", "b.weight", "c.weight"))
    lifted = lift(path)
    assert " as " in lifted.text
    assert_same(path, lifted, X)


def test_a_weight_read_twice_is_written_twice(tmp_path: Path) -> None:
    nodes = [conv("x", "a", "w.weight"), conv("a", "y", "w.weight")]
    path = write(tmp_path / "shared.onnx", nodes, weights("w.weight"))
    lifted = lift(path)
    assert set(lifted.arrays) == {"w.weight", "w_2.weight"}
    assert_same(path, lifted, X)


def test_norms_that_share_an_array_keep_their_names(tmp_path: Path) -> None:
    """torch's newer exporter has one initializer for all scales that were never trained."""
    rng = np.random.default_rng(7)
    arrays = {"a.weight": np.ones(4, np.float32)}
    for path in ("a", "b"):
        for part in ("bias", "running_mean", "running_var"):
            arrays[f"{path}.{part}"] = rng.uniform(0.5, 1, 4).astype(np.float32)
    rest = ("bias", "running_mean", "running_var")
    nodes = [
        helper.make_node(
            "BatchNormalization", [x, "a.weight", *(f"{path}.{part}" for part in rest)], [y]
        )
        for x, y, path in (("x", "h", "a"), ("h", "y", "b"))
    ]
    path = write(tmp_path / "shared.onnx", nodes, arrays)
    lifted = lift(path)
    assert "a: norm" in lifted.text
    assert "b: norm" in lifted.text
    assert set(lifted.arrays) == {*arrays, "b.weight"}
    assert_same(path, lifted, X)


def test_concats_over_all_before_grow_one_from_the_other(tmp_path: Path) -> None:
    grown = weights("a.weight")
    rng = np.random.default_rng(5)
    grown["b.weight"] = rng.standard_normal((4, 8, 3, 3)).astype(np.float32) / 8
    nodes = [
        conv("x", "a", "a.weight"),
        helper.make_node("Concat", ["x", "a"], ["xa"], axis=1),
        conv("xa", "b", "b.weight"),
        helper.make_node("Concat", ["x", "a", "b"], ["y"], axis=1),
    ]
    path = write(tmp_path / "dense.onnx", nodes, grown)
    lifted = lift(path)
    assert lifted.text.count("concat {") == 2
    assert " as " not in lifted.text
    assert_same(path, lifted, X)


@pytest.mark.parametrize("pads", [0, 1])
def test_a_transposed_convolution(pads: int, tmp_path: Path) -> None:
    """Its padding has another default than a convolution's, which keeps the size."""
    node = helper.make_node("ConvTranspose", ["x", "up.weight"], ["y"], pads=4 * [pads])
    path = write(tmp_path / "up.onnx", [node], weights("up.weight"))
    lifted = lift(path)
    assert ("pad=1" in lifted.text) == (pads == 1)
    assert_same(path, lifted, X)


RESIZED = {
    "nearest": ({"mode": "nearest", "scale_factor": 2}, "upsample(scale=2)"),
    "bilinear": ({"mode": "bilinear", "size": (24, 40)}, 'upsample(to=24x40, mode="bilinear")'),
    "smaller": ({"mode": "bilinear", "size": (5, 5)}, 'upsample(to=5, mode="bilinear")'),
}


@pytest.mark.parametrize("name", RESIZED)
def test_resizing_as_torch_traces_it(name: str, tmp_path: Path) -> None:
    options, said = RESIZED[name]

    class Resized(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = torch.nn.Conv2d(3, 4, 3, padding=1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.interpolate(self.conv(x), **options)

    torch.manual_seed(0)
    x = export(Resized().eval(), path := tmp_path / "resized.onnx", "folded", side=16)
    lifted = lift(path)
    assert said in lifted.text
    assert_same(path, lifted, x)


def test_parts_of_a_split_keep_their_order(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Split", ["x", "sizes"], ["a", "b", "c"], axis=1),
        helper.make_node("Tanh", ["a"], ["d"]),
        helper.make_node("Concat", ["c", "d", "b"], ["y"], axis=1),
    ]
    path = write(tmp_path / "split.onnx", nodes, {"sizes": np.array([1, 1, 2], np.int64)})
    lifted = lift(path)
    assert "slice_channels(2, stop=4)" in lifted.text
    assert_same(path, lifted, X)


def test_a_channel_shuffle_as_torch_traces_it(tmp_path: Path) -> None:
    shapes = {
        "groups": np.array([1, 2, 2, 8, 8], np.int64),
        "map": np.array([1, -1, 8, 8], np.int64),
    }
    nodes = [
        helper.make_node("Reshape", ["x", "groups"], ["a"]),
        helper.make_node("Transpose", ["a"], ["b"], perm=[0, 2, 1, 3, 4]),
        helper.make_node("Reshape", ["b", "map"], ["y"]),
    ]
    path = write(tmp_path / "shuffle.onnx", nodes, shapes, shape=(1, 4, 8, 8))
    lifted = lift(path)
    assert "channel_shuffle(2)" in lifted.text
    assert_same(path, lifted, X)
    half = write(tmp_path / "half.onnx", nodes[:1], shapes, shape=(1, 4, 8, 8), outputs=("a",))
    with pytest.raises(LiftError, match="channel shuffle"):
        lift(half)


def random_model(rng: random.Random) -> tuple[list[onnx.NodeProto], dict[str, np.ndarray]]:
    """Layers that read any of the tensors before them, under module paths in any order."""
    modules = ("m", "layer1.0", "layer1.1", "n.0")
    names = [f"{a}.{b}" for a in modules for b in ("conv1", "0", "1", "conv2")] + ["stem", "n.9"]
    rng.shuffle(names)
    nodes, arrays, values = [], {}, ["x"]
    for i in range(rng.randrange(2, 14)):
        near, any_, y = rng.choice(values[-4:]), rng.choice(values), f"v{i}"
        kind = rng.choice(["Conv", "Conv", "Conv", "Relu", "Add", "Add", "Mul", "Sigmoid"])
        if kind == "Conv":
            weight = f"{names.pop()}.weight"
            arrays |= {weight: weights("w")["w"] * rng.uniform(0.5, 1)}
            nodes.append(conv(near, y, weight))
            arrays[weight] = arrays[weight].astype(np.float32)
        else:
            operands = [near] if kind in ("Relu", "Sigmoid") else [near, any_]
            nodes.append(helper.make_node(kind, operands, [y]))
        values.append(y)
    return [*nodes, helper.make_node("Tanh", [values[-1]], ["y"])], arrays


@pytest.mark.parametrize("seed", range(20))
def test_any_graph_and_any_names(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "random.onnx", *random_model(random.Random(seed)))
    proven = source._proven
    asked = []
    monkeypatch.setattr(source, "_proven", lambda *a: asked.append(a) or proven(*a))
    assert_same(path, lift(path), X)
    assert len(asked) == 1, "what a person would have written is right at once"


@pytest.mark.parametrize("sides", ["after", "both"])
def test_option_a_as_torch_traces_it(sides: str, tmp_path: Path) -> None:
    class OptionA(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv1 = torch.nn.Conv2d(3, 8, 3, 2, 1, bias=False)
            self.conv2 = torch.nn.Conv2d(8, 16, 3, 2, 1, bias=False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.conv1(x)
            pad = (0, 0, 0, 0, 4, 4) if sides == "both" else (0, 0, 0, 0, 0, 8)
            kept = torch.nn.functional.pad(x[:, :, ::2, ::2], pad)
            return torch.relu(self.conv2(x) + kept)

    x = export(OptionA().eval(), path := tmp_path / "a.onnx", "folded", side=16)
    lifted = lift(path)
    policy = "A" if sides == "after" else 'A(sides="both")'
    assert f"shortcut: shortcut = {policy})" in lifted.text
    assert_same(path, lifted, x)


def test_a_matrix_product_and_a_sum_are_one_layer(tmp_path: Path) -> None:
    rng = np.random.default_rng(6)
    arrays = {
        "head.weight": rng.standard_normal((4, 5)).astype(np.float32),
        "head.bias": rng.standard_normal(5).astype(np.float32),
    }
    nodes = [
        helper.make_node("GlobalAveragePool", ["x"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("MatMul", ["f", "head.weight"], ["m"]),
        helper.make_node("Add", ["m", "head.bias"], ["y"]),
    ]
    path = write(tmp_path / "head.onnx", nodes, arrays)
    lifted = lift(path)
    assert "gap -> flatten -> head: linear(classes)" in lifted.text
    assert lifted.arrays["head.weight"].shape == (5, 4)
    assert_same(path, lifted, X)


def test_what_compiles_to_another_network_is_written_plainly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mistake of an idiom costs beauty, not truth."""

    def doubled(tree: list[object]) -> None:
        tree.append(tree[-1])

    nodes = [conv("x", "a", "a.weight"), helper.make_node("Relu", ["a"], ["y"])]
    path = write(tmp_path / "m.onnx", nodes, weights("a.weight"))
    monkeypatch.setattr(source, "find_residuals", doubled)
    assert_same(path, lift(path), X)
    monkeypatch.setattr(source, "use_ambients", lambda tree: doubled(tree) or source.Ambients())
    with pytest.raises(InternalError, match="not what was read"):
        lift(path)


# -------------------------------------------------------------------------------- refusals


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


# ---------------------------------------------------------------------------- the document

DOCUMENT = (Path(__file__).parent.parent / "docs/lift.md").read_text()


def test_the_document_shows_what_is_lifted() -> None:
    (shown,) = re.findall(r"```rnet\n(.*?)```", DOCUMENT, re.DOTALL)
    assert shown == (Path(__file__).parent / "golden/lift/mobilenet_v2.rnet").read_text()


def test_the_document_lists_the_operators() -> None:
    listed = DOCUMENT.split("The operators of ONNX")[1].split("What depends on constants")[0]
    assert re.findall(r"`(\w+)`", listed) == sorted(OPERATORS)
