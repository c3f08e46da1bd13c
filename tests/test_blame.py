"""Mistakes that come up in a file of others: told of a place in the checked one."""

from __future__ import annotations

from pathlib import Path

import pytest
from lsp_project import POSITIONS, Project
from spec_files import Folder, folder

from resnetc.cli.main import run
from resnetc.diagnostics import CompileError, Diagnostic
from resnetc.driver import load
from resnetc.lsp.findings import diagnostics

__all__ = ["folder"]

LIBRARY = """
block unit(width: int, half: int = width // 2) { c: conv(3x3, half) }
block pair(unit: block(width: int), width: int) { u: unit(width) }
network net(unit: block(width: int), width: int = 8, groups: int = 1) {
  input 4x8x8
  let wide = 2 * width
  a: conv(3x3, wide)
  b: pair(unit, 8)
  d: conv(3x3, 8, groups=groups)
}
"""
USE = "use lib { net, unit, pair }\n"


def only(folder: Folder, text: str, library: str = LIBRARY) -> Diagnostic:
    folder.write(library, "lib.rnet")
    (found,) = folder.found(USE + text)
    return found


@pytest.mark.parametrize(
    ("network", "text", "said", "there"),
    [
        ("net(unit, 0)", "0", "given for `width`", "wide"),
        ("net(unit, width=2 - 2)", "2 - 2", "given for `width`", "wide"),
        ("net(unit) with width = 0", "0", "given for `width`", "wide"),
        ("net(unit(half=0))", "0", "given for `half`", "half"),
        ("net(unit, groups=3)", "3", "given for `groups`", "groups"),
        (
            "net(unit) with conv = linear(bias=false)",
            "linear(bias=false)",
            "given for `conv`",
            None,
        ),
    ],
)
def test_the_value_is_to_blame(
    network: str, text: str, said: str, there: str | None, folder: Folder
) -> None:
    folder.write(LIBRARY, "lib.rnet")
    for found in folder.found(f"{USE}network m = {network}"):
        assert (found.primary.span.text, found.primary.text) == (text, said)
        assert found.primary.span.source.name == str(folder.path / "x.rnet")
        used = found.secondary[0]
        assert used.text == "used here"
        assert there is None or used.span.text == there
        document = found.to_json()
        assert document["primary"]["file"] == str(folder.path / "x.rnet")
        assert document["secondary"][0]["file"] == str(folder.path / "lib.rnet")


def test_a_value_from_outside_is_to_blame(folder: Folder) -> None:
    folder.write(LIBRARY, "lib.rnet")
    path = folder.write(USE + "network m = net(unit)")
    with pytest.raises(CompileError) as error:
        load(f"{path}:m", {"width": "0"})
    (found,) = error.value.diagnostics
    assert (str(found.primary.span), found.primary.text) == ("--set:1:7", "given for `width`")


def test_where_no_value_is_to_blame_the_call_or_the_derivation_stands_beside(
    folder: Folder,
) -> None:
    wrong = LIBRARY.replace("c: conv(3x3, half)", "c: conv(3x3, half) => 4x4")
    found = only(folder, "network m = net(unit) with width = 16", wrong)
    assert found.primary.span.text == "4x4"
    beside = found.secondary[-1]
    assert (beside.span.text, beside.text) == ("net(unit) with width = 16", "in this network")
    assert beside.span.source.name == str(folder.path / "x.rnet")
    # The library is the user's own here, so that it may be mended.
    assert found.help is not None
    found = only(folder, "network m { input 4x8x8  inner: pair(unit, 8) }", wrong)
    beside = found.secondary[-1]
    assert (beside.span.text, beside.text) == ("pair", "placed here")


def test_an_expectation_of_a_library_names_the_network_that_breaks_it(folder: Folder) -> None:
    claims = LIBRARY.replace("input 4x8x8", "input 4x8x8  expect params = 1")
    found = only(folder, "network m = net(unit)", claims)
    assert found.code == "E0501"
    assert found.secondary[-1].span.text == "net(unit)"


def test_no_advice_is_to_change_a_shipped_file(folder: Folder) -> None:
    text = "use resnet { resnet50 }\nnetwork m = resnet50 with depths = [0, 0, 0, 0]\n"
    assert [(found.code, found.help) for found in folder.found(text)] == [("E0403", None)] * 3


def test_findings_of_the_checked_file_come_first(folder: Folder) -> None:
    wrong = LIBRARY.replace("c: conv(3x3, half)", "c: conv(3x3, half) => 4x4")
    folder.write(wrong, "a.rnet")
    text = "use a { net, unit }\nnetwork m = net(unit)\nnetwork k { input 4x8x8  conv(3x3, 0) }"
    found = folder.found(text)
    assert [each.code for each in found] == ["E0406", "E0403"]


def test_what_is_too_large_is_told_as_it_was_found(folder: Folder) -> None:
    """Following it a second time, without copies of blocks, would be stopped earlier."""
    library = """
block row { seq { conv(1x1) * 250 } }
network net(width: int) {
  input 4x8x8
  a: seq { row * 200 }
  z: conv(3x3, width)
}
"""
    folder.write(library, "lib.rnet")
    (found,) = folder.found("use lib { net }\nnetwork m = net(0)\n")
    assert found.code == "E0406"
    assert found.secondary[-1].span.text == "net(0)"


def test_explain_tells_mistakes_of_the_checked_file_too(
    folder: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    folder.write(LIBRARY, "lib.rnet")
    path = folder.write(USE + "network m = net(unit, width=0)")
    assert run(["explain", f"{path}:m"]) == 3
    assert f"--> {path}:2:29\n" in capsys.readouterr().err


def test_no_advice_is_to_change_a_shipped_file_behind_an_own_one(folder: Folder) -> None:
    folder.write("use resnet { resnet50 }\nnetwork base = resnet50", "lib.rnet")
    text = "use lib { base }\nnetwork m = base with depths = [0, 0, 0, 0]\n"
    assert [(found.code, found.help) for found in folder.found(text)] == [("E0403", None)] * 3


def test_too_many_layers_are_not_the_fault_of_who_gives_the_layer(folder: Folder) -> None:
    library = "network net(unit: layer) { input 4x8x8  seq { unit * 60_000 } }\n"
    folder.write(library, "lib.rnet")
    (found,) = folder.found("use lib { net }\nnetwork m = net(relu)\n")
    assert found.code == "E0603"
    assert found.primary.span.source.name == str(folder.path / "lib.rnet")
    assert found.secondary[-1].span.text == "net(relu)"
    assert found.help is not None
    assert "--budget" in found.help.text


def test_too_many_repeats_are_the_fault_of_the_number(folder: Folder) -> None:
    text = "use resnet { resnet, basic }\nnetwork m = resnet(basic, [300_000, 1, 1, 1])\n"
    (found,) = folder.found(text)
    assert (found.code, found.primary.span.text) == ("E0601", "[300_000, 1, 1, 1]")


def test_advice_on_the_budget_stays(folder: Folder) -> None:
    text = "use resnet { resnet, basic }\nnetwork m = resnet(basic, [9_000, 1, 1, 1])\n"
    (found,) = folder.found(text)
    assert found.code in ("E0601", "E0602", "E0603")
    assert found.help is not None
    assert "--budget" in found.help.text
    spots = [found.primary, *found.secondary]
    assert str(folder.path / "x.rnet") in [label.span.source.name for label in spots]


def test_the_editor_shows_a_mistake_at_the_derivation_that_leads_to_it(tmp_path: Path) -> None:
    project = Project(tmp_path)
    text = "use resnet { resnet50 }\nnetwork m = resnet50 with depths = [0, 0, 0, 0]\n"
    shown = diagnostics(project.open(text), POSITIONS)
    assert {each.code for each in shown} == {"E0403"}
    for each in shown:
        assert (each.range.start.line, each.range.start.character) == (1, 12)
        assert each.related_information is not None
        assert "in this network" not in [r.message for r in each.related_information]
