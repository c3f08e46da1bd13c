"""Experiments and deployments: what they hold, and what the verbs make of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from spec_files import Folder, folder

from resnetc.checking import check_file
from resnetc.cli.main import run
from resnetc.diagnostics import CompileError
from resnetc.driver import Network, load
from resnetc.recipes import Recipe
from resnetc.sections import Deploy, Entropy, Experiment, NetworkName, Precision, RecipeName

__all__ = ["folder"]

SPEC = """\
network net(n: int, classes: int = 10) {
  input 1x8x8
  conv1: conv(3x3, n) -> gap -> flatten -> fc: linear(classes)
}
network net8 = net(8)
network net4 = net(4)
recipe long { data = digits  iterations = 1_000 }
recipe short { data = digits  iterations = 4  batch = 8 }
experiment plain { network = net8 }
experiment base { network = net8  recipe = short  seed = 3 }
experiment other = base with network = net4
deploy open { network = net8 }
deploy server {
  network = net8
  target = "tensorrt_rtx"
  batch = 1..32
  precision { layers = "int8"  keep = ["fc"]  calibrate = entropy(images=9) }
}
deploy edge = server with target = "onnx", batch = 4, precision.layers = "fp16",
  precision.keep = []
"""


@pytest.fixture
def spec(folder: Folder) -> Path:
    return folder.write(SPEC)


def test_sections_are_records(spec: Path) -> None:
    net = load(f"{spec}:net8")
    first = Experiment(NetworkName("net8"), RecipeName("short"), 3)
    assert net.experiments == {
        "plain": Experiment(NetworkName("net8")),
        "base": first,
        "other": Experiment(NetworkName("net4"), RecipeName("short"), 3),
    }
    server = Precision(layers="int8", keep=("fc",), calibrate=Entropy(images=9))
    half = Precision(layers="fp16", calibrate=Entropy(images=9))
    assert net.deploys == {
        "open": Deploy(NetworkName("net8")),
        "server": Deploy(NetworkName("net8"), "tensorrt_rtx", (1, 32), precision=server),
        "edge": Deploy(NetworkName("net8"), "onnx", (4, 4), precision=half),
    }
    assert (net.experiment, net.deploy) == (None, None)
    report = check_file(spec)
    assert report.experiments == ("plain", "base", "other")
    assert report.deploys == ("open", "server", "edge")


def test_a_section_stands_for_its_network(spec: Path) -> None:
    net = load(f"{spec}:other")
    assert (net.name, net.reference) == ("net4", f"{spec}:other")
    assert net.experiment == net.experiments["other"]
    assert net.recipe == net.recipes["short"]
    assert load(f"{spec}:plain").recipe == net.recipes["long"]
    assert load(net.reference, {"classes": "3"}).recipe == net.recipe
    assert net.bind(classes=3).experiment == net.experiment
    assert load(f"{spec}:server").deploy == net.deploys["server"]
    assert list(check_file(f"{spec}:other").networks) == ["net4"]


def test_networks_and_recipes_may_be_imported(folder: Folder) -> None:
    folder.write(SPEC, "nets.rnet")
    text = (
        "use nets { net4 as tiny, short as brief }\nexperiment e { network = tiny  recipe = brief }"
    )
    net = load(f"{folder.write(text)}:e")
    assert net.graph.hash == load(f"{folder.path / 'nets.rnet'}:net4").graph.hash
    assert isinstance(net.recipe, Recipe)
    assert net.recipe.iterations == 4


def test_a_broken_section_fails_every_network_of_its_file(spec: Path) -> None:
    spec.write_text(SPEC + "experiment bad { network = net8  seeds = 3 }\n")
    with pytest.raises(CompileError, match="E0203"):
        load(f"{spec}:net8")


def test_an_experiment_is_trained_by_its_recipe_from_its_seed(
    spec: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from resnetc import train

    asked: list[tuple[Network, train.TrainOptions]] = []

    def stop(net: Network, options: train.TrainOptions) -> None:
        asked.append((net, options))
        raise KeyboardInterrupt

    monkeypatch.setattr(train, "train", stop)
    for flags in ([], ["--seed", "7"]):
        assert run(["train", f"{spec}:other", *flags]) == 130
        assert run(["build", f"{spec}:other", "--train", *flags]) == 130
    assert run(["train", f"{spec}:net8"]) == 130
    assert [options.seed for _, options in asked] == [3, 3, 7, 7, 0]
    assert {net.name for net, _ in asked[:4]} == {"net4"}


def test_a_deployment_is_exported_as_it_says(
    spec: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from resnetc.backends import base

    asked: list[tuple[str, base.ExportRequest]] = []

    def exporter(name: str) -> object:
        def note(request: base.ExportRequest) -> str:
            asked.append((name, request))
            return "written"

        return note

    monkeypatch.setattr(base, "find_exporter", exporter)
    assert run(["export", f"{spec}:edge"]) == 0
    assert run(["export", f"{spec}:edge", "--to", "torch", "--batch", "2..8"]) == 0
    assert run(["export", f"{spec}:open", "--precision", "bf16"]) == 0
    spec.write_text(SPEC + 'deploy rtx { network = net8  target = "tensorrt_rtx"  opset = 19 }\n')
    assert run(["export", f"{spec}:rtx"]) == 0
    name, request = asked.pop()
    assert (name, request.library, request.opset) == ("tensorrt", "tensorrt_rtx", 19)
    seen = [(name, request.precision, request.batch) for name, request in asked]
    assert seen == [("onnx", "fp16", 4), ("torch", "fp16", (2, 8, 8)), ("onnx", "bf16", None)]


def test_a_deployment_in_eight_bits_is_calibrated_and_keeps_what_it_says(
    spec: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    precision = """layers = "int8"  keep = ["fc"]  kept = "fp16"  inputs = "fp16"
      calibrate = percentile(99.9%, images=9)"""
    spec.write_text(SPEC + f"deploy new {{ network = net8  precision {{ {precision} }} }}\n")
    assert run(["check", str(spec)]) == 0
    arguments = ["export", f"{spec}:new", "--weights", "random", "--out", str(tmp_path), "--json"]
    assert run([*arguments, "--data", "digits"]) == 0
    out = capsys.readouterr().out
    (written,) = json.loads(out[out.index("{") :])["written"]
    plan = written["plan"]
    assert plan["wide"] == {"fc": "`fc` is kept in fp16"}
    assert (plan["layers"], plan["others"], plan["inputs"]) == ("int8", "fp16", "fp16")
    assert plan["quantized"]["layers"] == 1
    assert plan["calibration"] == "percentile over 9 images"
    assert plan["encoding"]["name"] == "ort"
    assert run([*arguments, "--data", "digits", "--keep", "conv1", "--kept", "fp32"]) == 0
    out = capsys.readouterr().out
    (written,) = json.loads(out[out.index("{") :])["written"]
    assert list(written["plan"]["wide"]) == ["conv1"]


def test_a_deployment_is_not_built(spec: Path) -> None:
    assert run(["build", f"{spec}:edge"]) == 2
