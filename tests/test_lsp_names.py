"""Where names are from and where they are used, and giving them others."""

from __future__ import annotations

from pathlib import Path

import pytest
from lsp_project import NET, POSITIONS, Project, project

from resnetc.lsp import navigation

__all__ = ["project"]


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
