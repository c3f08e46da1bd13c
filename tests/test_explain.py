"""`resnetc explain NETWORK LABEL`: what a layer is, and who set each of its arguments."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from resnetc.cli.main import run

SPEC = """\
rnet 1

const narrow = 8

block unit(width: int, stride: int = 1, groups: int = 1) {
  let inner = width // groups
  residual {
    conv1: conv(3x3, inner, stride=stride) -> bn1: norm -> act
    conv2: conv(3x3, width) -> bn2: norm
  }
}

network net(unit: block, widths: list[int], shortcut: shortcut = B, classes: int = 10) {
  input 3x32x32
  for i, width in enumerate(widths) {
    "stage{i}": unit(width, stride=if first then 2 else 1) * 2
  }
  head: group {
    set norm = batchnorm(eps=1e-3)  set act = gelu
    conv: conv(1x1, narrow) -> bn: norm
  }
  gap -> flatten -> fc: linear(classes)
}

network a = net(unit, [16, 32])
network b = a with unit = unit(groups=2), norm = batchnorm(momentum=0.2), classes = 100
"""


@pytest.fixture
def explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., dict[str, Any]]:
    """The explanation of a label of a network of SPEC, for machines; arguments by name."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.rnet").write_text(SPEC)

    def explain(network: str, label: str, *options: str) -> dict[str, Any]:
        assert run(["explain", f"x.rnet:{network}", label, "--json", *options]) == 0
        document: dict[str, Any] = json.loads(capsys.readouterr().out)
        document["by"] = {argument["name"]: argument for argument in document["arguments"]}
        return document

    return explain


def who(origin: dict[str, Any]) -> tuple[str, str, int]:
    """How a value was set, to what, and on which line of which file."""
    place = origin["place"]
    return origin["set_by"], origin["value"], place["line"] if place else 0


def names(origin: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {inner["name"]: inner for inner in origin["names"]}


def test_arguments_of_a_layer(explained: Callable[..., dict[str, Any]]) -> None:
    found = explained("a", "stage1.0.conv1")
    assert found["kind"] == "conv2d"
    assert found["written"]["line"] == 8
    assert (found["inputs"], found["output"]) == (["16x16x16"], "32x8x8")
    assert found["parameters"] == {"stage1.0.conv1.weight": "32x16x3x3"}
    assert (found["params"], found["macs"]) == (32 * 16 * 9, 32 * 16 * 9 * 64)
    assert [block["path"] for block in found["around"]] == ["", "stage1", "stage1.0"]
    by = found["by"]
    assert who(by["kernel"]) == ("written", "3x3", 8)
    assert who(by["groups"]) == ("default", "1", 14)
    assert by["groups"]["owner"] == "conv2d"
    out = names(by["out"])["inner"]
    assert who(out) == ("let", "32", 6)
    assert who(names(out)["groups"]) == ("default", "1", 5)
    assert names(out)["groups"]["owner"] == "unit"


def test_the_chain_goes_through_the_calls_around(
    explained: Callable[..., dict[str, Any]],
) -> None:
    stride = names(explained("a", "stage1.0.conv1")["by"]["stride"])["stride"]
    assert who(stride) == ("written", "2", 16)
    assert who(names(stride)["first"]) == ("place", "true", 0)
    stride = names(explained("a", "stage1.1.conv1")["by"]["stride"])["stride"]
    assert who(stride) == ("written", "1", 16)
    width = names(explained("a", "stage1.0.conv2")["by"]["out"])["width"]
    assert who(width) == ("written", "32", 16)
    item = names(width)["width"]
    assert who(item) == ("loop", "32", 15)


def test_a_signature_hides_nobody(explained: Callable[..., dict[str, Any]]) -> None:
    """What is given by position to a parameter with a signature was written there all the same."""
    signed = SPEC.replace("unit: block,", "unit: block(width: int, stride: int = 1),")
    Path("x.rnet").write_text(signed)
    assert signed != SPEC
    for label in ("stage0.0", "stage1.1"):
        by = explained("a", label)["by"]
        width = "32" if label == "stage1.1" else "16"
        assert who(by["width"]) == ("written", width, 16)
        assert who(names(by["width"])["width"]) == ("loop", width, 15)
    assert who(explained("b", "stage0.0")["by"]["groups"]) == ("bound", "2", 26)


def test_a_block_bound_elsewhere_and_with(explained: Callable[..., dict[str, Any]]) -> None:
    block = explained("b", "stage0.0")
    assert (block["is_block"], block["kind"]) == (True, "unit")
    assert who(block["callee"]) == ("with", "unit(groups=2)", 26)
    assert who(block["by"]["groups"]) == ("bound", "2", 26)
    assert who(block["by"]["width"]) == ("written", "16", 16)
    assert block["params"] == sum(
        explained("b", f"stage0.0.{name}")["params"]
        for name in ("conv1", "bn1", "conv2", "bn2", "downsample")
    )
    norm = explained("b", "stage0.0.bn1")
    assert who(norm["callee"]) == ("with", "batchnorm(momentum=0.2)", 26)
    assert who(norm["by"]["momentum"]) == ("bound", "0.2", 26)
    fc = names(explained("b", "fc")["by"]["out"])["classes"]
    assert who(fc) == ("with", "100", 26)
    assert who(explained("a", "stage0.0")["callee"]) == ("written", "unit", 25)


def test_ambients(explained: Callable[..., dict[str, Any]]) -> None:
    assert who(explained("a", "stage0.0.bn1")["callee"])[:2] == ("ambient", "batchnorm")
    inside = explained("b", "head.bn")
    assert who(inside["callee"]) == ("set", "batchnorm(eps=0.001)", 19)
    assert who(inside["by"]["eps"]) == ("bound", "0.001", 19)
    width = names(explained("a", "head.conv")["by"]["out"])["narrow"]
    assert who(width) == ("const", "8", 3)
    # What `set` rebinds in the group is not rebound behind it.
    assert who(explained("a", "stage0.0.conv1")["callee"])[0] == "ambient"


def test_values_from_outside(explained: Callable[..., dict[str, Any]]) -> None:
    fc = explained("a", "fc", "--set", "classes=7")
    assert who(names(fc["by"]["out"])["classes"]) == ("--set", "7", 1)
    norm = explained("a", "stage0.0.bn1", "--set", "norm=batchnorm(eps=0.5)")
    assert who(norm["callee"]) == ("--set", "batchnorm(eps=0.5)", 1)
    assert norm["by"]["eps"]["value"] == "0.5"


def test_a_network(
    explained: Callable[..., dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["explain", "x.rnet:b", "--json", "--set", "classes=7"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["network"], document["template"]) == ("b", "net")
    values = {value["name"]: who(value) for value in document["values"]}
    assert values["unit"] == ("with", "unit(groups=2)", 26)
    assert values["widths"] == ("bound", "[16, 32]", 25)
    assert values["shortcut"] == ("default", "B", 13)
    assert values["classes"] == ("--set", "7", 1)
    assert values["norm"] == ("with", "batchnorm(momentum=0.2)", 26)
    assert values["conv"][:2] == ("ambient", "conv2d")
    assert run(["explain", "x.rnet:b"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("b: of net, x.rnet:13, on 3x32x32\n\n    unit = unit(groups=2)  ")
    assert "widths = [16, 32]               given at x.rnet:25\n" in shown


def test_the_documents_example(capsys: pytest.CaptureFixture[str]) -> None:
    """Lines of files may move; what is said of them may not."""
    text = (Path(__file__).parent.parent / "docs" / "analysis.md").read_text()
    (example,) = re.findall(r"^```\n\$ resnetc explain (.+?)\n```$", text, re.M | re.S)
    command, _, shown = example.partition("\n")
    assert run(["explain", *command.split()]) == 0
    said = capsys.readouterr().out.rstrip("\n")
    assert re.sub(r"rnet:\d+ *", "", said) == re.sub(r"rnet:\d+ *", "", shown)


def test_what_a_shortcut_sees(explained: Callable[..., dict[str, Any]]) -> None:
    projection = explained("a", "stage1.0.downsample.0")
    assert who(names(projection["by"]["out"])["output"]) == ("place", "32x8x8", 0)
    padded = explained("a", "stage1.0.pad_channels", "--set", "shortcut=A")
    assert padded["by"]["sides"]["value"] == '"after"'


TEXT = """\
stage1.0.conv1: conv2d, in b

  written x.rnet:8  conv1: conv(3x3, inner, stride=stride)
  callee  `conv` is conv2d, what the ambient is at first, specs/std/nn.rnet:N
  input   16x16x16
  output  16x8x8
  owns    stage1.0.conv1.weight  16x16x3x3
  cost    2,304 parameters, 147,456 MACs

  stands in
    b         net   x.rnet:13  net
    stage1    seq   x.rnet:16  "stage{i}": unit(width, stride=if first then 2 else 1) * 2
    stage1.0  unit  x.rnet:16  unit(width, stride=if first then 2 else 1)

  arguments
    kernel = 3x3      written here
    out = 16          written here: inner
      inner = 16      `let` at x.rnet:6: width // groups
        groups = 2    given at x.rnet:26
        width = 32    given at x.rnet:16: width
          width = 32  an item, at x.rnet:15: enumerate(widths)
    stride = 2x2      written here: stride
      stride = 2      given at x.rnet:16: if first then 2 else 1
        first = true  of the repeat
    pad = none        default of `conv2d`, specs/std/nn.rnet:N
    dilation = 1x1    default of `conv2d`, specs/std/nn.rnet:N: 1
    groups = 1        default of `conv2d`, specs/std/nn.rnet:N
    bias = false      default of `conv2d`, specs/std/nn.rnet:N
"""


def test_the_text(
    explained: Callable[..., dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["explain", "x.rnet:b", "stage1.0.conv1"]) == 0
    assert re.sub(r"nn\.rnet:\d+", "nn.rnet:N", capsys.readouterr().out) == TEXT


def test_what_cannot_be_explained(
    explained: Callable[..., dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["explain", "x.rnet:a", "stage1.0.conv3"]) == 2
    assert "did you mean `stage1.0.conv" in capsys.readouterr().err
    assert run(["explain", "x.rnet:nothing", "fc"]) == 2


def test_the_whole_zoo_network_can_be_explained(capsys: pytest.CaptureFixture[str]) -> None:
    from resnetc.cli.explain_layer import document, find_subject, text
    from resnetc.driver import trace

    network, tracer = trace("resnet50_v1", {})
    labels = [*(op.name for op in network.ops), *(b.path for b in network.blocks if b.path)]
    for label in labels:
        subject = find_subject(network, tracer, label)
        assert json.loads(json.dumps(document(subject)))["label"] == label
        assert text(subject).startswith(f"{label}: {subject.kind}")
