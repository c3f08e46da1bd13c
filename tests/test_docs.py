"""What the documents say is true of the program."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import resnetc
from resnetc.cli.main import VERBS

ROOT = Path(__file__).parent.parent
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def test_the_readmes_spec_is_the_zoos_network(tmp_path: Path) -> None:
    text = (ROOT / "README.md").read_text()
    (spec,) = re.findall(r"```\n(use resnet.*?)```", text, re.DOTALL)
    file = tmp_path / "readme.rnet"
    file.write_text("rnet 1\n" + spec)
    for name in ("resnet50", "resnet152", "resnet34_c"):
        ours, theirs = resnetc.load(f"{file}:{name}").graph, resnetc.load(name).graph
        assert ours.parameters == theirs.parameters
        assert [node.op for node in ours] == [node.op for node in theirs]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", document.read_text()):
        if "://" not in target:
            assert (document.parent / target).exists(), target


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_verbs_exist(document: Path) -> None:
    verbs = re.findall(r"^(?:\$ )?resnetc ([a-z]+)", document.read_text(), re.MULTILINE)
    assert set(verbs) <= set(VERBS)


def test_the_exit_codes_of_the_readme_are_the_programs() -> None:
    from resnetc import diagnostics as d

    text = " ".join((ROOT / "README.md").read_text().split())
    for kind, words in (
        (d.RunError, "the run failed"),
        (d.UsageError, "usage"),
        (d.CompileError, "the spec is wrong"),
        (d.MissingError, "a backend, device or data set is missing"),
        (d.CheckError, "a check failed"),
    ):
        assert f"{kind.exit_code} {words}" in text


def test_every_diagnostic_is_listed() -> None:
    cases = {path.name[:5] for path in (ROOT / "tests" / "cases").glob("E*.txt")}
    listed = set(re.findall(r"^\| (E\d{4}) \|", (ROOT / "docs/diagnostics.md").read_text(), re.M))
    assert listed == cases
