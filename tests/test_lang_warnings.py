"""Warnings: told where they are due, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import pytest

from resnetc.checking import check_source
from resnetc.diagnostics import Source

HEAD = "rnet 1\n\n"


def warnings(text: str, folder: Path = Path()) -> list[str]:
    report = check_source(Source("x.rnet", HEAD + text), folder / "x.rnet")
    assert report.findings == ()
    return [warning.code for warning in report.warnings]


def network(body: str, before: str = "") -> str:
    return f"{before}network n {{\n  input 4x8x8\n  {body}\n}}\n"


@pytest.mark.parametrize(
    ("text", "codes"),
    [
        # Imports: a name is used by a call, a value, a default, a derivation.
        ("use resnet { basic as b }\n" + network("x: b(4)"), []),
        ("use resnet { basic }\nnetwork n(u: block = basic) { input 4x8x8  x: u(4) }", []),
        ("use resnet { resnet18 }\nnetwork n = resnet18", []),
        ("use resnet { resnet18, basic }\nnetwork n = resnet18", ["W0201"]),
        # Values.
        (network("let a = 4  x: conv(3x3, a)"), []),
        (network('let a = 4  "x{a}": conv(3x3, 4)'), []),
        (network("let a, b = [1, 2]  x: conv(3x3, b)"), []),
        (network("let a, b = [1, 2]  x: conv(3x3, 4)"), ["W0202"]),
        (network("let _a = 4  x: conv(3x3, 4)"), []),
        (network("x: conv(3x3, 4) as a\n  from a -> y: conv(3x3, 4)"), []),
        (network("x: conv(3x3, 4) as a, b\n  y: conv(3x3, 4)"), ["W0204", "W0204"]),
        (network("x: conv(3x3, 4) as _a"), []),
        (network("x: conv(3x3, 4) as a\n  y: conv(3x3, 4)\n  output a, here"), []),
        # Parameters: read in the body, by a later default, by a policy, as an ambient, by wish.
        ("fn f(a: int, b: int = a) -> int = b\n" + network(f"x: conv(3x3, {4})"), []),
        ("fn f(a: int, b: int) -> int = b\n", ["W0203"]),
        ("shortcut s(t: string) { | pad_channels(8, sides=t) }\n", []),
        ("network n(norm: layer = batchnorm) { input 4x8x8  x: conv(3x3) -> y: norm }\n", []),
        ("network n(norm: layer = batchnorm) { input 4x8x8  x: conv(3x3) }\n", []),
        ("block b(width: int, drop: ratio) { x: conv(3x3, width) }\n", ["W0203"]),
        (
            "block b(width: int, drop: ratio) { x: conv(3x3, width) }\n"
            "network n(u: block(width: int, drop: ratio) = b) { input 4x8x8  y: u(4, 10%) }\n",
            [],
        ),
        # Labels.
        (network("s: seq { a: conv(3x3) -> b: conv(3x3) }"), []),
        (network("s: seq { a: conv(3x3) -> relu }"), ["W0401"]),
        (network("s: seq { conv(3x3) -> relu }"), []),
        (network("s: group { a: conv(3x3) -> relu }"), []),
        (network("conv(3x3)"), ["W0403"]),
        (network("group { conv(3x3) }"), ["W0403"]),
        (network("relu -> gap"), []),
        # A bias that norms subtract, unless something else reads it.
        (network("x: conv(3x3, bias=true) -> y: norm"), ["W0402"]),
        (network("x: conv(3x3, bias=true) -> act -> y: norm"), []),
        (network("x: conv(3x3, bias=true) -> y: groupnorm(2)"), []),
        (network("x: conv(3x3, bias=true)\n  add { | identity | y: norm }"), []),
        (network("x: conv(3x3, bias=true)  # allow W0402\n  y: norm"), []),
        (network("x: conv(3x3, bias=true)  # allow W0401\n  y: norm"), ["W0402"]),
        # Stochastic depth.
        (network("residual { x: conv(3x3) -> drop_path(10%) }"), []),
        (network("add { | identity | x: conv(3x3) -> drop_path(10%) }"), []),
        (network("concat { | identity | x: conv(3x3) -> drop_path(10%) }"), ["W0404"]),
        # Pixels taken.
        (network("subsample(2)"), []),
        (network("subsample(3)"), ["W0405"]),
        # Layers without effect.
        (network("x: conv(3x3) as a\n  y: conv(3x3)\n  from a -> z: conv(3x3)"), ["W0406"]),
        (network("x: conv(3x3)\n  aux h: seq { gap -> flatten }\n  y: conv(3x3)"), []),
    ],
)
def test_what_is_told(text: str, codes: list[str]) -> None:
    assert warnings(text) == codes


def test_nothing_is_told_of_other_files(tmp_path: Path) -> None:
    text = (
        "block b {\n  c: conv(3x3) as a\n  d: conv(3x3, bias=true) -> norm\n  from a -> relu\n}\n"
    )
    (tmp_path / "y.rnet").write_text(text)
    assert warnings("use y { b }\n" + network("x: b"), tmp_path) == []


def test_mistakes_come_first() -> None:
    text = network("let a = 4  x: conv(3x3, strides=2)")
    report = check_source(Source("x.rnet", text), Path("x.rnet"))
    assert [finding.code for finding in report.findings] == ["E0203"]
    assert report.warnings == ()


def test_one_warning_for_many_instances() -> None:
    text = network("l: b * 3", "block b { c: conv(3x3, bias=true) -> d: norm }\n")
    assert warnings(text) == ["W0402"]
