"""The examples of docs/validation.md hold."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from pre_commit.clientlib import load_config

from resnetc.checking import check_file
from resnetc.diagnostics import render

ROOT = Path(__file__).parent.parent
DOCUMENT = (ROOT / "docs" / "validation.md").read_text()


def fences(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", DOCUMENT, re.M | re.S)


@pytest.mark.parametrize("code", fences("python"))
def test_the_python_of_the_document_runs(code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    exec(compile(code, "docs/validation.md", "exec"), {})


def test_there_is_something_to_run() -> None:
    assert len(fences("python")) == 6
    assert all("assert" in code for code in fences("python"))


def test_the_spec_of_the_document_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (spec,) = fences("rnet")
    monkeypatch.chdir(tmp_path)
    Path("nets.rnet").write_text(spec)
    report = check_file("nets.rnet")
    assert report.findings == ()
    assert list(report.networks) == ["mine", "pretrained"]


def test_the_finding_of_the_document_is_what_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (spec,) = fences("rnet")
    (shown,) = re.findall(r"^```\n(error.*?)^```$", DOCUMENT, re.M | re.S)
    monkeypatch.chdir(tmp_path)
    Path("nets.rnet").write_text("rnet 1\n\n" + spec.replace("3e9", "2.5e9"))
    (finding,) = check_file("nets.rnet").findings
    said = render(finding)
    for line in shown.splitlines():
        assert said.find(line.partition(" ...")[0]) >= 0, f"{line!r} is not in\n{said}"


def test_the_configurations_of_the_document_are_valid(tmp_path: Path) -> None:
    (toml,) = fences("toml")
    assert tomllib.loads(toml)["tool"]["pytest"]["ini_options"]["rnet_files"]
    for number, text in enumerate(fences("yaml")):
        path = tmp_path / f"{number}.yaml"
        path.write_text(text)
        assert load_config(str(path))["repos"]
    offered = {hook["id"] for hook in yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())}
    remote = yaml.safe_load(fences("yaml")[0])["repos"][0]
    assert {hook["id"] for hook in remote["hooks"]} == offered
