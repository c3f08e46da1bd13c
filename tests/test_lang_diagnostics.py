"""Every diagnostic, rendered: `cases/E####-name.rnet` beside the exact text it gives.

`pytest --update-golden` writes the texts anew; read the difference before it is committed.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from resnetc.checking import check_file, check_source
from resnetc.cli.main import run
from resnetc.diagnostics import CompileError, Diagnostic, Source, render
from resnetc.diagnostics.catalogue import entries

CASES = Path(__file__).parent / "cases"
ROOT = Path(__file__).parent.parent
CODE = re.compile(r"\b[EW]\d{4}\b")


def _huge(folder: Path) -> str:
    (folder / "huge.rnet").write_text("# " + "x" * 1_000_000)
    return "huge.rnet"


def _tokens(folder: Path) -> str:
    (folder / "tokens.rnet").write_text("const x = [\n" + "  1,\n" * 60_000 + "]\n")
    return "tokens.rnet"


def _word(folder: Path) -> str:
    (folder / "word.rnet").write_text(f"const {'x' * 5_000} = 1\n")
    return "word.rnet"


def _link(folder: Path) -> str:
    project = folder / "project"
    project.mkdir()
    (folder / "outside.rnet").write_text("const x = 1\n")
    (project / "inside.rnet").symlink_to(folder / "outside.rnet")
    (project / "main.rnet").write_text("use inside { x }\n")
    return "project/main.rnet"


def _files(folder: Path) -> str:
    for i in range(40):
        text = f"use .f{i + 1} {{ x{i + 1} }}\nconst x{i} = 1\n"
        (folder / f"f{i}.rnet").write_text(text)
    return "f0.rnet"


GENERATED: dict[str, Callable[[Path], str]] = {
    "E0106-file": _huge,
    "E0106-tokens": _tokens,
    "E0106-word": _word,
    "E0210-link": _link,
    "E0602-files": _files,
}
"""Cases too large or too odd to keep; each writes its files and says which to check."""
STORED = sorted(path.stem for path in CASES.glob("[EW]*.rnet"))


def findings(reference: str) -> tuple[Diagnostic, ...]:
    try:
        report = check_file(reference)
        return report.findings or report.warnings
    except CompileError as error:
        return error.diagnostics


def without_library_lines(text: str) -> str:
    """The text without the line numbers of the standard library, which move when it grows."""
    inside, lines = False, []
    for line in text.splitlines(keepends=True):
        if re.match(r" *(?:-->|:::) |error|warning", line):
            inside = "specs/std/" in line
            line = re.sub(r"(specs/std/\S+?):\d+:", r"\1:N:", line)
        elif inside:
            line = re.sub(r"^ *\d+(?= \|)", lambda match: "N".rjust(len(match[0])), line)
        lines.append(line)
    return "".join(lines)


@pytest.mark.parametrize("name", [*STORED, *GENERATED])
def test_a_mistake_is_rendered_as_its_golden_says(
    name: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path if name in GENERATED else CASES)
    reference = GENERATED[name](tmp_path) if name in GENERATED else f"{name}.rnet"
    found = findings(reference)
    assert found, "there is no mistake in this case"
    assert name[:5] in {diagnostic.code for diagnostic in found}
    text = without_library_lines("\n\n".join(map(render, found)) + "\n")
    golden = CASES / f"{name}.txt"
    if request.config.getoption("--update-golden"):
        golden.write_text(text, encoding="utf-8")
    assert text == golden.read_text(encoding="utf-8")


def test_no_golden_is_orphaned() -> None:
    assert {path.stem for path in CASES.glob("*.txt")} == {*STORED, *GENERATED}


def test_every_code_has_a_case() -> None:
    shown = {match for path in CASES.glob("*.txt") for match in CODE.findall(path.read_text())}
    assert _codes() - shown == set()
    assert shown - _codes() == set()


def _codes() -> set[str]:
    """The codes in the compiler's own text."""
    sources = sorted((ROOT / "resnetc").rglob("*.py"))
    return {code for path in sources for code in re.findall(r'"([EW]\d{4})"', path.read_text())}


# ------------------------------------------------------------------------------- the catalogue


ENTRIES = entries()


def test_every_code_is_explained() -> None:
    assert list(ENTRIES) == sorted(_codes())
    assert all(entry.meaning.endswith(".") for entry in ENTRIES.values())


def said_of(text: str) -> tuple[Diagnostic, ...]:
    report = check_source(Source("net.rnet", text), Path("net.rnet"))
    return report.findings or report.warnings


@pytest.mark.parametrize("code", [code for code, entry in ENTRIES.items() if not entry.scene])
def test_a_wrong_program_has_this_mistake_and_no_other(code: str) -> None:
    assert {finding.code for finding in said_of(ENTRIES[code].wrong)} == {code}


@pytest.mark.parametrize("code", ENTRIES)
def test_a_right_program_has_no_mistake(code: str) -> None:
    assert said_of(ENTRIES[code].right) == ()


def test_what_cannot_be_shown_by_a_text_alone_says_why() -> None:
    assert {code for code, entry in ENTRIES.items() if entry.scene} <= {
        *("E0106", "E0109", "E0209", "E0210", "E0602", "E0604", "E0606", "W0101")
    }


def test_the_document_is_in_step() -> None:
    done = subprocess.run(
        [sys.executable, "tools/diagnostics_doc.py", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_documents_example_is_what_the_compiler_says() -> None:
    said = {text for path in CASES.glob("*.txt") for text in path.read_text()[:-1].split("\n\n")}
    document = (ROOT / "docs" / "diagnostics.md").read_text()
    first = re.findall(r"^```text\n(.*?)\n```$", document, re.M | re.S)[0]
    assert first in said


def test_a_code_is_explained_on_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["explain", "e0401"]) == 0
    shown = capsys.readouterr().out
    entry = ENTRIES["E0401"]
    assert shown.startswith(f"E0401: {entry.meaning}\n\n{entry.text}\n")
    for text in (entry.wrong, entry.right, render(said_of(entry.wrong)[0])):
        assert textwrap.indent(text.rstrip(), "    ") in shown
    assert run(["explain", "E0401", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["right"] == entry.right
    assert run(["explain", "E0499"]) == 2
    assert "there is no code E0499" in capsys.readouterr().err


def test_a_program_without_edition_is_shown_without_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["explain", "W0101"]) == 0
    _, _, shown = capsys.readouterr().out.partition("Wrong:\n\n")
    wrong, _, right = shown.partition("Right:\n\n")
    assert wrong.startswith("    network n ")
    assert "warning[W0101]" in wrong
    assert right.startswith("    rnet 1\n\n    network n ")


def test_the_readmes_example_is_what_the_compiler_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (example,) = re.findall(
        r"^```\n(error.*?)\n```$", (ROOT / "README.md").read_text(), re.M | re.S
    )
    lines = dict(re.findall(r"^ *(\d+) \| (.*)$", example, re.M))
    head = ["rnet 1", *[""] * 6, "network mine {", "  input 16x32x32"]
    shown = [lines[str(number)] for number in range(len(head) + 1, len(head) + 1 + len(lines))]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my.rnet").write_text("\n".join([*head, *shown, "  }", "}", ""]))
    (found,) = findings("my.rnet")
    assert render(found) == example
