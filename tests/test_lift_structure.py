"""What is recognised in a model that says nothing of its structure."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from lifted import X, assert_same, conv, weights
from onnx import helper
from onnx_models import export, torchvision_model, without_names, write

from resnetc.diagnostics import InternalError
from resnetc.lift import LiftError, lift, source


def test_without_names_the_structure_is_found(tmp_path: Path) -> None:
    x = export(torchvision_model("resnet18"), path := tmp_path / "anonymous.onnx", "folded")
    without_names(path)
    lifted = lift(path)
    assert_same(path, lifted, x)
    for stage, width in ((2, 128), (3, 256), (4, 512)):
        row = f"layer{stage}: basic({width}, stride=if first then 2 else 1) * 2"
        assert row in lifted.text
    assert "layer4.0.downsample.0.weight" in lifted.arrays


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
