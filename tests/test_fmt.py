"""The formatter: one layout, nothing lost, and the same again the second time."""

from __future__ import annotations

import io
import os
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from messy import comments, lexed, messy

import resnetc
from resnetc.cli.main import run
from resnetc.diagnostics import CompileError, Source
from resnetc.lang.format import format_source, significant
from resnetc.lang.parser import parse_exactly

ROOT = Path(__file__).parent.parent
CASES = sorted((Path(__file__).parent / "format").glob("*.rnet"))
SPECS = sorted((ROOT / "specs").rglob("*.rnet"))
TEXTS = [path.read_text() for path in [*SPECS, *CASES]]


def formatted(text: str) -> str:
    return format_source(Source("x.rnet", text))


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.name)
def test_the_zoo_is_formatted(path: Path) -> None:
    text = path.read_text()
    assert formatted(text) == text


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_a_layout_is_as_its_golden_says(path: Path, request: pytest.FixtureRequest) -> None:
    golden = path.with_suffix(".formatted")
    found = formatted(path.read_text())
    if request.config.getoption("--update-golden"):
        golden.write_text(found)
    assert found == golden.read_text()


def test_no_golden_layout_is_orphaned() -> None:
    goldens = {path.stem for path in (Path(__file__).parent / "format").glob("*.formatted")}
    assert goldens == {path.stem for path in CASES}


@given(messy(st.sampled_from(TEXTS)))
@settings(max_examples=40, deadline=None)
def test_nothing_but_space_and_last_commas_changes(text: str) -> None:
    after = formatted(text)
    assert significant(parse_exactly(after)) == significant(parse_exactly(text))
    assert "".join(comments(after)).replace(" ", "") == "".join(comments(text)).replace(" ", "")
    assert formatted(after) == after
    assert_clean(after)


def assert_clean(text: str) -> None:
    """No stray space, no two empty lines, commas end lists only where they break."""
    assert text.endswith("\n")
    assert not text.endswith("\n\n")
    assert all(line == line.rstrip() for line in text.split("\n"))
    assert not {"\t", "\r"} & set(text)
    assert "\n\n\n" not in text
    tokens = lexed(text)
    for token, follower in pairwise(tokens):
        if token in (",", ";") and follower in (")", "]", "}"):
            assert "\n" in text[token.end_pos : follower.start_pos], "a last comma in one line"


@given(messy(st.just((ROOT / "specs/digits.rnet").read_text())))
@settings(max_examples=10, deadline=None)
def test_a_formatted_network_is_the_same_graph(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    folder = tmp_path_factory.mktemp("fmt")
    file = folder / "digits.rnet"
    file.write_text(text)
    before = resnetc.load(f"{file}:digits_resnet14").graph.hash
    assert run(["fmt", str(file)]) == 0
    assert file.read_text() == formatted(text)
    assert resnetc.load(f"{file}:digits_resnet14").graph.hash == before


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_line_ends_and_the_last_line(ends: str) -> None:
    assert (
        formatted(f"const a = 1{ends}const b = 2{ends}{ends}{ends}") == "const a = 1\nconst b = 2\n"
    )
    assert formatted("const a = 1") == "const a = 1\n"
    assert formatted("") == ""
    assert formatted(" \n ") == ""
    assert formatted("# only\n\n\n# comments") == "# only\n\n# comments\n"


def test_the_reference_shows_the_layout() -> None:
    text = (ROOT / "docs" / "language.md").read_text()
    section = text[text.index("\n## Layout\n") :]
    example = section[section.index("```rnet\n") + 8 :].partition("```")[0]
    assert formatted(example) == example


def test_a_syntax_mistake_is_the_compilers() -> None:
    with pytest.raises(CompileError, match="E0101"):
        formatted("network n {")


# ------------------------------------------------------------------------------------ the command


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    path = tmp_path / "a.rnet"
    path.write_text("const   a=1\n")
    return path


def test_files_are_rewritten(spec: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["fmt", str(spec)]) == 0
    assert spec.read_text() == "const a = 1\n"
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == f"formatted {spec}\n"
    before = spec.stat().st_mtime_ns
    assert run(["fmt", str(spec)]) == 0
    assert capsys.readouterr().err == ""
    assert spec.stat().st_mtime_ns == before


def test_check_changes_nothing_and_says_so(spec: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["fmt", "--check", str(spec)]) == 1
    assert spec.read_text() == "const   a=1\n"
    assert f"{spec} would be formatted" in capsys.readouterr().err
    assert run(["fmt", str(spec)]) == 0
    assert run(["fmt", "--check", str(spec)]) == 0


@pytest.mark.parametrize(("flags", "code"), [(["--diff"], 0), (["--diff", "--check"], 1)])
def test_diff_shows_what_would_change(
    spec: Path, flags: list[str], code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["fmt", *flags, str(spec)]) == code
    shown = capsys.readouterr().out
    assert "\n-const   a=1\n+const a = 1\n" in shown
    assert spec.read_text() == "const   a=1\n"


def test_a_folder_means_the_specs_in_it(spec: Path) -> None:
    inner = spec.parent / "inner" / "b.rnet"
    inner.parent.mkdir()
    inner.write_text("const b=1")
    (spec.parent / "other.txt").write_text("const c=1")
    assert run(["fmt", str(spec.parent)]) == 0
    assert inner.read_text() == "const b = 1\n"
    assert (spec.parent / "other.txt").read_text() == "const c=1"


@pytest.mark.parametrize(
    ("data", "flags", "code", "out"),
    [
        (b"const  a=1", [], 0, "const a = 1\n"),
        (b"const a = 1\n", [], 0, "const a = 1\n"),
        (b"const  a=1", ["--check"], 1, ""),
        (b"const  a", [], 3, ""),
        (b"\xff", [], 3, ""),
    ],
)
def test_standard_input(
    data: bytes,
    flags: list[str],
    code: int,
    out: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))
    assert run(["fmt", *flags, "-"]) == code
    assert capsys.readouterr().out == out


def test_a_mistake_in_one_file_spares_the_others(
    spec: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = spec.parent / "0.rnet"
    broken.write_text("const  a  (\n")
    assert run(["fmt", str(spec.parent)]) == 3
    assert broken.read_text() == "const  a  (\n"
    assert spec.read_text() == "const a = 1\n"
    assert "0.rnet:1:11" in capsys.readouterr().err


def test_a_semantic_mistake_does_not_matter(spec: Path) -> None:
    spec.write_text("const a=nosuch\n")
    assert run(["fmt", str(spec)]) == 0
    assert spec.read_text() == "const a = nosuch\n"


def test_a_link_stays_a_link(spec: Path) -> None:
    link = spec.parent / "link.rnet"
    link.symlink_to(spec)
    assert run(["fmt", str(link)]) == 0
    assert link.is_symlink()
    assert spec.read_text() == "const a = 1\n"


def test_what_is_not_there_is_a_usage_mistake(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["fmt", str(tmp_path / "no.rnet")]) == 2
    assert "there is no such file" in capsys.readouterr().err


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written(spec: Path) -> None:
    spec.parent.chmod(0o500)
    try:
        assert run(["fmt", str(spec)]) == 1
    finally:
        spec.parent.chmod(0o700)
    assert spec.read_text() == "const   a=1\n"
