"""`resnetc explain NAME`: what is declared under a name, and where."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from resnetc.cli.main import run

SPEC = """\
rnet 1

use std.nn { eca }

## Two of them,
## one after the other.
block twin(width: int, unit: block = eca) { unit  unit }

fn half(x: int) -> int = x // 2
const narrow = 8
network net(unit: block) { input 3x8x8  unit }
network n = net(eca)
"""


@pytest.fixture
def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.rnet").write_text(SPEC)
    return tmp_path / "x.rnet"


def shown(subject: str, capsys: pytest.CaptureFixture[str], *options: str) -> str:
    assert run(["explain", subject, *options]) == 0
    return capsys.readouterr().out


def test_a_block_of_a_file(spec: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert shown("x.rnet:twin", capsys) == (
        "twin: a block, x.rnet:7\n\n  twin(width: int, unit: block = eca)\n\n"
        "  Two of them,\n  one after the other.\n"
    )
    assert json.loads(shown("x.rnet:twin", capsys, "--json")) == {
        "name": "twin",
        "kind": "block",
        "signature": "twin(width: int, unit: block = eca)",
        "doc": "Two of them,\none after the other.",
        "written": {"file": "x.rnet", "line": 7},
        "also": [],
    }


@pytest.mark.parametrize(
    ("subject", "head", "signature"),
    [
        ("x.rnet:half", "half: a function, x.rnet:9", "half(x: int) -> int"),
        ("x.rnet:narrow", "narrow: a constant, x.rnet:10", "const narrow = 8"),
        ("x.rnet:eca", "eca: a block, specs/std/nn.rnet:", "eca(gamma: int = 2"),
        ("conv", "conv: an ambient, specs/std/nn.rnet:", "ambient conv: layer = conv2d"),
        ("conv2d", "conv2d: a primitive, specs/std/nn.rnet:", "conv2d(kernel: size, out: int?"),
        ("make_divisible", "make_divisible: a function", "(v: float, divisor: int = 8) -> int"),
        ("A", "A: a shortcut policy, specs/std/nn.rnet:", 'A(sides: string = "after")'),
        ("residual", "residual: of the language itself", "residual(act: layer? = act"),
        ("sqrt", "sqrt: of the language itself", "the square root"),
    ],
)
def test_other_declarations(
    subject: str, head: str, signature: str, spec: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = shown(subject, capsys)
    assert text.startswith(head)
    assert signature in text
    document = json.loads(shown(subject, capsys, "--json"))
    assert document["name"] == subject.rpartition(":")[2]


def test_of_several_the_one_that_is_explained_and_where_the_others_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = shown("bottleneck", capsys)
    assert text.startswith("bottleneck: a block, specs/resnet.rnet:15\n")
    assert "`stride_on` says which convolution carries the stride" in text
    assert "specs/regnet.rnet:bottleneck" in text
    document = json.loads(shown("bottleneck", capsys, "--json"))
    assert "specs/regnet.rnet" in [other["file"] for other in document["also"]]


def test_networks_are_explained_as_before(spec: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert shown("x.rnet:n", capsys).startswith("n: of net, x.rnet:11, on 3x8x8\n")
    assert shown("resnet18", capsys).startswith("resnet18: of resnet, ")
    assert run(["explain", "x.rnet:nosuch"]) == 2
    assert "x.rnet has no network `nosuch`" in capsys.readouterr().err
    assert run(["explain", "nosuchthing"]) == 2
    said = "error: there is no network, layer or function `nosuchthing` in the zoo\n"
    assert capsys.readouterr().err == said
