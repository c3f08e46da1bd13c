"""What artefacts say of where they come from, held against the network and weights given."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest
from verified import SMALL, net, weights

import resnetc
from resnetc.backends.onnx import OnnxOptions, write_onnx
from resnetc.backends.provenance import (
    Claim,
    check_engine,
    check_onnx,
    check_weights,
    onnx_facts,
    staleness,
    text_hash,
)
from resnetc.backends.weights import Arrays, read_weights, weights_hash, write_weights
from resnetc.cli.main import run
from resnetc.diagnostics import RunError, UsageError

__all__ = ["net", "weights"]


def told(claims: list[Claim]) -> dict[str, bool | None]:
    return {claim.what: claim.holds for claim in claims}


def test_a_fresh_file(tmp_path: Path, net: resnetc.Network, weights: Arrays) -> None:
    file = tmp_path / "net.onnx"
    spec = text_hash(net.source_text)
    write_onnx(net.graph, file, weights, provenance={"spec_hash": spec})
    claims = check_onnx(net.graph, weights, file, spec)
    assert told(claims) == dict.fromkeys(("graph", "weights", "spec", "precision", "version"), True)
    assert onnx_facts(file).said["weights_hash"] == weights_hash(net.graph, weights)
    assert not staleness(claims)


@pytest.mark.parametrize("external", [False, True])
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_the_hash_is_of_the_weights_given(
    tmp_path: Path, net: resnetc.Network, weights: Arrays, external: bool, precision: str
) -> None:
    """Of what was brought, not of what was folded and rounded; in every way of writing."""
    file = tmp_path / "net.onnx"
    options = OnnxOptions(external=external, precision=precision)
    write_onnx(net.graph, file, weights, options=options)
    write_onnx(net.graph, file, weights, options=options)  # over what stands there
    assert onnx_facts(file).said["weights_hash"] == weights_hash(net.graph, weights)
    onnx.checker.check_model(file, full_check=True)


def test_other_weights(tmp_path: Path, net: resnetc.Network, weights: Arrays) -> None:
    file = tmp_path / "net.onnx"
    held = {path: weights[path].copy() for path in weights}
    write_onnx(net.graph, file, held)
    held["layer3.2.bn2.running_var"][7] += 1e-6
    (stale,) = staleness(check_onnx(net.graph, held, file))
    assert stale.startswith("net.onnx is stale: it holds weights ")


def test_a_spec_that_has_changed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Text alone is told; another graph is stale."""
    spec = tmp_path / "net.rnet"
    spec.write_text(_TINY)
    assert run(["export", str(spec), "--weights", "random", "--out", str(tmp_path)]) == 0
    asked = ["verify", str(spec), "--weights", "random", "--onnx", str(tmp_path / "tiny.onnx")]
    assert run(asked) == 0
    capsys.readouterr()
    spec.write_text(_TINY.replace("\n\n", "\n\n# a remark\n", 1))
    assert run(asked) == 0
    assert "the text has changed since, the network has not" in capsys.readouterr().out
    spec.write_text(_TINY.replace("relu", "silu"))
    assert run(asked) == 5
    shown = capsys.readouterr()
    assert "STALE: written from tiny, graph" in shown.out
    assert "tiny.onnx is stale: it was written from tiny, graph" in shown.err


_TINY = """rnet 1

network tiny {
  input 3x8x8
  conv1: conv(3x3, 4) -> bn1: norm -> relu
  gap -> flatten -> fc: linear(2)
}
"""


def test_a_precision_that_is_only_said(
    tmp_path: Path, net: resnetc.Network, weights: Arrays
) -> None:
    file = tmp_path / "net.onnx"
    write_onnx(net.graph, file, weights)
    model = onnx.load(file)
    for entry in model.metadata_props:
        if entry.key == "resnetc.precision":
            entry.value = "fp16"
    onnx.save(model, file)
    claims = check_onnx(net.graph, weights, file)
    assert told(claims)["precision"] is False
    assert staleness(claims) == [
        "net.onnx is stale: it says fp16; layers by their weights: 22 fp32"
    ]


def test_a_file_that_says_nothing(tmp_path: Path, net: resnetc.Network, weights: Arrays) -> None:
    file = tmp_path / "net.onnx"
    write_onnx(net.graph, file, weights)
    model = onnx.load(file)
    del model.metadata_props[:]
    onnx.save(model, file)
    claims = check_onnx(net.graph, weights, file)
    assert set(told(claims).values()) == {None}


def write_engine(folder: Path, net: resnetc.Network, weights: Arrays, **changes: object) -> Path:
    """Not an engine, but its bytes do not matter here; and a sidecar as `build_engine` makes it."""
    import hashlib

    engine = folder / "net.engine"
    engine.write_bytes(b"engine")
    said = {
        "network": net.name,
        "engine_sha256": hashlib.sha256(b"engine").hexdigest(),
        "graph_hash": net.graph.hash,
        "weights_hash": weights_hash(net.graph, weights),
        "resnetc": resnetc.__version__,
        "library": {"name": "onnxruntime", "version": _installed("onnxruntime")},
        "precision": {"asked": "fp16", "found": {"fp16": 20}},
        **changes,
    }
    (folder / "net.engine.json").write_text(json.dumps(said))
    return engine


def _installed(package: str) -> str:
    from importlib import metadata

    return metadata.version(package)


@pytest.mark.parametrize(
    ("changes", "stale"),
    [
        ({}, None),
        ({"engine_sha256": "0" * 64}, "file"),
        ({"graph_hash": "0" * 64}, "graph"),
        ({"weights_hash": "0" * 64}, "weights"),
        ({"precision": {"asked": "fp16", "found": {"fp32": 20}}}, "precision"),
        ({"precision": {"asked": "fp32", "found": {"fp32": 19, "fp16": 1}}}, "precision"),
        ({"library": {"name": "onnxruntime", "version": "0.1"}}, "library"),
    ],
)
def test_an_engines_sidecar(
    tmp_path: Path,
    net: resnetc.Network,
    weights: Arrays,
    changes: dict[str, object],
    stale: str | None,
) -> None:
    engine = write_engine(tmp_path, net, weights, **changes)
    found = told(check_engine(net.graph, weights, engine))
    assert [what for what, holds in found.items() if holds is False] == ([stale] if stale else [])
    assert set(found) == {"file", "graph", "weights", "precision", "version", "library"}


@pytest.mark.parametrize(
    ("asked", "counted"),
    [("int8", {"fp32": 37, "fp32+int8": 48}), ("fp8", {"fp16": 37, "fp16+fp8": 48})],
)
def test_layers_that_read_more_than_eight_bits(
    asked: str, counted: dict[str, int], tmp_path: Path, net: resnetc.Network, weights: Arrays
) -> None:
    found = {"asked": asked, "found": counted}
    claims = check_engine(net.graph, weights, write_engine(tmp_path, net, weights, precision=found))
    (claim,) = (each for each in claims if each.what == "precision")
    assert claim.holds
    shown = ", ".join(f"{count} {name}" for name, count in counted.items())
    assert claim.told == f"{asked}; layers as read back: {shown}"
    wide = {"asked": asked, "found": {"fp32": 85}}
    claims = check_engine(net.graph, weights, write_engine(tmp_path, net, weights, precision=wide))
    assert told(claims)["precision"] is False


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[]", "there is no precision.asked"),
        ('{"precision": []}', "there is no precision.asked"),
        ('{"precision": {"asked": "fp16", "found": {}}, "library": 3}', "no library.name"),
        ("{", "not an engine's sidecar: "),
    ],
)
def test_a_damaged_sidecar_says_what_is_missing(
    text: str, said: str, tmp_path: Path, net: resnetc.Network, weights: Arrays
) -> None:
    engine = write_engine(tmp_path, net, weights)
    (tmp_path / "net.engine.json").write_text(text)
    with pytest.raises(RunError, match="not an engine's sidecar") as raised:
        check_engine(net.graph, weights, engine)
    assert said in str(raised.value)
    assert "indices" not in str(raised.value)


def test_sidecars_that_are_none(tmp_path: Path, net: resnetc.Network, weights: Arrays) -> None:
    engine = write_engine(tmp_path, net, weights)
    sidecar = tmp_path / "net.engine.json"
    sidecar.write_text("{}")
    with pytest.raises(RunError, match="not an engine's sidecar"):
        check_engine(net.graph, weights, engine)
    sidecar.unlink()
    with pytest.raises(UsageError, match="there is no such file"):
        check_engine(net.graph, weights, engine)


def test_an_engine_on_the_command_line(
    tmp_path: Path, net: resnetc.Network, weights: Arrays, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["verify", SMALL, "--weights", "random", "--backends", "eager", "--engine"]
    assert run([*asked, str(write_engine(tmp_path, net, weights))]) == 0
    assert run([*asked, str(write_engine(tmp_path, net, weights, weights_hash="12"))]) == 5
    assert "net.engine is stale: it holds weights 12; these are" in capsys.readouterr().err


def test_weights_of_another_graph_that_fit(
    tmp_path: Path, weights: Arrays, capsys: pytest.CaptureFixture[str]
) -> None:
    """ReLU or SiLU: the arrays are the same, the network is not."""
    net, other = (resnetc.load(SMALL), resnetc.load(SMALL, {"act": "silu"}))
    file = tmp_path / "trained.safetensors"
    write_weights(file, weights, {"network": SMALL, "graph_hash": net.graph.hash})
    assert told(check_weights(net.graph, file)) == {"graph": True}
    assert told(check_weights(other.graph, file)) == {"graph": False}
    assert set(read_weights(file)) == set(weights)
    assert run(["verify", SMALL, "--set", "act=silu", "--weights", str(file)]) == 5
    assert "trained.safetensors is stale: written from resnet20" in capsys.readouterr().err
    write_weights(file, weights)
    assert check_weights(other.graph, file) == []
