"""What the language server knows of a text, feature by feature, without a session."""

from __future__ import annotations

from pathlib import Path

import pytest
from lsprotocol import types as lsp

from resnetc.diagnostics import Source, Span, UsageError, apply_edits
from resnetc.lang.builtins import FUNCTIONS
from resnetc.lang.structures import STRUCTURES
from resnetc.lsp import completion, findings, formatting, hints, hover, navigation, rename, tokens
from resnetc.lsp.analysis import Analysis
from resnetc.lsp.docs import BUILTINS, doc_of
from resnetc.lsp.documents import Documents, parse_what_can_be
from resnetc.lsp.indexer import IMPLICIT
from resnetc.lsp.positions import Positions
from resnetc.lsp.symbols import Kind
from resnetc.lsp.workspace import Workspace, carried

POSITIONS = Positions()
NET = """rnet 1

## Two convolutions.
block pair(width: int, stride: int = 1) {
  let inner = width // 2
  conv1: conv(3x3, inner, stride=stride) -> bn1: norm -> act
  conv2: conv(3x3, width)
}

network tiny(unit: block = pair, classes: int = 10) {
  input 3x32x32
  stem: conv(3x3, 8) -> act                            => 32x32
  layer1: unit(16, stride=if first then 2 else 1) * 2  => 16x16
  from here, here -> add
  gap -> flatten -> fc: linear(classes)
}

network wide = tiny with classes = 100
"""


class Project:
    """A workspace on a folder; `x.rnet` is the open file."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.workspace = Workspace([root])
        self.text = ""

    def open(self, text: str, name: str = "x.rnet") -> Analysis:
        if name == "x.rnet":
            self.text = text
        self.workspace.update(self.root / name, text)
        return self.workspace.analysis(self.root / name)

    def write(self, name: str, text: str) -> None:
        (self.root / name).write_text(text)

    def analysis(self, name: str = "x.rnet") -> Analysis:
        return self.workspace.analysis(self.root / name)

    def at(self, mark: str, skip: int = 0) -> int:
        """The offset of a piece of the open text."""
        offset = -1
        for _ in range(skip + 1):
            offset = self.text.index(mark, offset + 1)
        return offset

    def hints(self, name: str = "x.rnet") -> dict[int, str]:
        """The hint of every line, from 1."""
        analysis = self.analysis(name)
        rows = self.workspace.rows(self.root / name)
        found = hints.hints(analysis, rows, POSITIONS.whole(analysis.source), POSITIONS)
        shown = {hint.position.line + 1: str(hint.label) for hint in found}
        assert len(shown) == len(found)
        return shown

    def hover(self, mark: str, skip: int = 0) -> str:
        rows = self.workspace.rows(self.root / "x.rnet")
        found = hover.hover(self.analysis(), rows, self.at(mark, skip), POSITIONS)
        assert found is not None
        assert isinstance(found.contents, lsp.MarkupContent)
        return found.contents.value

    def defined(self, mark: str, skip: int = 0) -> tuple[str, int] | None:
        """File and line, from 1, of the definition of what is written at a mark."""
        found = navigation.definition(self.analysis(), self.at(mark, skip), POSITIONS)
        return found and (found.uri.rpartition("/")[2], found.range.start.line + 1)

    def rename(self, mark: str, new: str, skip: int = 0) -> dict[str, str]:
        """The files as a rename leaves them."""
        edits = rename.rename(self.workspace, self.analysis(), self.at(mark, skip), new)
        by_file: dict[str, list[object]] = {}
        for edit in edits:
            by_file.setdefault(edit.span.source.name, []).append(edit)
        return {
            Path(name).name: apply_edits(inside[0].span.source.text, inside)  # type: ignore
            for name, inside in by_file.items()
        }

    def refused(self, mark: str, new: str, skip: int = 0) -> str:
        with pytest.raises(UsageError) as refusal:
            self.rename(mark, new, skip)
        return str(refusal.value)

    def complete(self, text: str) -> list[str]:
        """What is offered at `|` in a text."""
        offset = text.index("¦")
        analysis = self.open(text.replace("¦", ""))
        items = completion.complete(analysis, self.workspace.documents, offset)
        items.sort(key=lambda item: item.sort_text or "")
        return [item.label for item in items]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


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


# ------------------------------------------------------------------------- definition, references


@pytest.mark.parametrize(
    ("mark", "skip", "line"),
    [
        ("pair", 1, 10),
        ("width", 1, 4),
        ("inner,", 0, 5),
        ("stride)", 0, 4),
        ("unit(16", 0, 10),
        ("tiny with", 0, 10),
        ("classes = 100", 0, 10),
        ("classes)", 0, 10),
    ],
)
def test_definition(project: Project, mark: str, skip: int, line: int) -> None:
    project.open(NET)
    expected = 4 if mark == "pair" else line
    assert project.defined(mark, skip) == ("x.rnet", expected)


def test_definition_of_a_library_name_is_in_the_library(project: Project) -> None:
    project.open(NET)
    found = project.defined("norm")
    assert found is not None
    assert found[0] == "nn.rnet"


def test_definition_through_an_import_and_its_other_name(project: Project) -> None:
    project.write("lib.rnet", "const a = 1\nblock b() { act }\n")
    project.open("use .lib { b as c }\nnetwork n { input 3x8x8 c }\n")
    assert project.defined("c }\n") == ("lib.rnet", 2)
    assert project.defined("lib") == ("lib.rnet", 1)


def test_a_name_in_a_template_string_is_a_use(project: Project) -> None:
    project.open('network n(k: int = 2) {\n  input 3x8x8\n  "c{k + 1}": conv(1x1, 3)\n}\n')
    assert project.defined("k + 1") == ("x.rnet", 1)


def test_names_are_those_of_the_innermost_body(project: Project) -> None:
    project.open(
        "network n(k: int = 2) {\n  input 3x8x8\n"
        "  for k in [1, 2] {\n    conv(1x1, k)\n  }\n"
        "  let xs = [k + 1 for k in 0..3]\n  conv(1x1, k)\n}\n"
    )
    assert project.defined("k)", 0) == ("x.rnet", 3)
    assert project.defined("k + 1") == ("x.rnet", 6)
    assert project.defined("k)", 1) == ("x.rnet", 1)


def test_a_default_sees_what_stands_before_its_parameter(project: Project) -> None:
    project.open("const k = 3\nnetwork n(k: int = k, m: int = k) { input 3x8x8 act }\n")
    assert project.defined("k, m") == ("x.rnet", 1)
    assert project.defined("k)") == ("x.rnet", 2)


def test_a_list_that_grows_is_one_name(project: Project) -> None:
    project.open(
        "network n {\n  input 3x8x8 act as ys[]\n"
        "  for i in 0..2 { act as ys[] }\n  from ys -> concat\n}\n"
    )
    assert project.defined("ys[]", 1) == ("x.rnet", 2)
    assert project.defined("ys ->") == ("x.rnet", 2)


def test_a_signature_gives_its_calls_their_parameters(project: Project) -> None:
    project.open("network n(\n  unit: block(wide: int),\n) {\n  input 3x8x8\n  unit(wide=4)\n}\n")
    assert project.defined("wide=4") == ("x.rnet", 2)
    assert "wide: int" in project.hover("wide=4")


def test_a_layer_that_is_a_parameter_is_called_as_its_default(project: Project) -> None:
    project.open("network n(c: layer = conv2d(bias=true)) { input 3x8x8 c(3x3, 4, stride=2) }\n")
    assert "stride: size = 1" in project.hover("stride")


def test_a_label_that_is_placed_again_is_found(project: Project) -> None:
    project.open("network n {\n  input 3x8x8\n  a: conv(3x3, 3)\n  reuse a\n}\n")
    assert project.defined("a\n}") == ("x.rnet", 3)
    assert project.rename("a:", "b")["x.rnet"].endswith("  b: conv(3x3, 3)\n  reuse b\n}\n")
    assert project.hints() == {3: "3x8x8", 4: "3x8x8"}


def test_references_are_found_in_every_file(project: Project) -> None:
    project.write("other.rnet", "use .x { pair as two }\nnetwork n { input 3x8x8 two(4) }\n")
    analysis = project.open(NET)
    spans = navigation.references(project.workspace, analysis, project.at("pair"), True)
    places = sorted((Path(span.source.name).name, span.line, span.text) for span in spans)
    assert places == [
        ("other.rnet", 1, "pair"),
        ("other.rnet", 1, "two"),
        ("other.rnet", 2, "two"),
        ("x.rnet", 4, "pair"),
        ("x.rnet", 10, "pair"),
    ]
    spans = navigation.references(project.workspace, analysis, project.at("pair"), False)
    assert ("x.rnet", 4) not in [(Path(s.source.name).name, s.line) for s in spans]


def test_document_symbols_are_declarations_and_their_labels(project: Project) -> None:
    found = navigation.symbols(project.open(NET), POSITIONS)
    outline = {s.name: [c.name for c in s.children or ()] for s in found}
    assert outline == {
        "pair": ["conv1", "bn1", "conv2"],
        "tiny": ["stem", "layer1", "fc"],
        "wide": [],
    }


def test_folds_are_bodies_over_several_lines(project: Project) -> None:
    folds = navigation.folds(project.open(NET))
    assert sorted((f.start_line, f.end_line) for f in folds) == [(3, 6), (9, 14)]


# ---------------------------------------------------------------------------------------- rename


@pytest.mark.parametrize(
    ("mark", "skip", "old", "uses"),
    [
        ("pair", 0, "pair", 2),
        ("inner", 0, "inner", 2),
        ("width", 0, "width", 3),
        ("classes", 0, "classes", 3),
        ("layer1", 0, "layer1", 1),
        ("tiny", 0, "tiny", 2),
    ],
)
def test_rename_changes_every_use(
    project: Project, mark: str, skip: int, old: str, uses: int
) -> None:
    project.open(NET)
    after = project.rename(mark, "fresh", skip)["x.rnet"]
    assert after.count("fresh") == uses
    assert project.open(after).findings == ()
    assert project.rename("fresh", old)["x.rnet"] == NET


def test_rename_of_a_parameter_leaves_the_same_name_of_others_alone(project: Project) -> None:
    project.open(
        "block b(stride: int) { conv(3x3, 4, stride=stride) }\n"
        "network n(stride: int = 2) { input 3x8x8 b(stride=stride) }\n"
        "network m = n with stride = 1\n"
    )
    assert project.rename("stride", "step") == {
        "x.rnet": "block b(step: int) { conv(3x3, 4, stride=step) }\n"
        "network n(stride: int = 2) { input 3x8x8 b(step=stride) }\n"
        "network m = n with stride = 1\n"
    }
    after = project.rename("stride: int = 2", "pace")["x.rnet"]
    assert "b(stride=pace)" in after
    assert "n with pace = 1" in after


def test_rename_reaches_the_files_that_import_the_name(project: Project) -> None:
    project.write("a.rnet", "use .x { pair }\nnetwork n { input 3x8x8 pair(4, stride=2) }\n")
    project.write("b.rnet", "use .x { pair as p }\nnetwork n { input 3x8x8 p(4) }\n")
    project.open(NET)
    after = project.rename("pair", "two")
    assert after["a.rnet"] == "use .x { two }\nnetwork n { input 3x8x8 two(4, stride=2) }\n"
    assert after["b.rnet"] == "use .x { two as p }\nnetwork n { input 3x8x8 p(4) }\n"
    after = project.rename("width", "channels")
    assert set(after) == {"x.rnet"}


def test_rename_of_an_import_s_other_name_stays_in_its_file(project: Project) -> None:
    project.write("lib.rnet", "block b() { act }\n")
    project.open("use .lib { b as c }\nnetwork n { input 3x8x8 c }\n")
    assert project.rename("c }\n", "d") == {
        "x.rnet": "use .lib { b as d }\nnetwork n { input 3x8x8 d }\n"
    }


@pytest.mark.parametrize(
    ("mark", "skip", "new", "why"),
    [
        ("pair", 0, "tiny", "another meaning at"),
        ("pair", 0, "conv", "another meaning at"),
        ("pair", 0, "gelu", "is declared at"),
        ("pair", 0, "3x", "is not a name"),
        ("pair", 0, "let", "a word of the language"),
        ("pair", 0, "len", "has a meaning in the language"),
        ("pair", 0, "seq", "has a meaning in the language"),
        ("inner", 0, "width", "another meaning at"),
        ("inner", 0, "norm", "another meaning at"),
        ("conv1", 0, "conv2", "another meaning at"),
        ("conv1", 0, "a b", "cannot be part of a parameter's name"),
        ("norm", 0, "n", "belongs to the language"),
        ("stride=stride", 0, "step", "belongs to the language"),
        ("first", 0, "one", "belongs to the language"),
        ("=> 32", 0, "x", "there is no name here"),
    ],
)
def test_rename_refuses(project: Project, mark: str, skip: int, new: str, why: str) -> None:
    project.open(NET)
    assert why in project.refused(mark, new, skip)


def test_a_label_that_is_no_word_is_quoted(project: Project) -> None:
    project.open(NET)
    assert '"stem.0": conv(3x3, 8)' in project.rename("stem", "stem.0")["x.rnet"]


def test_labels_of_different_modules_do_not_clash(project: Project) -> None:
    text = "network n {\n  input 3x8x8\n  a: seq { c: act }\n  b: seq { d: act }\n}\n"
    project.open(text)
    assert "b: seq { c: act }" in project.rename("d:", "c")["x.rnet"]


def test_rename_is_refused_where_a_file_that_imports_is_broken(project: Project) -> None:
    project.write("a.rnet", "use .x { pair }\n\nnetwork n {\n")
    project.open(NET)
    assert "this mistake has to be mended" in project.refused("pair", "two")


def test_rename_is_refused_where_the_result_would_be_wrong(project: Project) -> None:
    """The block is a value, and is called by a name that no text connects with its parameter."""
    project.open(
        "block b(width: int) { conv(1x1, width) }\n"
        "network t(unit: block) { input 3x8x8 unit(width=4) }\nnetwork n = t(b)\n"
    )
    assert "`b` has no parameter `width`" in project.refused("width", "channels")


def test_rename_follows_a_parameter_that_is_the_block_by_default(project: Project) -> None:
    project.open(NET)
    assert "unit(16, step=if first" in project.rename("stride: int", "step")["x.rnet"]
    project.open(
        NET + "block other(width: int, stride: int) { conv(1x1, width, stride=stride) }\n"
        "network odd = tiny with unit = other\n"
    )
    assert "`other` has no parameter `step`" in project.refused("stride: int", "step")


def test_rename_outside_the_project_is_refused(project: Project, tmp_path: Path) -> None:
    project.open("network n { input 3x8x8 squeeze_excite(2) }\n")
    assert "outside this project" in project.refused("squeeze_excite", "se")


# ------------------------------------------------------------------------------------ completion

HEAD = 'block b(width: int, mode: "up" | "down" = "up") { conv(1x1, width) }\n'


@pytest.mark.parametrize(
    ("text", "offered", "not_offered"),
    [
        ("¦", ["block", "network", "use"], ["conv", "let"]),
        ("network n { ¦", ["let", "input", "conv", "seq", "b"], ["network", "mod", "A"]),
        ("network n { act -> ¦", ["conv2d", "residual", "from"], ["let"]),
        ("network n { conv(¦", ["kernel=", "out=", "true", "len"], ["let", "network"]),
        ("network n { conv(3x3, ¦", ["out=", "stride="], ["kernel="]),
        ("network n { conv(3x3, stride=2, ¦", ["out=", "pad="], ["kernel=", "stride="]),
        ("network n { conv(3x3, str¦", ["stride="], []),
        ("network n { b(4, mode=¦", ['"up"', '"down"'], ["mode="]),
        ('network n { b(4, mode="¦', ["up", "down"], ["conv"]),
        ("network n { set ¦", ["norm", "act", "conv", "shortcut"], ["b", "relu"]),
        ("network n(k: ¦", ["int", "block", "size"], ["conv", "let"]),
        ("network n { let wide = 3 let y = w¦", ["wide"], []),
        ("network n { if true { let inside = 1 } let y = ¦", ["len"], ["inside"]),
        ("network n { for i in 0..3 { conv(1x1, ¦", ["i"], []),
        ("network n(depth: int) { conv(1x1, ¦", ["depth"], []),
        ("network n { act as x let y = x.¦", ["channels", "shape"], ["conv"]),
        ("network n { expect ¦", ["params", "macs"], ["conv"]),
        ("network n = ¦", ["other"], ["conv", "b"]),
        ("network n = other with ¦", ["classes", "norm"], ["conv2d"]),
        ("recipe r { ¦", ["batch", "optimizer"], ["conv"]),
        ("experiment e { ¦", ["network", "recipe", "seed"], ["conv"]),
        ("experiment e { network = ¦", ["other"], ["conv", "b"]),
        ("network n(conv: layer = conv2d(bias=true)) { conv(3x3, ¦", ["out=", "pad="], []),
        ("network n(u: block(wide: int)) { u(¦", ["wide="], ["kernel="]),
        ("# conv ¦", [], ["conv", "block"]),
        ("use ¦", ["std", "lib"], ["conv"]),
        ("use .¦", ["lib"], ["std"]),
        ("use std.¦", ["nn"], ["lib"]),
        ("use .lib { ¦", ["eca", "sca"], ["conv"]),
        ("use .lib { eca, ¦", ["sca"], ["eca"]),
    ],
)
def test_completion(
    project: Project, text: str, offered: list[str], not_offered: list[str]
) -> None:
    project.write("lib.rnet", "block eca() { act }\nblock sca() { act }\n")
    other = "network other(classes: int = 3) { input 3x8x8 conv(1x1, classes) }\n"
    found = project.complete(HEAD + other + text)
    assert [name for name in offered if name not in found] == []
    assert [name for name in not_offered if name in found] == []


def test_what_is_near_is_offered_first(project: Project) -> None:
    found = project.complete("network n(depth: int) { conv(¦")
    assert found.index("kernel=") < found.index("relu")
    assert found.index("depth") < found.index("relu")


def test_a_call_shows_its_signature(project: Project) -> None:
    text = "network n { conv(3x3, ¦"
    analysis = project.open(text.replace("¦", ""))
    shown = completion.signature_help(analysis, text.index("¦"))
    assert shown is not None
    assert shown.signatures[0].label.startswith("conv(kernel: size, out: int? = none")
    assert shown.active_parameter == 1


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
