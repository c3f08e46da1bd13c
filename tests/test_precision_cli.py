"""Precision from the command line, on a network trained on real images."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from small_graphs import cifar_resnet, some_weights

from resnetc.backends.torch.lowered import lowered_module
from resnetc.backends.weights import fit_weights, read_weights
from resnetc.cli.main import run
from resnetc.driver import Network, load
from resnetc.ir.parameters import Selection
from resnetc.passes import ENCODINGS, Plan, Range, find_encoding, lower_for_inference
from resnetc.quantization import calibrate, running
from resnetc.quantization.running import labels, logits
from resnetc.quantization.unfold import can_unfold, unfold
from resnetc.sections import Entropy, MinMax, Percentile
from resnetc.train import TrainOptions, train
from resnetc.train.fine_tuning import FineTuning, fine_tune
from resnetc.train.samples import calibration_images, judging_images

SPEC = """rnet 1

## A residual block between two convolutions, on the digits.
network tiny {
  input 1x8x8
  conv1: conv(3x3, 16) -> bn1: norm -> act
  block: double
  conv3: conv(3x3, 24, stride=2) -> bn3: norm -> act
  flatten -> fc: linear(10)
}

block double {
  residual { conv1: conv(3x3, 16) -> bn1: norm }
  act
}

recipe short {
  data = digits
  augment = [subtract_mean]
  batch = 32
  iterations = 120
  optimizer = sgd(lr=0.05)
}
"""


def tiny(folder: Path) -> Network:
    return load(f"{folder}/tiny.rnet:tiny")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a spec and the run of its network."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "tiny.rnet").write_text(SPEC)
    options = TrainOptions(out=folder / "run", progress=False, workers=0)
    train(tiny(folder), options)
    return folder


def export(folder: Path, out: Path, *flags: str) -> int:
    weights = ("--weights", str(folder / "run"))
    network = f"{folder}/tiny.rnet:tiny"
    return run(["export", network, *weights, "--out", str(out), *flags])


# --------------------------------------------------------------------------------------- export


def test_eight_bits_are_exported_and_say_so(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ("--precision", "int8", "--to", "onnx,tensorrt,torch", "--calibration-images", "40")
    assert export(trained, tmp_path, *flags, "--json") == 0
    shown = capsys.readouterr()
    written = {each["backend"]: each for each in json.loads(shown.out)["written"]}
    assert written["onnx"]["plan"]["encoding"]["name"] == "ort"
    assert written["onnx"]["plan"]["quantized"]["layers"] == 4
    assert written["tensorrt"]["found"] == {"fp32+int8": 12, "fp32": 10}
    sidecar = json.loads((tmp_path / "tiny.int8.engine.json").read_text())
    assert sidecar["plan"]["encoding"]["name"] == "tensorrt"
    assert sidecar["plan"]["calibration"] == "entropy over 40 images"
    model = onnx.load(tmp_path / "tiny.int8.onnx")
    facts = {entry.key: entry.value for entry in model.metadata_props}
    assert facts["resnetc.precision"] == "int8"
    assert json.loads(facts["resnetc.precision_plan"]) == written["onnx"]["plan"]
    assert len(list((tmp_path / "calibration").iterdir())) == 2


@pytest.mark.parametrize("kept", ["fp16", "bf16"])
@pytest.mark.parametrize("more", [(), ("--keep", "conv3"), ("--inputs",)], ids=str)
def test_an_engine_of_eight_bits_beside_half_precision(
    kept: str, more: tuple[str, ...], trained: Path, tmp_path: Path
) -> None:
    """The parser makes zero points of float32; they are not what a layer computes in."""
    flags = ("--precision", "int8", "--kept", kept, "--to", "tensorrt")
    few = ("--calibration-images", "40", *more, *([kept] if more == ("--inputs",) else []))
    assert export(trained, tmp_path, *flags, *few) == 0
    found = json.loads((tmp_path / "tiny.int8.engine.json").read_text())["precision"]["found"]
    narrow = {kept, "+".join(sorted([kept, "int8"]))}
    # In bf16 the layer that gives the logits stays in fp32.
    assert set(found) == narrow | ({"fp32", "fp32+int8"} if kept == "bf16" else set())


@pytest.mark.parametrize("kept", ["fp32", "fp16"])
def test_an_engine_of_fp8_is_for_what_has_fp8(
    kept: str, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ("--precision", "fp8", "--kept", kept, "--to", "tensorrt", "--calibration-images", "40")
    assert export(trained, tmp_path, *flags) == 0
    sidecar = json.loads((tmp_path / "tiny.fp8.engine.json").read_text())
    assert sidecar["capabilities"] == ["8.9", "12.0"]
    assert export(trained, tmp_path, *flags, "--capability", "8.6") == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "compute capability 8.6 has no fp8, which begins with 8.9: --capability 8.9" in said


def test_the_torch_file_computes_what_the_onnx_file_does(trained: Path, tmp_path: Path) -> None:
    assert export(trained, tmp_path, "--precision", "int8", "--to", "onnx,torch") == 0
    namespace: dict[str, object] = {"__name__": "written"}
    exec((tmp_path / "tiny.int8.py").read_text(), namespace)
    module = namespace["tiny"]().eval()  # type: ignore[operator]
    held = read_weights(tmp_path / "tiny.int8.safetensors")
    module.load_state_dict({path: torch.from_numpy(held[path].copy()) for path in held})
    import onnxruntime as ort

    session = ort.InferenceSession(tmp_path / "tiny.int8.onnx", providers=["CPUExecutionProvider"])
    images = next(judging_images(tiny(trained), trained / "run", None).batches(360))[0]
    (found,) = session.run(None, {"input": images})
    with torch.inference_mode():
        expected = module(torch.from_numpy(images)).numpy()
    assert np.abs(found - expected).max() < np.abs(expected).max() / 127


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_half_precision_in_torch_keeps_inputs_as_asked(
    precision: str, trained: Path, tmp_path: Path
) -> None:
    flags = ("--precision", precision, "--inputs", precision, "--to", "torch,onnx")
    assert export(trained, tmp_path, *flags) == 0
    model = onnx.load(tmp_path / f"tiny.{precision}.onnx")
    kind = {"fp16": onnx.TensorProto.FLOAT16, "bf16": onnx.TensorProto.BFLOAT16}[precision]
    assert model.graph.input[0].type.tensor_type.elem_type == kind
    assert model.graph.output[0].type.tensor_type.elem_type == kind
    namespace: dict[str, object] = {"__name__": "written"}
    exec((tmp_path / f"tiny.{precision}.py").read_text(), namespace)
    module = namespace["tiny"]().eval()  # type: ignore[operator]
    dtype = {"fp16": torch.float16, "bf16": torch.bfloat16}[precision]
    assert module.conv1.weight.dtype is dtype
    assert module.fc.weight.dtype is (torch.float32 if precision == "bf16" else dtype)
    assert module(torch.zeros(2, 1, 8, 8, dtype=dtype)).dtype is dtype


def test_a_ranking_writes_nothing(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ("--precision", "int8", "--explain-precision")
    assert export(trained, tmp_path, *flags) == 0
    shown = capsys.readouterr().out
    assert "360 test images of digits: top-1" in shown
    assert "conv1" in shown
    assert "tiny.rnet:6" in shown
    assert not list(tmp_path.glob("*.onnx"))
    assert export(trained, tmp_path, *flags, "--json", "--judge-images", "50") == 0
    out = capsys.readouterr().out
    found = json.loads(out)
    assert found["images"] == "50 test images of digits"
    assert {each["layer"] for each in found["layers"]} == {"conv1", "block.conv1", "conv3", "fc"}


def test_layers_are_kept_for_a_stated_loss(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With half of every range cut off much is lost, unless layers are kept."""
    flags = ("--precision", "int8", "--calibrate", "percentile:60", "--max-loss", "0", "--json")
    assert export(trained, tmp_path, *flags) == 0
    shown = capsys.readouterr()
    ranked = json.loads(shown.err[shown.err.index("{") :])
    assert ranked["narrow"] < ranked["wide"] <= ranked["kept"]
    (written,) = json.loads(shown.out)["written"]
    assert list(written["plan"]["wide"]) == sorted(ranked["keep"])


def test_features_are_calibrated_and_held_against_images(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Calibration needs images and no classes; judging by labels does."""
    flags = ("--precision", "int8", "--outputs", "block,conv3", "--calibration-images", "40")
    assert export(trained, tmp_path, *flags, "--to", "onnx,tensorrt") == 0
    verify = ["verify", f"{trained}/tiny.rnet:tiny", "--weights", str(trained / "run")]
    verify += ["--outputs", "block,conv3", "--onnx", str(tmp_path / "tiny.int8.onnx")]
    verify += ["--engine", str(tmp_path / "tiny.int8.engine"), "--data", "digits"]
    capsys.readouterr()
    assert run(verify) == 0
    shown = capsys.readouterr().out
    assert "weights.safetensors  graph     tiny," in shown  # the whole network's
    assert "STALE" not in shown
    assert "4 test images of digits" in shown
    for judging in ("--explain-precision", "--max-loss=1", "--fine-tune=1"):
        assert export(trained, tmp_path, "--precision", "int8", "--outputs", "conv3", judging) == 2
        assert "tiny is no classifier" in capsys.readouterr().err


def test_a_network_that_is_no_classifier_is_calibrated(tmp_path: Path) -> None:
    spec = tmp_path / "dense.rnet"
    spec.write_text(
        "rnet 1\n\n## A mask.\nnetwork dense {\n  input 1x8x8\n"
        "  conv1: conv(3x3, 8) -> norm -> act\n  conv2: conv(1x1, 2)\n}\n"
    )
    flags = ["--weights", "random", "--precision", "int8", "--data", "digits"]
    assert run(["export", str(spec), *flags, "--out", str(tmp_path)]) == 0
    assert (tmp_path / "dense.int8.onnx").is_file()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--precision", "fp32", "--explain-precision"), "fp32 costs nothing"),
        (("--precision", "bf16", "--max-loss", "1"), "no convolution in onnxruntime"),
        (("--precision", "fp16", "--fine-tune", "5"), "--fine-tune is for int8 and fp8"),
        (("--precision", "int8", "--calibrate", "mean"), "`mean` is none of entropy"),
        (("--precision", "int8", "--calibrate", "entropy:9"), "only `percentile` takes a number"),
        (("--precision", "int8", "--calibrate", "percentile:5"), "of 50 to 100 %"),
        (("--precision", "int8", "--keep", "con1"), "did you mean conv1?"),
        (("--precision", "int8", "--no-fold"), "need their batch norms folded"),
        (("--precision", "fp8", "--opset", "18"), "fp8 needs opset 19 or later"),
    ],
)
def test_what_makes_no_sense_is_refused(
    flags: tuple[str, ...],
    said: str,
    trained: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert export(trained, tmp_path, *flags) == 2
    assert said in " ".join(capsys.readouterr().err.split())


# ---------------------------------------------------------------------------------- fine-tuning


def test_unfolded_weights_fold_to_what_was_changed() -> None:
    graph = cifar_resnet(8)
    weights = some_weights(graph)
    folded = lower_for_inference(graph).graph
    rng = np.random.default_rng(0)
    changed = {
        path: rng.standard_normal(parameter.type.shape).astype(np.float32)
        for path, parameter in folded.parameters.items()
        if can_unfold(parameter.value)
    }
    fixed = [p.path for p in folded.parameters.values() if p.path not in changed]
    assert all(isinstance(folded.parameters[path].value, Selection) for path in fixed)
    made = fit_weights(graph, unfold(folded, changed, weights))
    for path, wanted in changed.items():
        np.testing.assert_allclose(
            folded.parameters[path].array(made), wanted, rtol=1e-5, atol=1e-5
        )
    moved = {path for path in weights if not np.array_equal(made[path], weights[path])}
    assert not {path for path in moved if path.endswith(("running_mean", "running_var"))}


def test_fine_tuning_mends_what_bad_ranges_cost(trained: Path) -> None:
    net, folder = tiny(trained), trained / "run"
    held = fit_weights(net.graph, read_weights(folder))
    images = calibration_images(net, folder, None, 64)
    found = calibrate(net.graph, held, ENCODINGS["ort"], images, MinMax())
    ranges = {name: Range(each.low / 3, each.high / 3) for name, each in found.ranges.items()}
    plan = Plan("int8", encoding=ENCODINGS["ort"], ranges=ranges)
    before = accuracy(net, held, plan, folder)
    done: list[int] = []
    options = FineTuning(60, lr=0.01)
    tuned = fine_tune(
        net, held, plan, options, folder=folder, progress=lambda step, of: done.append(step)
    )
    assert done == list(range(1, 61))
    assert accuracy(net, tuned, plan, folder) > before + 0.03
    again = fine_tune(net, held, plan, options, folder=folder)
    assert all(np.array_equal(tuned[path], again[path]) for path in tuned)


@pytest.mark.parametrize(("layers", "bits", "saturate", "optimize"), [
    ("int8", 8, True, False), ("int8", 7, True, True), ("int8", 8, False, True),
    ("fp32", 8, True, True), ("fp8", 8, False, False),
])  # fmt: skip
def test_weights_are_judged_by_what_they_mean(
    layers: str, bits: int, saturate: bool, optimize: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not by sums that saturate on this processor alone."""
    monkeypatch.setattr(running, "sums_saturate", lambda: saturate)
    plan = Plan(layers, encoding=find_encoding(layers, "ort", bits))
    assert running._computes_otherwise(plan) != optimize


def test_fine_tuned_weights_are_written_and_exported(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = "--precision", "int8", "--weight-bits", "8", "--fine-tune", "3"
    assert export(trained, tmp_path, *asked) == 0
    assert "fine-tuned over 3 iterations" in capsys.readouterr().err
    tuned = read_weights(tmp_path / "tiny.tuned.safetensors")
    original = read_weights(trained / "run")
    assert set(tuned) == set(original)
    assert not np.array_equal(tuned["fc.weight"], original["fc.weight"])
    levels = onnx.numpy_helper.to_array(
        next(
            tensor
            for tensor in onnx.load(tmp_path / "tiny.int8.onnx").graph.initializer
            if tensor.name == "fc.weight"
        )
    )
    scale = np.abs(tuned["fc.weight"]).max(1) / 127
    np.testing.assert_array_equal(levels, np.rint(tuned["fc.weight"] / scale[:, None]))


def accuracy(net: Network, weights: object, plan: Plan, folder: Path | None) -> float:
    images = judging_images(net, folder, None)
    said = logits(net.graph, weights, plan, images)  # type: ignore[arg-type]
    return float((said.argmax(1) == labels(images)).mean())


# ------------------------------------------------------------------------------------- accuracy


@pytest.mark.slow
@pytest.mark.parametrize("method", [Entropy(), Percentile(), MinMax()])
def test_eight_bits_lose_less_than_half_a_point(
    method: Entropy | Percentile | MinMax, digits_run: Path
) -> None:
    """Those of fp8, of which three are the mantissa's, less than a whole one. It is 360 images."""
    net = load("digits_resnet14")
    held = fit_weights(net.graph, read_weights(digits_run))
    wide = accuracy(net, held, Plan(), digits_run)
    assert wide > 0.95
    images = calibration_images(net, digits_run, None, 512)
    for name in ("ort", "tensorrt", "fp8"):
        encoding = ENCODINGS[name]
        found = calibrate(net.graph, held, encoding, images, method)
        layers = "fp8" if name == "fp8" else "int8"
        plan = Plan(layers, encoding=encoding, ranges=found.ranges)
        lost = 0.01 if name == "fp8" else 0.005
        assert accuracy(net, held, plan, digits_run) >= wide - lost
    assert accuracy(net, held, Plan("fp16"), digits_run) >= wide - 0.005


@pytest.mark.slow
def test_bf16_in_torch_loses_less_than_half_a_point(digits_run: Path) -> None:
    net = load("digits_resnet14")
    held = fit_weights(net.graph, read_weights(digits_run))
    images = judging_images(net, digits_run, None)
    module = lowered_module(lower_for_inference(net.graph, plan=Plan("bf16")).graph, held)
    with torch.inference_mode():
        said = [module(torch.from_numpy(batch)).argmax(1) for batch, _ in images.batches(90)]
    right = np.concatenate([each.numpy() for each in said]) == labels(images)
    assert right.mean() >= accuracy(net, held, Plan(), digits_run) - 0.005


@pytest.fixture(scope="module")
def digits_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("digits") / "run"
    train(load("digits_resnet14"), TrainOptions(out=folder, progress=False))
    return folder
