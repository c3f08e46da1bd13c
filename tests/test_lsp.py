"""What the language server shows of a text: shapes, explanations, colours."""

from __future__ import annotations

import pytest
from lsp_project import NET, POSITIONS, Project, project
from lsprotocol import types as lsp

from resnetc.diagnostics import Source
from resnetc.lang.builtins import FUNCTIONS
from resnetc.lang.structures import STRUCTURES
from resnetc.lsp import hints, hover, tokens
from resnetc.lsp.analysis import Analysis
from resnetc.lsp.docs import BUILTINS, doc_of
from resnetc.lsp.documents import parse_what_can_be
from resnetc.lsp.indexer import IMPLICIT
from resnetc.lsp.positions import Positions
from resnetc.lsp.workspace import carried

__all__ = ["project"]


# ------------------------------------------------------------------------------------- positions


@pytest.mark.parametrize(
    ("encoding", "column"),
    [
        (lsp.PositionEncodingKind.Utf8, 9),
        (lsp.PositionEncodingKind.Utf16, 5),
        (lsp.PositionEncodingKind.Utf32, 4),
    ],
)
def test_columns_are_counted_in_the_agreed_units(
    encoding: lsp.PositionEncodingKind, column: int
) -> None:
    source = Source("x", "a\n# 宽😀b\n")
    positions = Positions(encoding)
    offset = source.text.index("b")
    assert positions.position(source, offset) == lsp.Position(1, column)
    assert positions.offset(source, positions.position(source, offset)) == offset


def test_a_position_outside_the_text_is_moved_inside() -> None:
    source = Source("x", "ab\ncd")
    assert POSITIONS.offset(source, lsp.Position(0, 99)) == 2
    assert POSITIONS.offset(source, lsp.Position(9, 0)) == 5


# ----------------------------------------------------------------------------------------- hints


def test_every_row_shows_its_shape(project: Project) -> None:
    project.open(NET)
    assert project.hints() == {
        6: "8x16x16",
        7: "16x16x16",
        12: "8x32x32",
        13: "16x16x16",
        14: "16x16x16",
        15: "10",
    }


def test_the_hint_stands_behind_the_shape_that_is_checked(project: Project) -> None:
    analysis = project.open(NET)
    rows = project.workspace.rows(project.root / "x.rnet")
    found = hints.hints(analysis, rows, POSITIONS.whole(analysis.source), POSITIONS)
    by_line = {hint.position.line + 1: hint.position.character for hint in found}
    lines = NET.splitlines()
    assert by_line[12] == len(lines[11])
    assert by_line[14] == len(lines[13])


def test_instances_that_differ_are_told(project: Project) -> None:
    project.open(NET.replace("unit(16,", "unit(if first then 16 else 32,"))
    assert project.hints()[7] == "16x16x16 …"
    row = next(r for r in project.workspace.rows(project.root / "x.rnet").values() if r.others)
    assert "in layer1.0 of tiny" in hints.told(row)
    assert "1 with" in hints.told(row)


def test_only_the_asked_lines_are_hinted(project: Project) -> None:
    analysis = project.open(NET)
    rows = project.workspace.rows(project.root / "x.rnet")
    within = lsp.Range(lsp.Position(11, 0), lsp.Position(12, 0))
    found = hints.hints(analysis, rows, within, POSITIONS)
    assert [hint.position.line for hint in found] == [11]


def test_a_template_shows_the_shapes_of_the_first_network_that_uses_it(project: Project) -> None:
    text = "network t(n: int) { input 3x8x8 conv(1x1, n) }\nnetwork a = t(4)\nnetwork b = t(5)\n"
    project.open(text)
    assert project.hints() == {1: "4x8x8"}


def test_several_tensors_that_flow_are_shown_together(project: Project) -> None:
    project.open("network n {\n  input 3x8x8\n  from here, here\n  add\n}\n")
    assert project.hints() == {3: "3x8x8, 3x8x8", 4: "3x8x8"}


def test_a_library_borrows_shapes_from_a_file_that_imports_it(project: Project) -> None:
    project.write("net.rnet", "use .lib { b }\nnetwork n { input 3x8x8 b(4) }\n")
    project.open("block b(n: int) {\n  conv(1x1, n)\n}\n", "lib.rnet")
    assert project.hints("lib.rnet") == {2: "4x8x8"}


def test_hints_stay_while_a_row_is_being_typed(project: Project) -> None:
    project.open(NET)
    before = project.hints()
    project.open(NET.replace("conv(3x3, 8) -> act", "conv(3x3, 8) -> a"))
    assert project.hints() == before
    project.open(NET.replace("stem: conv(3x3, 8) -> act", "stem: conv(3x3,"))
    assert project.hints() == {line: hint for line, hint in before.items() if line != 12}


def test_hints_move_with_their_rows_while_the_text_is_wrong(project: Project) -> None:
    project.open(NET)
    before = project.hints()
    project.open("network broken {\n\n" + NET)
    assert project.hints() == {line + 2: hint for line, hint in before.items()}


def test_a_good_part_of_a_wrong_file_has_fresh_hints(project: Project) -> None:
    project.open("block b() { conv(\n\nnetwork n {\n  input 3x8x8\n  conv(1x1, 5)\n}\n")
    assert project.hints() == {5: "5x8x8"}


def test_rows_are_carried_around_a_change() -> None:
    before = "aa bb cc"
    rows = {(0, 2): 1, (3, 5): 2, (6, 8): 3}
    assert carried(before, "aa bxxb cc", rows) == {(0, 2): 1, (8, 10): 3}  # type: ignore
    assert carried(before, before, rows) == rows  # type: ignore


# ----------------------------------------------------------------------------------------- hover


def test_hover_on_a_layer_tells_signature_shape_and_cost(project: Project) -> None:
    project.open(NET)
    text = project.hover("conv(3x3, 8)")
    assert "ambient conv: layer = conv2d" in text
    assert "**8x32x32** · 216 parameters · 221,184 MACs" in text
    assert "in tiny" in text


def test_hover_on_a_block_tells_its_signature_and_comment(project: Project) -> None:
    project.open(NET)
    text = project.hover("pair")
    assert "block pair(width: int, stride: int = 1)" in text
    assert "Two convolutions." in text


@pytest.mark.parametrize(
    ("mark", "skip", "told"),
    [
        ("inner", 1, "let inner = width // 2"),
        ("width", 1, "width: int"),
        ("stride=stride", 0, "stride: size = 1"),
        ("first", 0, "BUILTIN first"),
        ("add", 0, "BUILTIN add"),
        ("layer1", 0, "a part of the names of parameters in `tiny`"),
        ("wide", 0, "network wide = tiny with classes = 100"),
        ("classes = 100", 0, "classes: int = 10"),
    ],
)
def test_hover_on_a_name(project: Project, mark: str, skip: int, told: str) -> None:
    project.open(NET)
    expected = BUILTINS[told.split()[1]] if told.startswith("BUILTIN") else told
    assert expected in project.hover(mark, skip)


def test_hover_over_nothing_is_nothing(project: Project) -> None:
    analysis = project.open(NET)
    assert hover.hover(analysis, {}, project.at("=> 32x32"), POSITIONS) is None


def test_every_name_of_the_language_is_explained() -> None:
    assert {*FUNCTIONS, *STRUCTURES, *IMPLICIT} <= set(BUILTINS)


def test_a_doc_comment_is_the_lines_right_above() -> None:
    text = "## far\n\n## one\n## two\nblock b() { act }\n# plain\nblock c() { act }\n"
    first, second = parse_what_can_be(Source("x", text)).file.decls
    assert doc_of(first) == "one\ntwo"
    assert doc_of(second) == ""


# ----------------------------------------------------------------------------------------- tokens


def unpacked(analysis: Analysis) -> list[tuple[str, str, int]]:
    """Text, type and modifiers of every semantic token."""
    data = tokens.semantic_tokens(analysis, POSITIONS).data
    lines = analysis.source.text.split("\n")
    line = column = 0
    found = []
    for at in range(0, len(data), 5):
        down, right, length, kind, modifiers = data[at : at + 5]
        line, column = line + down, right if down else column + right
        text = lines[line][column : column + length]
        found.append((text, tokens.LEGEND.token_types[kind], modifiers))
    return found


def test_semantic_tokens_tell_what_names_mean(project: Project) -> None:
    found = unpacked(project.open(NET))
    for token in [
        ("block", "keyword", 0),
        ("pair", "function", 1),
        ("pair", "function", 0),
        ("width", "parameter", 1),
        ("inner", "variable", 0),
        ("conv1", "property", 1),
        ("conv", "variable", 2),
        ("tiny", "class", 1),
        ("first", "variable", 2),
        ("3x32x32", "number", 0),
        ("int", "type", 2),
        ("## Two convolutions.", "comment", 0),
    ]:
        assert token in found


def test_names_inside_a_string_are_tokens_of_their_own(project: Project) -> None:
    found = unpacked(project.open('network n(k: int = 2) { input 3x8x8 "c{k}": conv(1x1, 3) }\n'))
    at = found.index(('"c{', "string", 0))
    assert found[at : at + 3] == [('"c{', "string", 0), ("k", "parameter", 0), ('}"', "string", 0)]
