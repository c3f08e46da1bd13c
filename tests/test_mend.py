"""`resnetc check --fix`: it mends what it says, and nothing else in the file changes."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path

import pytest

from resnetc.checking import check_source
from resnetc.cli.findings import wants_colour
from resnetc.cli.main import run
from resnetc.cli.mend import mend
from resnetc.diagnostics import Diagnostic, Source, apply_edits
from resnetc.lang.modules import read_source

CASES = Path(__file__).parent / "cases"
BROKEN = """\
rnet 1

# A file with   mistakes.
network n {
  input 3x32x32
  conv1: conv(3x3, 16, strides=2
  residual(shorcut=B) { conv2: conv(3x3, 16) -> dropout(20.0) }
\tgap -> flatten -> fc: liner(10)  # Größe: 層
}"""
MENDED = """\
rnet 1

# A file with   mistakes.
network n {
  input 3x32x32
  conv1: conv(3x3, 16, stride=2)
  residual(shortcut=B) { conv2: conv(3x3, 16) -> dropout(20%) }
\tgap -> flatten -> fc: linear(10)  # Größe: 層
}"""


@pytest.fixture
def broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "x.rnet"
    path.write_bytes(BROKEN.encode())
    return path


# ------------------------------------------------------------------------------- the edits of each


def of(text: str, path: Path) -> tuple[Diagnostic, ...]:
    report = check_source(Source(path.name, text), path)
    return report.findings or report.warnings


@pytest.fixture(scope="module")
def edited() -> list[tuple[Path, str, tuple[Diagnostic, ...], Diagnostic]]:
    """Cases with what is found in them, and each finding that has edits. Left out are budgets and
    expectations, which take long, and what is no text."""
    found = []
    for path in sorted(CASES.glob("[EW]*.rnet")):
        if path.stem[:3] not in ("E05", "E06") and path.stem != "E0109-latin-1":
            text = read_source(path, path.name).text
            all_of_it = of(text, path)
            advised = (finding for finding in all_of_it if finding.help is not None)
            found += [
                (path, text, all_of_it, finding)
                for finding in advised
                if finding.help and finding.help.edits
            ]
    return found


REVEALED = {"E0203-deploy", "E0219-sections", "E0301-section", "E0208-import"}
"""What a mistake keeps from being looked at comes to light when that one is mended: the rest of a
section, the uses of a name."""


def test_an_edit_mends_its_finding_and_adds_none(
    edited: list[tuple[Path, str, tuple[Diagnostic, ...], Diagnostic]],
) -> None:
    for path, text, before, finding in edited:
        assert finding.help is not None
        after = of(apply_edits(text, finding.help.edits), path)
        if finding.severity == "warning":
            assert len(after) < len(before), path
            continue
        name = finding.code, finding.message
        assert mistakes(after)[name] < mistakes(before)[name], (path, name)
        if path.stem not in REVEALED and finding.help.sure:
            codes = {code for code, _ in mistakes(before)}
            assert {code for code, _ in mistakes(after)} <= codes, (path, name)


def mistakes(found: tuple[Diagnostic, ...]) -> Counter[tuple[str, str]]:
    return Counter((d.code, d.message) for d in found if d.severity == "error")


def test_many_codes_can_be_mended(
    edited: list[tuple[Path, str, tuple[Diagnostic, ...], Diagnostic]],
) -> None:
    codes = Counter(finding.code for _, _, _, finding in edited)
    sure = {finding.code for _, _, _, finding in edited if finding.help and finding.help.sure}
    assert len(codes) >= 40
    assert len(sure) >= 25


# ------------------------------------------------------------------------------- the command


def test_a_file_is_mended_until_nothing_changes(
    broken: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["check", "--fix", "x.rnet"]) == 0
    assert broken.read_bytes().decode() == MENDED
    said = capsys.readouterr().out.splitlines()
    assert [line.split(": ")[1][:5] for line in said[:-1]] == [
        "E0101",
        "E0203",
        "E0203",
        "E0201",
        "E0301",
    ]
    assert said[0] == "x.rnet:6:33: E0101, this call is missing its `)`: add `)`"
    assert said[-1] == "x.rnet: fine (1 network)"


def test_what_is_left_is_reported(broken: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken.write_text(BROKEN.replace("liner(10)", "linear(10) => 11"))
    assert run(["check", "--fix", "x.rnet"]) == 3
    assert "=> 11" in broken.read_text()
    assert "stride=2)" in broken.read_text()
    assert "E0403" in capsys.readouterr().err


def test_the_difference_is_shown_and_nothing_written(
    broken: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["check", "--diff", "x.rnet"]) == 0
    assert broken.read_bytes().decode() == BROKEN
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["--- x.rnet", "+++ x.rnet (mended)"]
    assert "-  conv1: conv(3x3, 16, strides=2" in lines
    assert "+  conv1: conv(3x3, 16, stride=2)" in lines


def test_marks_and_line_ends_are_kept(broken: Path) -> None:
    text = "\ufeff" + BROKEN.replace("\n", "\r\n")
    broken.write_bytes(text.encode())
    assert run(["check", "--fix", "x.rnet"]) == 0
    assert broken.read_bytes().decode() == "\ufeff" + MENDED.replace("\n", "\r\n")


def test_a_new_line_is_one_of_the_file(broken: Path) -> None:
    broken.with_name("y.rnet").write_text("block mine { c: conv(3x3, 8) }\n")
    broken.write_bytes(b"network n {\r\n  input 16x8x8\r\n  layer1: mine\r\n}\r\n")
    assert run(["check", "--fix", "--strict", "x.rnet"]) == 0
    text = broken.read_bytes().decode()
    assert text.startswith("rnet 1\r\n\r\nuse .y { mine }\r\n\r\nnetwork n {\r\n")


def test_edits_that_meet_are_made_one_after_the_other(broken: Path) -> None:
    broken.write_text("rnet 1\n\nuse resnet { basic, bottleneck, resnet }\n\nconst a = 3\n")
    assert run(["check", "--fix", "--strict", "x.rnet"]) == 0
    assert broken.read_text() == "rnet 1\n\n\nconst a = 3\n"


@pytest.mark.parametrize(
    ("settings", "left"),
    [
        (" with norm = none", ""),
        (" with norm = none, w = 8", " with w = 8"),
        (" with w = 8, norm = none", " with w = 8"),
        (" with w = 8, norm = none, v = 3", " with w = 8, v = 3"),
    ],
)
def test_an_override_without_effect_is_taken_out(broken: Path, settings: str, left: str) -> None:
    text = (
        "rnet 1\n\nnetwork n(w: int = 4, v: int = 1) {\n  input 3x8x8\n"
        "  a: conv(3x3, w * v)\n}\nnetwork m = n{}\n"
    )
    broken.write_text(text.replace("n{}", f"n{settings}"))
    assert run(["check", "--fix", "--strict", "x.rnet"]) == 0
    assert broken.read_text() == text.replace("n{}", f"n{left}")


def test_a_brace_is_put_on_its_line(broken: Path) -> None:
    text = "rnet 1\n\nnetwork n {\n  input 3x8x8\n  a: seq {\n    relu  # last\n  }\n}\n"
    broken.write_text(text.replace("  }\n", ""))
    assert run(["check", "--fix", "x.rnet"]) == 0
    assert broken.read_text() == text


@pytest.mark.parametrize(
    ("written", "mended"),
    [
        ("Relu -> GELU -> Flatten", "relu -> gelu -> flatten"),
        ("swish -> SiLU -> relu6_", "silu -> silu -> relu6"),
        ("elu -> selu -> prelu -> relu7 -> celu", None),
        ("a: BatchNorm2d -> b: BatchNorm2d()", "a: batchnorm -> b: batchnorm()"),
        ("BatchNorm2d(3)", None),
        ("Conv2d(3, 8, 3)", None),
        ("a: conv2dd(3x3, 8) -> b: layernrom", "a: conv2d(3x3, 8) -> b: layernorm"),
        ("conv1d(3x3, 8)", None),
        ("dropot(20%) -> dorpout(20%)", "dropout(20%) -> dropout(20%)"),
        ("softmox", "softmax"),
        ("softmux_", None),
    ],
)
def test_a_name_is_replaced_only_where_it_is_surely_meant(
    broken: Path, written: str, mended: str | None
) -> None:
    text = f"rnet 1\n\nnetwork n {{\n  input 3x8x8\n  {written}\n}}\n"
    broken.write_text(text)
    assert run(["check", "--fix", "x.rnet"]) == (3 if mended is None else 0)
    assert broken.read_text() == text.replace(written, mended or written)


@pytest.mark.parametrize(
    ("written", "mended"),
    [
        ("// first\n  a: relu", "# first\n  a: relu"),
        ("a: relu // first", "a: relu # first"),
        ("a: conv(3\u00d73, 4)  b: conv(3X3, 4)", "a: conv(3x3, 4)  b: conv(3x3, 4)"),
        ("let _q = 3.\n  let _r = 4", "let _q = 3.0\n  let _r = 4"),
        ("let _q = 3.\n  a: relu", "let _q = 3.0\n  a: relu"),
        ("let _q = 2^3", "let _q = 2**3"),
        ("let _q = “a”  relu", 'let _q = "a"  relu'),
        ("a: conv(1x1, 3) x 3", "a: conv(1x1, 3) * 3"),
        ("a: 3 * conv(1x1, 3)", "a: conv(1x1, 3) * 3"),
        ("3 * relu", "relu * 3"),
        ("3 * conv(1x1, w(3))", None),
        ("conv2: conv 3x3 64", "conv2: conv(3x3, 64)"),
        ("conv2: conv 64  relu", None),
        ("a: relu -> b: conv 3x3 4 -> relu", "a: relu -> b: conv(3x3, 4) -> relu"),
        ("let _q = 3\n  // the last layer\n  relu", "let _q = 3\n  # the last layer\n  relu"),
        ("requrie here.channels == 3, “why”", 'require here.channels == 3, "why"'),
        ("sett act = gelu", None),
        ("outptu here", "output here"),
        ("let _q = 3.\n  relu -> gelu", "let _q = 3.0\n  relu -> gelu"),
        ("a: conv(1x1, 3) x3", "a: conv(1x1, 3) * 3"),
        ("a: conv(1x1, 3) \u00d7 3", "a: conv(1x1, 3) * 3"),
        ("b: conv 3x3, 4 => 4x8x8", "b: conv(3x3, 4) => 4x8x8"),
        ("b: conv 3x3, 4, bias=true", None),
        ("b: conv 3x3, 4,\n  relu", None),
        ("3 * conv 3x3", None),
        ("=> 3x8x8 // a map", "=> 3x8x8 # a map"),
        ("=> 8x8 // map", "=> 8x8 # map"),
        ("let q = 3  relu * q // 2", None),
        ("relu /* a map */", None),
        ("let _q = \u2018a\u2019  relu", 'let _q = "a"  relu'),
    ],
)
def test_what_other_languages_write_is_written_anew(
    broken: Path, written: str, mended: str | None
) -> None:
    text = f"rnet 1\n\nnetwork n {{\n  input 3x8x8\n  {written}\n}}\n"
    broken.write_text(text)
    done = run(["check", "--fix", "x.rnet"])
    assert (done, broken.read_text()) == (
        (3, text) if mended is None else (0, text.replace(written, mended))
    )


def test_a_label_that_is_read_as_a_tensor_is_kept_as_one(broken: Path) -> None:
    text = "rnet 1\n\nnetwork n {\n  input 3x8x8\n  a: relu() * 2{} -> gelu\n  output a\n}\n"
    broken.write_text(text.replace("{}", ""))
    assert run(["check", "--fix", "x.rnet"]) == 0
    assert broken.read_text() == text.replace("{}", " as a")


@pytest.mark.parametrize(
    "statements",
    [
        "output a  a: relu",
        "s: seq { a: relu }  output a",
        "a: relu as b, c  from a",
        "abc: relu as ab  from abd",
    ],
)
def test_a_tensor_is_not_kept_where_that_would_not_reach(broken: Path, statements: str) -> None:
    text = f"rnet 1\n\nnetwork n {{\n  input 3x8x8\n  {statements}\n}}\n"
    broken.write_text(text)
    assert run(["check", "--fix", "x.rnet"]) == 3
    assert broken.read_text() == text


def test_a_suggestion_is_left_alone(broken: Path) -> None:
    text = "rnet 1\n\nnetwork n {\n  input 3x8x8\n  conv1: conv(3x3, 8)\n  expect params = 612\n}\n"
    broken.write_text(text)
    assert run(["check", "--fix", "x.rnet"]) == 3
    assert broken.read_text() == text
    (finding,) = mend(broken, "x.rnet").report.findings
    assert finding.help is not None
    assert [edit.replacement for edit in finding.help.edits] == ["216"]
    assert not finding.help.sure


def test_a_link_stays_a_link(broken: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.rnet"
    link.symlink_to(broken)
    assert run(["check", "--fix", "link.rnet"]) == 0
    assert link.is_symlink()
    assert broken.read_text() == MENDED


def test_another_file_is_not_touched(broken: Path) -> None:
    broken.write_text("rnet 1\n\nblock b { c: conv(3x3, strides=2) }\n")
    other = broken.with_name("y.rnet")
    other.write_text("rnet 1\n\nuse x { b }\n\nnetwork n {\n  input 3x8x8\n  b\n}\n")
    before = broken.read_text()
    assert run(["check", "--fix", "y.rnet"]) == 3
    assert broken.read_text() == before


def test_the_zoo_is_not_mended(broken: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["check", "--fix", "resnet50"]) == 2
    assert "not one of the zoo" in capsys.readouterr().err


def test_edits_for_machines(broken: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["check", "--json", "x.rnet"]) == 3
    (report,) = json.loads(capsys.readouterr().out)
    (finding,) = report["findings"]
    (edit,) = finding["help"]["edits"]
    assert (edit["line"], edit["column"], edit["replacement"]) == (6, 33, ")")
    assert BROKEN[: edit["start"]].endswith("strides=2")
    assert run(["check", "--json", "--diff", "x.rnet"]) == 2


# ------------------------------------------------------------------------------- warnings, colours


def test_warnings_fail_only_where_asked(broken: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken.write_text("network n {\n  input 3x8x8\n  let a = 3\n  relu\n}\n")
    assert run(["check", "x.rnet"]) == 0
    shown = capsys.readouterr().err
    assert "W0101" in shown
    assert "W0202" in shown
    assert run(["check", "--strict", "x.rnet"]) == 5
    assert "2 warnings" in capsys.readouterr().err
    assert run(["check", "--json", "x.rnet"]) == 0
    (report,) = json.loads(capsys.readouterr().out)
    assert [warning["severity"] for warning in report["warnings"]] == ["warning", "warning"]
    text = "rnet 1\nnetwork n {\n  input 3x8x8\n  let a = 3  # allow W0202: later\n  relu\n}\n"
    broken.write_text(text)
    assert run(["check", "--strict", "x.rnet"]) == 0
    broken.write_text(text.replace("a = 3  # allow W0202: later", "_a = 3"))
    assert run(["check", "--strict", "x.rnet"]) == 0


@pytest.mark.parametrize(
    ("terminal", "settings", "coloured"),
    [
        (True, {}, True),
        (False, {}, False),
        (True, {"NO_COLOR": "1"}, False),
        (True, {"NO_COLOR": ""}, True),
        (True, {"TERM": "dumb"}, False),
    ],
)
def test_colours_are_for_terminals(
    terminal: bool, settings: dict[str, str], coloured: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    assert wants_colour() is coloured


def test_a_pipe_gets_no_colours(broken: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["check", "x.rnet"]) == 3
    assert "\x1b" not in capfd.readouterr().err
