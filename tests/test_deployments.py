"""What a deployment says of engines and outputs, and what the command line says instead."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from spec_files import Folder, folder

from resnetc.backends import base
from resnetc.backends.tensorrt import EngineSettings
from resnetc.checking import check_file
from resnetc.cli.main import run
from resnetc.diagnostics import CompileError
from resnetc.driver import load
from resnetc.sections import Deploy, Engine, NetworkName, differing

__all__ = ["folder"]

SPEC = """\
network net {
  input 1x8x8
  layer1: seq { conv1: conv(3x3, 4) -> bn1: norm -> act }
  layer2: seq { conv1: conv(3x3, 4) -> act }
  gap -> flatten -> fc: linear(10)
}
deploy server {
  network = net
  target = "tensorrt"
  batch = 1..32
  engine {
    timing_cache = "tactics.cache"
    hardware_compatible = "same"
    version_compatible = true
    refit = true
    strip_weights = true
    optimization_level = 0
    workspace = 1_048_576
    capability = ["8.6", "8.9"]
  }
}
deploy quick = server with engine.optimization_level = 5, engine.tf32 = true
deploy features { network = net  outputs = ["layer1", "layer2"]  precision { layers = "fp16" } }
"""


@pytest.fixture
def spec(folder: Folder) -> Path:
    return folder.write(SPEC)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, base.ExportRequest]]:
    """What exporters were asked for; nothing is written."""
    requests: list[tuple[str, base.ExportRequest]] = []

    class Written:
        def to_json(self) -> dict[str, Any]:
            return {}

    def exporter(name: str) -> object:
        def note(request: base.ExportRequest) -> Written:
            requests.append((name, request))
            return Written()

        return note

    monkeypatch.setattr(base, "find_exporter", exporter)
    return requests


def test_the_builders_keys_are_a_record(spec: Path) -> None:
    server = Engine(
        timing_cache="tactics.cache",
        hardware_compatible="same",
        version_compatible=True,
        refit=True,
        strip_weights=True,
        optimization_level=0,
        workspace=1 << 20,
        capability=("8.6", "8.9"),
    )
    deploys = load(f"{spec}:net").deploys
    assert deploys["server"].engine == server
    assert deploys["quick"].engine == Engine(
        **{**vars(server), "optimization_level": 5, "tf32": True}
    )
    assert deploys["features"] == Deploy(
        NetworkName("net"),
        outputs=("layer1", "layer2"),
        precision=deploys["features"].precision,
    )
    assert differing(Engine(optimization_level=0)) == {"optimization_level": 0}


@pytest.mark.parametrize(
    ("key", "code"),
    [
        ("optimization_level = 6", "E0302"),
        ('hardware_compatible = "hopper+"', "E0302"),
        ('workspace = "2G"', "E0301"),
        ("refits = true", "E0203"),
    ],
)
def test_a_key_that_the_builder_does_not_know_is_refused(spec: Path, key: str, code: str) -> None:
    text = f'deploy bad {{ network = net  target = "tensorrt"  engine {{ {key} }} }}\n'
    spec.write_text(SPEC + text)
    (finding,) = check_file(spec).findings
    assert finding.code == code


def test_the_builder_is_told_what_the_section_says(
    spec: Path, asked: list[tuple[str, base.ExportRequest]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["export", f"{spec}:server"]) == 0
    ((name, request),) = asked
    settings = EngineSettings(
        timing_cache=Path("tactics.cache"),
        hardware="same",
        version_compatible=True,
        refit=True,
        strip=True,
        optimization_level=0,
        workspace=1 << 20,
    )
    assert (name, request.engine) == ("tensorrt", settings)
    assert (request.library, request.capabilities) == ("tensorrt", ("8.6", "8.9"))
    assert (request.batch, request.tf32) == ((1, 32, 32), False)
    said = capsys.readouterr().err
    assert "from the deployment server: --to tensorrt --batch 1..32..32 " in said
    assert "--timing-cache tactics.cache" in said
    assert "--optimization-level 0" in said
    assert "--precision" not in said
    assert "command line" not in said


def test_flags_go_before_the_section_and_it_is_told(
    spec: Path, asked: list[tuple[str, base.ExportRequest]], capsys: pytest.CaptureFixture[str]
) -> None:
    flags = [
        "--optimization-level",
        "3",
        "--batch",
        "4",
        "--workspace",
        "2M",
        "--capability",
        "9.0",
    ]
    assert run(["export", f"{spec}:quick", *flags, "--json"]) == 0
    ((_, request),) = asked
    assert request.engine is not None
    assert (request.engine.optimization_level, request.engine.workspace) == (3, 2 << 20)
    assert (request.engine.hardware, request.batch, request.tf32) == ("same", 4, True)
    assert request.capabilities == ("9.0",)
    told = json.loads(capsys.readouterr().out)["deployment"]
    assert told["name"] == "quick"
    assert set(told["overruled"]) == {
        "--batch",
        "--optimization-level",
        "--workspace",
        "--capability",
    }
    assert told["taken"]["--hardware-compatible"] == "same"
    assert not set(told["taken"]) & set(told["overruled"])


def test_another_target_leaves_the_builder_out(
    spec: Path, asked: list[tuple[str, base.ExportRequest]]
) -> None:
    assert run(["export", f"{spec}:server", "--to", "onnx"]) == 0
    ((name, request),) = asked
    assert (name, request.engine, request.library) == ("onnx", None, None)
    assert request.batch == (1, 32, 32)
    assert run(["export", f"{spec}:server", "--to", "onnx,tensorrt"]) == 0
    assert [name for name, _ in asked[1:]] == ["onnx", "tensorrt"]
    assert asked[-1][1].engine is not None


def test_a_network_alone_has_no_deployment_to_tell_of(
    spec: Path, asked: list[tuple[str, base.ExportRequest]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["export", f"{spec}:net", "--json"]) == 0
    told = capsys.readouterr()
    assert "deployment" not in json.loads(told.out)
    assert "deployment" not in told.err


def test_outputs_are_the_sections_or_the_flags(
    spec: Path, asked: list[tuple[str, base.ExportRequest]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["export", f"{spec}:features"]) == 0
    assert "--outputs layer1,layer2" in capsys.readouterr().err
    assert run(["export", f"{spec}:features", "--outputs", "logits"]) == 0
    assert "from the command line: --outputs" in capsys.readouterr().err
    first, second = (request for _, request in asked)
    assert list(first.graph.outputs) == ["layer1", "layer2"]
    assert list(second.graph.outputs) == ["logits"]
    assert first.provenance["outputs"] == '["layer1", "layer2"]'


def test_verify_runs_a_deployments_outputs(spec: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["verify", f"{spec}:features", "--backends", "eager", "--json"]
    assert run(asked) == 0
    outputs = [each["output"] for each in json.loads(capsys.readouterr().out)["agreements"]]
    assert outputs == ["layer1", "layer2"]


@pytest.mark.parametrize("verb", ["export", "check"])
def test_labels_are_checked_before_anything_is_exported(
    spec: Path, verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = 'deploy bad { network = net  precision { layers = "fp16"  keep = ["layer9"] } }\n'
    spec.write_text(SPEC + bad)
    assert run([verb, f"{spec}:bad"]) == 3
    said = capsys.readouterr().err
    assert "error[E0420]: net has no layer or block `layer9` to keep wide" in said
    assert 'did you mean "layer1"?' in said
    assert load(f"{spec}:server").deploy is not None  # another deployment is not kept from it


def test_labels_of_an_imported_network_are_checked(folder: Folder) -> None:
    folder.write(SPEC, "nets.rnet")
    text = "use nets { net }\ndeploy d { network = net  outputs = {} }\n"
    right, wrong = folder.write(text.replace("{}", '["fc"]')), "nothing"
    assert check_file(right).findings == ()
    spec = folder.write(text.replace("{}", f'["{wrong}"]'))
    (finding,) = check_file(spec).findings
    assert finding.code == "E0419"
    with pytest.raises(CompileError, match="E0419"):
        load(f"{spec}:d")


def test_only_a_label_that_is_written_is_mended(spec: Path) -> None:
    for written, mended in (('["layr2"]', True), ('["layr{i}" for i in [2]]', False)):
        spec.write_text(SPEC + f"deploy d {{ network = net  outputs = {written} }}\n")
        (finding,) = check_file(spec).findings
        assert finding.help is not None
        assert "layer2" in finding.help.text
        assert bool(finding.help.edits) is mended


def test_the_bits_of_weights_are_asked_for(
    folder: Folder, asked: list[tuple[str, base.ExportRequest]], capsys: pytest.CaptureFixture[str]
) -> None:
    """`kept` is for what lies between layers of eight bits, too, without any layer kept."""
    text = """
network net { input 1x8x8  conv1: conv(3x3, 8) -> act -> gap -> flatten -> fc: linear(10) }
deploy narrow { network = net  precision { layers = "int8"  kept = "fp16"  weight_bits = 7 } }
deploy wide = narrow with precision.weight_bits = 8
"""
    file = folder.write(text)
    assert check_file(file).findings == ()
    out = ["--out", str(folder.path), "--weights", "random", "--data", "synthetic"]
    for name, bits, flags in (("narrow", 7, []), ("wide", 8, []), ("wide", 7, ["7"])):
        given = ["--weight-bits", *flags] if flags else []
        assert run(["export", f"{file}:{name}", *out, *given]) == 0
        _, request = asked.pop()
        plan = request.plan(request.encoding)
        assert plan.encoding is not None
        assert (plan.encoding.weight_bits, plan.kept) == (bits, "fp16")
    assert "--weight-bits 7" in capsys.readouterr().err
