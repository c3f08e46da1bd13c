"""Texts that are open: what is found in them, and how they are kept checked."""

from __future__ import annotations

import pytest
from lsp_project import NET, POSITIONS, Project, project
from lsprotocol import types as lsp

from resnetc.diagnostics import Source, Span
from resnetc.lsp import findings, formatting
from resnetc.lsp.documents import Documents, parse_what_can_be
from resnetc.lsp.symbols import Kind

__all__ = ["project"]


# -------------------------------------------------------------- diagnostics, actions, formatting


def test_diagnostics_carry_the_code_the_places_and_the_advice(project: Project) -> None:
    analysis = project.open("network n { input 3x8x8 convv(1x1, 3) }\n")
    (found,) = findings.diagnostics(analysis, POSITIONS)
    assert (found.code, found.source, found.severity) == ("E0201", "resnetc", 1)
    assert found.range == lsp.Range(lsp.Position(0, 24), lsp.Position(0, 29))
    assert "did you mean `conv`?" in found.message
    assert found.related_information[0].message == "declared here"
    assert found.related_information[0].location.uri.endswith("nn.rnet")


def test_a_warning_is_one_and_hides_no_shapes(project: Project) -> None:
    analysis = project.open("network n {\n  input 3x8x8\n  act\n}\n")
    (found,) = findings.diagnostics(analysis, POSITIONS)
    assert (found.code, found.severity) == ("W0101", lsp.DiagnosticSeverity.Warning)
    assert project.hints() == {3: "3x8x8"}


def test_a_mistake_in_an_import_is_shown_at_the_import(project: Project) -> None:
    project.write("lib.rnet", "block b() { conv( }\n\nblock c() { act }\n")
    analysis = project.open("network x { input 3x8x8 act }\nuse .lib { c }\n")
    analysis = project.open("use .lib { c }\nnetwork x { input 3x8x8 c }\n")
    (found,) = findings.diagnostics(analysis, POSITIONS)
    assert found.range.start == lsp.Position(0, 4)
    assert found.related_information[0].location.uri.endswith("lib.rnet")


def test_imports_are_read_from_open_documents_first(project: Project) -> None:
    project.write("lib.rnet", "block old() { act }\n")
    project.open("block b() { act }\n", "lib.rnet")
    assert not project.open("use .lib { b }\nnetwork n { input 3x8x8 b }\n").wrong
    project.workspace.close(project.root / "lib.rnet")
    assert [f.code for f in project.analysis().findings] == ["E0208"]


def test_an_import_that_comes_to_be_is_found(project: Project) -> None:
    text = "use .lib { b }\nnetwork n { input 3x8x8 b }\n"
    assert [f.code for f in project.open(text).findings] == ["E0207"]
    project.write("lib.rnet", "block b() { act }\n")
    project.workspace.files_changed()
    assert not project.analysis().wrong


def test_the_files_that_import_a_changed_one_are_checked_with_it(project: Project) -> None:
    project.open("block b() { act }\n", "lib.rnet")
    project.open("use .lib { b }\nnetwork n { input 3x8x8 b }\n")
    assert project.workspace.affected(project.root / "lib.rnet") == [
        project.root / "lib.rnet",
        project.root / "x.rnet",
    ]


def test_an_analysis_is_kept_while_its_texts_are_the_same(project: Project) -> None:
    project.write("lib.rnet", "block b() { act }\n")
    first = project.open("use .lib { b }\nnetwork n { input 3x8x8 b }\n")
    assert project.analysis() is first
    project.write("lib.rnet", "block b() { gap }\n")
    assert project.analysis() is not first


def test_a_fix_is_a_code_action(project: Project) -> None:
    text = "network n { input 3x8x8 convv(1x1, 3) }\n"
    analysis = project.open(text)
    everywhere = Span(analysis.source, 0, len(text))
    (action,) = findings.actions(analysis, everywhere, [], POSITIONS)
    assert action.kind == lsp.CodeActionKind.QuickFix
    assert action.is_preferred is (analysis.findings[0].help.sure)  # type: ignore[union-attr]
    ((uri, (edit,)),) = action.edit.changes.items()
    assert uri.endswith("x.rnet")
    assert edit.new_text == "conv"
    assert findings.actions(analysis, Span(analysis.source, 0, 3), [], POSITIONS) == []


def test_formatting_changes_only_lines_that_change(project: Project) -> None:
    text = NET.replace("  let inner = width // 2", "  let   inner=width//2")
    analysis = project.open(text)
    (edit,) = formatting.format_edits(analysis.source, POSITIONS)
    assert (edit.range.start.line, edit.range.end.line) == (4, 5)
    assert edit.new_text == "  let inner = width // 2\n"
    assert formatting.format_edits(Source("x", NET), POSITIONS) == []


def test_a_range_is_formatted_alone(project: Project) -> None:
    text = NET.replace("let inner = ", "let  inner  = ").replace("gap -> ", "gap->")
    within = lsp.Range(lsp.Position(14, 0), lsp.Position(15, 0))
    (edit,) = formatting.format_edits(Source("x", text), POSITIONS, within)
    assert edit.new_text == "  gap -> flatten -> fc: linear(classes)\n"
    within = lsp.Range(lsp.Position(3, 0), lsp.Position(4, 3))
    (edit,) = formatting.format_edits(Source("x", text), POSITIONS, within)
    assert edit.new_text == "  let inner = width // 2\n"


def test_a_text_that_cannot_be_parsed_is_not_formatted() -> None:
    assert formatting.format_edits(Source("x", "block b( {"), POSITIONS) == []


# ------------------------------------------------------------------------------ half-typed texts


def test_a_broken_declaration_does_not_hide_the_others() -> None:
    parsed = parse_what_can_be(Source("x", "block a() { act }\nblock b( {\nblock c() { act }\n"))
    assert [decl.name for decl in parsed.file.decls] == ["a", "c"]
    assert parsed.file.decls[1].name_span.line == 3
    assert [m.code[:2] for m in parsed.mistakes] == ["E0"]


def test_trees_are_kept_by_text() -> None:
    documents = Documents()
    source = Source("x", NET)
    assert documents.parsed(source) is documents.parsed(Source("x", NET))
    assert documents.parsed(Source("x", NET + " ")) is not documents.parsed(source)


def test_a_label_s_symbol_is_its_module_s(project: Project) -> None:
    analysis = project.open(NET)
    found = analysis.index.at(project.at("conv2"))
    assert found is not None
    assert found.symbol.kind is Kind.LABEL
    assert found.symbol.owner == "pair"


# ------------------------------------------------------------------------------- large families

FAMILY = """rnet 1
block row(n: int) {
  conv(3x3, n)
}
network base(n: int = 4) {
  input 3x8x8
  seq { row(n) * 9 }
}
""" + "".join(f"network n{i} = base with n = {i}\n" for i in range(1, 9))


def test_a_change_in_a_large_family_elaborates_what_changed_and_what_is_shown(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("resnetc.lsp.analysis.MAX_ROWS", 40)
    assert project.open(FAMILY).chosen is None
    assert len(project.analysis().report.sizes) == 9
    changed = FAMILY.replace("with n = 7", "with n = 70")
    assert project.open(changed).chosen == {"base", "n1", "n2", "n7"}
    assert project.hints() == {3: "4x8x8", 7: "4x8x8"}
    # One change more, and both count as changed since all were looked at.
    assert project.open(changed.replace("with n = 6", "with m = 6")).chosen == {
        "base",
        "n1",
        "n2",
        "n6",
        "n7",
    }
    assert [found.code for found in project.analysis().findings] == ["E0203"]


def test_a_network_whose_shapes_are_shown_stays_chosen(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("resnetc.lsp.analysis.MAX_ROWS", 40)
    late = "network late {\n  input 3x8x8\n  a: conv(1x1, 9)\n}\n"
    project.open(FAMILY + late).report  # noqa: B018 - what is measured is the whole
    assert project.open(FAMILY.replace("= 8", "= 80") + late).chosen == {
        "base",
        "n1",
        "n2",
        "n8",
        "late",
    }


def test_a_large_family_is_opened_in_two_steps(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("resnetc.lsp.analysis.MAX_AT_FIRST", 3)
    assert project.open(FAMILY).chosen == {"base", "n1", "n2"}
    assert project.workspace.complete(project.root / "x.rnet")
    assert len(project.analysis().report.sizes) == 9


def test_what_was_left_out_is_checked_when_there_is_time(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("resnetc.lsp.analysis.MAX_ROWS", 40)
    project.open(FAMILY).report  # noqa: B018 - what is measured is the whole
    project.open(FAMILY.replace("conv(3x3, n)", "conv(3x3, if n == 8 then 0 else n)"))
    assert project.analysis().findings == ()
    assert project.workspace.complete(project.root / "x.rnet")
    assert project.analysis().wrong
    assert not project.workspace.complete(project.root / "x.rnet")
