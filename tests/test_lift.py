"""Lifting what torch and our own exports wrote: that it is the same network, and reads well."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx_models
import pytest
import torch
import torchvision
from lifted import assert_same
from onnx_models import EXPORTS, export, torchvision_model

from resnetc.backends.onnx import OnnxOptions
from resnetc.backends.random_weights import random_weights
from resnetc.cli.main import run as resnetc_main
from resnetc.driver import load
from resnetc.lift import LiftError, lift
from resnetc.lift.operators import OPERATORS

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


# ---------------------------------------------------------------------------- the document

DOCUMENT = (Path(__file__).parent.parent / "docs/lift.md").read_text()


def test_the_document_shows_what_is_lifted() -> None:
    (shown,) = re.findall(r"```rnet\n(.*?)```", DOCUMENT, re.DOTALL)
    assert shown == (Path(__file__).parent / "golden/lift/mobilenet_v2.rnet").read_text()


def test_the_document_lists_the_operators() -> None:
    listed = DOCUMENT.split("The operators of ONNX")[1].split("What depends on constants")[0]
    assert re.findall(r"`(\w+)`", listed) == sorted(OPERATORS)
