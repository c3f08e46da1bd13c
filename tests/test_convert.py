"""`resnetc convert`: what fits, what would have to be renamed, heads, formats."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import torchvision

from resnetc.backends.conversion import Rename, convert
from resnetc.backends.random_weights import random_weights
from resnetc.backends.weights import as_arrays, fit_weights, read_weights, write_weights
from resnetc.cli.main import run
from resnetc.diagnostics import UsageError
from resnetc.driver import load

SPEC = """rnet 1

network small(classes: int = 10) {
  input 1x8x8
  stem: seq { conv(3x3, 4) -> norm -> act }
  layer1: residual { conv1: conv(3x3, 8) -> bn1: norm }
  gap -> flatten -> fc: linear(classes)
}
"""


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    (tmp_path / "small.rnet").write_text(SPEC)
    return tmp_path / "small.rnet"


def arrays(spec: Path, **settings: object) -> dict[str, np.ndarray]:
    return dict(random_weights(load(spec, **settings).graph))


def state(**changes: str) -> dict[str, torch.Tensor]:
    found = torchvision.models.resnet18(num_classes=10).state_dict()
    for old, new in changes.items():
        found = {path.replace(old, new): array for path, array in found.items()}
    return found


# --------------------------------------------------------------------------------- renames


@pytest.mark.parametrize(
    ("rename", "path", "renamed"),
    [
        ("shortcut=downsample", "layer1.0.shortcut.0.weight", "layer1.0.downsample.0.weight"),
        ("short=down", "layer1.0.shortcut.0.weight", "layer1.0.shortcut.0.weight"),
        ("fc=head.fc", "fc.weight", "head.fc.weight"),
        ("backbone=", "backbone.conv1.weight", "conv1.weight"),
        ("layer*.conv1=stage*.first", "layer3.conv1.weight", "stage3.first.weight"),
        ("*.conv1=*.first", "layer3.conv1.weight", "layer3.first.weight"),
        ("*.*.bn=*.norm.*", "a.b.bn.bias", "a.norm.b.bias"),
        ("conv.0=conv", "conv.0.weight", "conv.weight"),
    ],
)
def test_renames_are_of_whole_parts(rename: str, path: str, renamed: str) -> None:
    assert Rename.parse(rename).apply(path) == renamed


@pytest.mark.parametrize("text", ["fc", "=fc", "fc=*.fc"])
def test_renames_that_are_none(text: str) -> None:
    with pytest.raises(UsageError, match="OLD=NEW"):
        Rename.parse(text)


def test_renames_that_make_two_paths_one(spec: Path) -> None:
    graph, held = load(spec).graph, as_arrays(arrays(spec))
    with pytest.raises(UsageError, match=r"makes both .* `fc\.weight`"):
        convert(graph, held, [Rename("layer1.bn1", "fc")])
    with pytest.raises(UsageError, match="no path has `nothing`"):
        convert(graph, held, [Rename("nothing", "fc")])


# ------------------------------------------------------------------------------- what fits


def test_every_difference_is_told(spec: Path) -> None:
    held = arrays(spec, classes=7)
    held["extra.weight"] = held.pop("layer1.conv1.weight")[:, :2]
    found = convert(load(spec).graph, as_arrays(held))
    assert not found.fits
    assert found.mismatch.only_here == ("layer1.conv1.weight",)
    assert found.mismatch.only_there == ("extra.weight",)
    assert [path for path, _, _ in found.mismatch.reshaped] == ["fc.weight", "fc.bias"]
    assert found.head == ("fc.weight", "fc.bias")
    assert found.to_json()["shapes"]["fc.bias"] == {"network": [10], "weights": [7]}


def test_counters_need_not_be_there(spec: Path) -> None:
    held = {path: a for path, a in arrays(spec).items() if "num_batches" not in path}
    held["gone.num_batches_tracked"] = np.zeros((), np.int64)
    found = convert(load(spec).graph, as_arrays(held))
    assert found.fits
    made = found.arrays()
    assert made["stem.1.num_batches_tracked"].shape == ()
    assert made["stem.1.num_batches_tracked"] == 0
    assert "gone.num_batches_tracked" not in made


@pytest.mark.parametrize("wrapper", ["module.", "_orig_mod.", "_orig_mod.module."])
def test_wrappers_are_taken_off(wrapper: str, spec: Path) -> None:
    held = {f"{wrapper}{path}": array for path, array in arrays(spec).items()}
    assert convert(load(spec).graph, as_arrays(held)).fits


def test_a_wrapper_s_name_may_be_the_network_s_own(tmp_path: Path) -> None:
    rows = "input 1x8x8  model: seq { conv(3x3, 4) -> gap -> flatten -> linear(10) }"
    (tmp_path / "own.rnet").write_text(f"rnet 1\nnetwork own {{ {rows} }}\n")
    graph = load(tmp_path / "own.rnet").graph
    assert convert(graph, random_weights(graph)).fits


def test_half_precision_becomes_the_network_s(spec: Path) -> None:
    held = arrays(spec)
    half = {p: a.astype(np.float16) if a.dtype.kind == "f" else a for p, a in held.items()}
    made = convert(load(spec).graph, as_arrays(half)).arrays()
    assert made["fc.weight"].dtype == np.float32
    assert np.array_equal(made["fc.weight"], half["fc.weight"].astype(np.float32))


# ----------------------------------------------------------------------------------- by order


def test_what_no_name_fits_goes_by_order(spec: Path) -> None:
    held = arrays(spec)
    other = {path.replace("stem.", "a.").replace("conv1", "b"): a for path, a in held.items()}
    other = {path: a for path, a in other.items() if "num_batches" not in path}
    graph = load(spec).graph
    assert not convert(graph, as_arrays(other)).fits
    made = convert(graph, as_arrays(other), by_order=True)
    assert made.fits
    assert made.sources["layer1.conv1.weight"] == "layer1.b.weight"
    assert made.sources["layer1.bn1.weight"] == "layer1.bn1.weight"
    assert np.array_equal(made.arrays()["stem.0.weight"], held["stem.0.weight"])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"a.0.weight": (4, 1, 5, 5)},
            r"stem\.0\.weight \(4x1x3x3\) would be made of a\.0\.weight",
        ),
        ({"a.1.bias": None}, r"stem\.1\.bias \(4\) would be made of a\.1\.running_mean"),
        ({"z.weight": (4,)}, r"nothing would be made of z\.weight \(4\)"),
    ],
)
def test_order_does_not_hide_what_is_unlike(
    change: dict[str, tuple[int, ...] | None], said: str, spec: Path
) -> None:
    held = {path.replace("stem.", "a."): a for path, a in arrays(spec).items()}
    for path, shape in change.items():
        held[path] = np.zeros(shape or (), np.float32)
        if shape is None:
            del held[path]
    with pytest.raises(UsageError, match=said):
        convert(load(spec).graph, as_arrays(held), by_order=True)


def test_timm_s_names_by_order(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """timm and torchvision share no name of MobileNet v2; the numbers are the same after it."""
    torch.manual_seed(0)
    theirs = timm.create_model("mobilenetv2_100", num_classes=10).eval()
    weights, out = tmp_path / "w.pth", tmp_path / "out.pth"
    torch.save(theirs.state_dict(), weights)
    asked = ["convert", str(weights), "--to", "mobilenet_v2", "--set", "classes=10", "-o", str(out)]
    assert run(asked) == 2
    assert "last part: --by-order" in capsys.readouterr().err
    assert run([*asked, "--by-order"]) == 0
    ours = torchvision.models.mobilenet_v2(num_classes=10).eval()
    ours.load_state_dict(torch.load(out, weights_only=True))
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        expected = theirs(x)
        largest = expected.abs().max().item()
        torch.testing.assert_close(ours(x), expected, rtol=0, atol=1e-5 * largest)
    assert largest > 0
    again = ["convert", str(tmp_path / "w.safetensors"), "--to", "mobilenet_v2", "--by-order"]
    assert run(again) == 2
    assert "have their arrays by name" in capsys.readouterr().err


def test_timm_and_torchvision_there_and_back(tmp_path: Path) -> None:
    """Where names are the same nothing is asked for: timm, ours, timm again."""
    theirs = timm.create_model("resnet18", num_classes=10)
    torch.save(theirs.state_dict(), tmp_path / "timm.pth")
    first, back = tmp_path / "ours.safetensors", tmp_path / "back.pth"
    to = ["--to", "resnet18", "--set", "classes=10", "-o"]
    assert run(["convert", str(tmp_path / "timm.pth"), *to, str(first)]) == 0
    assert run(["convert", str(first), *to, str(back)]) == 0
    found = torch.load(back, weights_only=True)
    assert all(torch.equal(found[path], array) for path, array in theirs.state_dict().items())
    torchvision.models.resnet18(num_classes=10).load_state_dict(found)


# --------------------------------------------------------------------------- command line


def test_torchvision_s_weights_under_other_names(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights, out = tmp_path / "w.pth", tmp_path / "out.safetensors"
    torch.save({"state_dict": state(downsample="shortcut")}, weights)
    asked = ["convert", str(weights), "--to", "resnet18", "--set", "classes=10", "-o", str(out)]
    assert run(asked) == 2
    assert "--rename shortcut=downsample" in capsys.readouterr().err
    assert not out.exists()
    assert run([*asked, "--rename", "shortcut=downsample"]) == 0
    graph = load("resnet18", classes=10).graph
    made = fit_weights(graph, read_weights(out))
    assert set(made) == set(graph.parameters)
    source = state()
    assert np.array_equal(made["bn1.running_var"], source["bn1.running_var"].numpy())


def test_another_number_of_classes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights, out = tmp_path / "w.pth", tmp_path / "out.pth"
    held = state()
    torch.save(held, weights)
    asked = ["convert", str(weights), "--to", "resnet18", "-o", str(out)]
    assert run(asked) == 2
    error = capsys.readouterr().err
    assert "the head is for 10 classes and the network has 1000: --drop-head" in error
    assert run([*asked, "--drop-head", "--seed", "1"]) == 0
    assert "fresh from seed 1: fc.weight, fc.bias" in capsys.readouterr().out
    made = torch.load(out, weights_only=True)
    torchvision.models.resnet18().load_state_dict(made)
    assert torch.equal(made["layer1.0.conv1.weight"], held["layer1.0.conv1.weight"])
    assert made["fc.weight"].shape == (1000, 512)
    assert made["fc.weight"].std() > 0


def test_json_and_mistakes(spec: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights = tmp_path / "w.safetensors"
    write_weights(weights, arrays(spec))
    assert run(["convert", str(weights), "--to", str(spec), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["fits"]
    assert report["arrays"] == len(load(spec).graph.parameters)
    assert run(["convert", str(weights), "--to", str(spec), "-o", str(tmp_path / "w.npz")]) == 2
    assert ".safetensors, .pth or .pt" in capsys.readouterr().err
    assert run(["convert", str(tmp_path / "none.pth"), "--to", str(spec)]) == 2


def test_weights_that_would_run_code_are_refused(
    spec: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (Path.touch, (tmp_path / "ran",))  # type: ignore[return-value]

    torch.save({"fc.weight": Evil()}, tmp_path / "evil.pth")
    assert run(["convert", str(tmp_path / "evil.pth"), "--to", str(spec)]) == 1
    assert "plain weights" in capsys.readouterr().err
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["small.pth", "small.safetensors"])
def test_a_full_disk_is_said_plainly(
    name: str,
    spec: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    files_of_at_most: Callable[[int], AbstractContextManager[None]],
) -> None:
    write_weights(tmp_path / "given.safetensors", arrays(spec))
    out = tmp_path / "out" / name
    with files_of_at_most(512):
        asked = ["convert", str(tmp_path / "given.safetensors"), "--to", str(spec)]
        assert run([*asked, "-o", str(out)]) == 1
    assert f"{name}: files may not become so large here; nothing was" in capsys.readouterr().err
    assert not list(out.parent.iterdir())
