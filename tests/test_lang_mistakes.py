"""Imports, and mistakes: all at once, none twice, each where it belongs."""

from __future__ import annotations

import pytest
from spec_files import Folder, folder, output

from resnetc.cli.main import run
from resnetc.diagnostics import CompileError, render
from resnetc.driver import load

__all__ = ["folder"]


# ----------------------------------------------------------------------------------------- imports


def test_where_imports_are_found(folder: Folder) -> None:
    for name, width in [("lib.rnet", 1), ("blocks/deep/lib.rnet", 2), ("blocks/lib.rnet", 3)]:
        folder.write(f"block b {{ c: conv(3x3, {width}) }}\n", name)
    folder.write("use .lib { b }\nblock near { b }\n", "blocks/near.rnet")
    folder.write("use lib { b }\nblock far { b }\n", "blocks/far.rnet")

    def width(use: str, name: str) -> int:
        return output(folder.graph(f"use {use}\nnetwork n {{ input 4x8x8  {name} }}\n"))[0]

    assert width("lib { b }", "b") == 1
    assert width(".lib { b }", "b") == 1
    assert width("blocks.deep.lib { b }", "b") == 2
    assert width(".blocks.lib { b as c, }", "c") == 3
    assert width("blocks.near { near }", "near") == 3  # `.lib` is beside the importing file
    assert width("blocks.far { far }", "far") == 1  # `lib` is the project's
    assert width("std.nn { squeeze_excite }", "squeeze_excite(2)") == 4
    assert width("resnet { basic }", "basic(6)") == 6  # the shipped one
    folder.write("block basic(w: int) { c: conv(3x3, 9) }\n", "resnet.rnet")
    assert width("resnet { basic }", "basic(6)") == 9  # the project's comes first
    folder.write("block x { c: conv(3x3) }\n", "std/nn.rnet")
    assert folder.codes("use std.nn { x }\n") == ["E0208"]  # `std` is the compiler's


def test_imports_are_not_passed_on(folder: Folder) -> None:
    folder.write("use resnet { basic }\n", "lib.rnet")
    assert folder.codes("use lib { basic }\n") == ["E0208"]


def test_a_broken_import_is_one_mistake(folder: Folder) -> None:
    text = "use nowhere { a }\nnetwork n(x: int = a(3)) { input 4x8x8  a  b: a(2)  conv(1x1, a) }\n"
    assert folder.codes(text) == ["E0207"]


def test_a_mistake_in_an_imported_file_is_told_there(folder: Folder) -> None:
    folder.write("block b {\n  c: conv(3x3, strides=2)\n}\n", "lib.rnet")
    (found,) = folder.found("use lib { b }\nnetwork n { input 4x8x8  b }\n")
    assert str(found.primary.span) == f"{folder.path / 'lib.rnet'}:2:16"
    folder.write("block b {\n", "lib.rnet")
    (found,) = folder.found("use lib { b }\n")
    assert found.code == "E0101"
    assert "lib.rnet" in str(found.primary.span)


def test_own_names_hide_the_preludes(folder: Folder) -> None:
    text = "block flatten { c: conv(3x3, 2) }\nnetwork n { input 4x8x8  flatten }\n"
    assert output(folder.graph(text)) == (2, 8, 8)


# --------------------------------------------------------------------------- mistakes, all at once


def test_all_mistakes_of_a_file_come_at_once_and_in_order(folder: Folder) -> None:
    text = """\
use resnet { basik }
const odd = 1 / 0
block unused(x: integer) { nosuch }
network a {
  input 4x8x8
  one: conv(3x3, 8) => 9x9
  two: conv(3x3, strides=2)
  dropout(20)
  let x = [1][2]
  conv(1x1, x)
  expect parms = 3
}
network b = a with clases = 3
recipe r { batchs = 3  optimizer = sgd(lrr=1) }
"""
    found = folder.found(text)
    codes = [diagnostic.code for diagnostic in found]
    assert codes == [
        "E0208",
        "E0308",
        "E0216",
        "E0201",
        "E0403",
        "E0203",
        "E0301",
        "E0303",
        "E0203",
        "E0203",
        "E0203",
        "E0203",
    ]
    lines = [diagnostic.primary.span.line for diagnostic in found]
    assert lines == sorted(lines)
    with pytest.raises(CompileError) as caught:
        load(f"{folder.path / 'x.rnet'}:a")
    loaded = [diagnostic.code for diagnostic in caught.value.diagnostics]
    assert loaded == [code for code, line in zip(codes, lines, strict=True) if line != 13]


def test_a_mistake_in_a_template_is_told_once(folder: Folder) -> None:
    text = "network t(w: int) { input 4x8x8  conv(3x3, w, groups=3) }\n"
    text += "".join(f"network n{i} = t({i + 1})\n" for i in range(9))
    assert folder.codes(text) == ["E0406"]


def test_poison_stops_cascades(folder: Folder) -> None:
    for body in (
        "conv(3x3, groups=3) -> norm -> act => 1x1  gap -> flatten -> linear(3)",
        "let a = 1 / 0  let b = a + 1  conv(3x3, b) as x  from x -> conv(b, b) => 3x3",
        "for i in [1][3] { conv(i, i) }  relu => 99",
        "residual { conv(3x3, groups=3) -> norm }  add { | identity  | conv(1x1) }",
        "if 1 / 0 == 1 { relu } else { gap }  flatten => 99",
    ):
        found = folder.codes(f"network n {{ input 4x8x8  {body}  expect params = 1 }}")
        assert len(found) == 1, (body, found)


def test_more_than_twenty_are_counted(folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    body = "\n".join(f"let a{i} = {i} / 0" for i in range(25))
    file = folder.write(f"network n {{\n input 4x8x8\n{body}\n relu\n}}\n")
    assert run(["check", str(file)]) == 3
    shown = capsys.readouterr().err
    assert shown.count("error[E0308]") == 20
    assert "and 5 more" in shown


def test_findings_for_machines(folder: Folder) -> None:
    (found,) = folder.found("network n { input 4x8x8\n  dropout(20.0)\n}\n")
    assert found.to_json() == {
        "code": "E0301",
        "severity": "error",
        "message": "expected ratio, found float 20.0",
        "primary": {
            "file": str(folder.path / "x.rnet"),
            "line": 2,
            "column": 11,
            "end_line": 2,
            "end_column": 15,
            "start": 34,
            "end": 38,
            "text": "a ratio lies between 0% and 100%",
        },
        "secondary": [],
        "notes": [],
        "instance": None,
        "help": {
            "text": "write `20%`",
            "sure": True,
            "edits": [
                {
                    "file": str(folder.path / "x.rnet"),
                    "line": 2,
                    "column": 11,
                    "end_line": 2,
                    "end_column": 15,
                    "start": 34,
                    "end": 38,
                    "replacement": "20%",
                }
            ],
        },
    }


def test_the_instance_of_a_finding(folder: Folder) -> None:
    text = """\
use resnet { resnet50 }

block mine(width: int, stride: int = 1) {
  residual {
    conv1: conv(3x3, width, stride=stride, groups=3) -> bn1: norm
  }
}

network other {
  input 4x8x8
  stem: group {
    layer: mine(8)
  }
}
network wide = resnet50 with unit = mine, classes = 10
"""
    first, *_ = folder.found(text.partition("network other")[0] + text.rpartition("\n}\n")[2])
    assert first.instance is not None
    assert (first.instance.network, first.instance.path) == ("wide", "layer1.0")
    assert first.instance.via == "resnet50 with unit = mine, classes = 10"
    where = str(first.instance)
    assert f"note: {where}" in render(first)
    assert where.startswith("in layer1.0 of wide, from specs/resnet.rnet:")
    assert where.endswith(" via resnet50 with unit = mine, classes = 10")
    found = first.to_json()["instance"]
    assert found["placed"]["file"] == "specs/resnet.rnet"
    assert (found["path"], found["via"]) == (first.instance.path, first.instance.via)
    (here,) = folder.found(text.partition("network wide")[0])
    assert str(here.instance) == f"in stem.layer of other, from {folder.path / 'x.rnet'}:12"


@pytest.mark.parametrize(
    ("bad", "count"),
    [
        ("conv(3x3, strides=2)", 1),
        ("dropout(20.0)", 1),
        ("residual(shorcut=A) { c: conv(3x3) }", 1),
        ('pad_channels(8, sides="bothe")', 1),
        ("cov(3x3)", 1),
        ("relu  expect params = 1", 1),
    ],
)
def test_help_that_can_be_applied_mends_the_mistake(folder: Folder, bad: str, count: int) -> None:
    text = f"network n {{ input 4x8x8  {bad} }}"
    (found,) = folder.found(text)
    assert found.help is not None
    assert found.help.span is not None
    assert found.help.replacement is not None
    mended = text[: found.help.span.start] + found.help.replacement + text[found.help.span.end :]
    assert folder.codes(mended) == [], mended
    assert render(found, colour=True).count("\x1b[") >= 2 * count
