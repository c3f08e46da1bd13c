"""Where imports are looked for: beside the file, from the root of its project, in the zoo."""

from __future__ import annotations

from pathlib import Path

import pytest
from lsp_project import Project

from resnetc.checking import check_file
from resnetc.diagnostics import Diagnostic
from resnetc.lang.roots import project_root
from resnetc.lsp import completion

NETWORK = "network n {{ input 3x8x8  c: conv(3x3, {}) }}\n"


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def found(path: Path | str) -> tuple[Diagnostic, ...]:
    return check_file(str(path)).findings


def channels(path: Path | str) -> int:
    report = check_file(str(path))
    assert report.findings == ()
    return list(report.networks["n"])[-1].type.shape[0]


@pytest.mark.parametrize("mark", ["pyproject.toml", ".git/HEAD"])
def test_a_module_of_another_folder(mark: str, tmp_path: Path) -> None:
    inner = "use blocks.width { w }\nuse .near { k }\nconst v = w * k\n"
    write(
        tmp_path,
        {
            mark: "",
            "nets/n.rnet": "use blocks.v { v }\n" + NETWORK.format("v"),
            "blocks/v.rnet": inner,
            "blocks/near.rnet": "const k = 3\n",
            "blocks/width.rnet": "const w = 2\n",
        },
    )
    assert channels(tmp_path / "nets/n.rnet") == 6


def test_the_nearest_mark_is_the_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, {"pyproject.toml": "", "a/.git": "", "a/b/c/x": "", "d/x": ""})
    assert project_root(tmp_path / "a/b/c") == tmp_path / "a"
    assert project_root(tmp_path / "a") == tmp_path / "a"
    assert project_root(tmp_path / "d") == tmp_path
    monkeypatch.chdir(tmp_path / "a/b")
    assert project_root(Path("c")) == Path("..")
    assert project_root(Path()) == Path("..")


def test_without_a_mark_the_folder_is_the_root(tmp_path: Path) -> None:
    files = {"nets/n.rnet": "use blocks.v { v }\n", "blocks/v.rnet": "const v = 4\n"}
    write(tmp_path, files)
    assert project_root(tmp_path / "nets") == tmp_path / "nets"
    (missing,) = found(tmp_path / "nets/n.rnet")
    assert missing.code == "E0207"
    assert missing.notes == (f"looked for {tmp_path}/nets/blocks/v.rnet, specs/blocks/v.rnet",)


def test_of_two_the_nearer_one(tmp_path: Path) -> None:
    text = "use v { v }\n" + NETWORK.format("v")
    write(tmp_path, {"pyproject.toml": "", "v.rnet": "const v = 4\n", "nets/n.rnet": text})
    assert channels(tmp_path / "nets/n.rnet") == 4
    write(tmp_path, {"nets/v.rnet": "const v = 5\n"})
    assert channels(tmp_path / "nets/n.rnet") == 5
    # The project comes before the zoo, which has a `resnet` too.
    text = "use resnet { v }\n" + NETWORK.format("v")
    write(tmp_path, {"resnet.rnet": "const v = 6\n", "nets/n.rnet": text})
    assert channels(tmp_path / "nets/n.rnet") == 6


def test_what_was_looked_for_is_said_and_what_may_be_meant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {"pyproject.toml": "", "blocks/unit.rnet": "const v = 4\n"}
    write(tmp_path, {**files, "nets/n.rnet": "use blocks.units { v }\n"})
    monkeypatch.chdir(tmp_path)
    (missing,) = found("nets/n.rnet")
    paths = "nets/blocks/units.rnet, blocks/units.rnet, specs/blocks/units.rnet"
    assert missing.notes == (f"looked for {paths}",)
    assert missing.help is not None
    (edit,) = missing.help.edits
    assert (edit.span.text, edit.replacement) == ("units", "unit")
    monkeypatch.chdir(tmp_path / "nets")
    (missing,) = found("n.rnet")
    assert "../blocks/units.rnet" in missing.notes[0]


def test_links_may_lead_about_the_project_and_not_out_of_it(tmp_path: Path) -> None:
    project = tmp_path / "project"
    text = "use NAME { v }\n" + NETWORK.format("v")
    write(tmp_path, {"outside.rnet": "const v = 7\n", "project/pyproject.toml": ""})
    write(project, {"lib/v.rnet": "const v = 8\n", "nets/n.rnet": text.replace("NAME", "linked")})
    (project / "nets/linked.rnet").symlink_to(project / "lib/v.rnet")
    assert channels(project / "nets/n.rnet") == 8
    (project / "nets/away.rnet").symlink_to(tmp_path / "outside.rnet")
    (project / "lib/away.rnet").symlink_to(tmp_path / "outside.rnet")
    for name in ("away", ".away", "lib.away"):
        write(project, {"nets/n.rnet": text.replace("NAME", name)})
        assert [each.code for each in found(project / "nets/n.rnet")] == ["E0210"]


def test_the_editor_completes_modules_of_the_project(tmp_path: Path) -> None:
    write(tmp_path, {".git/HEAD": "", "blocks/unit.rnet": "const v = 4\n", "nets/x": ""})
    project = Project(tmp_path)
    assert "unit" in _completed(project, "use blocks.")
    assert "v" in _completed(project, "use blocks.unit { ")


def _completed(project: Project, text: str) -> list[str]:
    analysis = project.open(text, "nets/n.rnet")
    items = completion.complete(analysis, project.workspace.documents, len(text))
    return [item.label for item in items]


def test_the_shipped_files_take_from_each_other_alone(tmp_path: Path) -> None:
    text = "use cifar_resnet { resnet20 }\nnetwork n = resnet20\n"
    write(tmp_path, {"x.rnet": text, "resnet.rnet": "block other { relu }\n"})
    assert found(tmp_path / "x.rnet") == ()
