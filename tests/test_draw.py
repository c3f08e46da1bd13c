"""Pictures: everything that matters is on them, nothing overlaps, and they stay as they were."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import programs
import pytest
import small_graphs
from hypothesis import given, settings

import resnetc
from resnetc.analysis.cost import cost
from resnetc.cli.main import run
from resnetc.diagnostics import UsageError
from resnetc.drawing import draw
from resnetc.drawing.layout import Layout, Sizes, lay_out
from resnetc.drawing.lines import lines
from resnetc.drawing.picture import Form, picture
from resnetc.drawing.repeats import collapse
from resnetc.drawing.sections import sections
from resnetc.ir import Graph
from resnetc.ops import Role

ROOT = Path(__file__).parent.parent
SVG = "{http://www.w3.org/2000/svg}"

BRANCHES = """rnet 1

network branches {
  input 3x32x32
  stem: conv(3x3, 8, stride=2) -> norm -> act
  inception: concat {
    | a: conv(1x1, 4)
    | b: seq { conv(1x1, 4) -> conv(3x3, 4) }
    | maxpool(3x3) -> c: conv(1x1, 4)
  }
  residual {
    one: conv(3x3, 12)
    se: squeeze_excite(4)
  }
  residual(shortcut=C) { two: conv(3x3, 12) -> three: conv(3x3, 12) }
  four: conv(3x3, 8) as wide
  aux extra: seq { gap -> flatten -> linear(5) }
  gap -> flatten -> fc: linear(5)
}
"""


def graph(name: str) -> Graph:
    return resnetc.load(name).graph


@pytest.fixture
def branches(tmp_path: Path) -> Graph:
    (tmp_path / "branches.rnet").write_text(BRANCHES)
    return graph(str(tmp_path / "branches.rnet"))


def laid_out(of: Graph) -> Layout:
    return lay_out(picture(of), Sizes(100))


def texts(svg: str, class_: str) -> list[str]:
    found = ET.fromstring(svg).iter(f"{SVG}text")
    return ["".join(text.itertext()) for text in found if text.get("class") == class_]


# ------------------------------------------------------------------------------ what is drawn


def test_the_papers_figure() -> None:
    svg = draw(graph("resnet34"))
    boxes = texts(svg, "what")
    assert boxes[:3] == ["input 3x224x224", "7x7 conv, 64, /2", "3x3 max pool, /2"]
    assert boxes.count("3x3 conv, 64") == 6
    assert boxes.count("3x3 conv, 128, /2") == 1
    assert boxes.count("+") == 16
    assert boxes[-2:] == ["global avg pool", "fc, 1000"]
    assert texts(svg, "size") == [f"{n}x{n}" for n in (224, 112, 56, 28, 14, 7)]
    assert svg.count('class="line dotted"') == 3
    assert texts(svg, "caption") == [f"1x1 conv, {n}, /2" for n in (128, 256, 512)]


def test_option_a_is_dotted_without_a_projection() -> None:
    svg = draw(graph("resnet34_a"))
    assert svg.count('class="line dotted"') == 3
    assert texts(svg, "caption") == []


def test_a_plain_network_is_a_chain() -> None:
    shown = picture(graph("plain34"))
    assert all(edge.source is not edge.target for edge in shown.edges)
    assert len(shown.edges) == len(shown.vertices) - 1
    assert {vertex.form for vertex in shown.vertices} == {Form.IMAGE, Form.BOX}


def test_every_layer_with_weights_is_a_box_or_a_projection() -> None:
    for name in ("resnet18", "resnet34_c", "resnet50"):
        of = graph(name)
        weighted = [n for n in of if any(p.role is Role.WEIGHT for p in n.parameters)]
        shown = picture(of)
        drawn = sum(v.form is Form.BOX and bool(v.node.parameters) for v in shown.vertices)
        projections = sum(bool(edge.caption) for edge in shown.edges)
        assert drawn + projections == len(weighted)


def test_branches_stand_side_by_side(branches: Graph) -> None:
    layout = laid_out(branches)
    place = {vertex.name: (layout.x[vertex], layout.rows[vertex]) for vertex in layout.x}
    columns = [place[name][0] for name in ("inception.a", "inception.b.0", "inception.maxpool")]
    assert columns == sorted(columns)
    assert len(set(columns)) == 3
    assert sum(columns) == pytest.approx(0)
    assert place["inception.b.1"][0] == place["inception.b.0"][0]
    assert place["inception.concat"][0] == place["stem"][0] == 0


def test_a_shortcut_around_a_gated_body_projects_as_a_line(branches: Graph) -> None:
    shown = picture(branches)
    assert [edge.caption for edge in shown.edges if edge.dotted] == ["1x1 conv, 12"]
    gate = next(vertex for vertex in shown.vertices if vertex.text == "\N{MULTIPLICATION SIGN}")
    assert len(shown.into()[gate]) == 2


def test_branches_of_one_length_are_no_projections(tmp_path: Path) -> None:
    text = "network n { input 3x8x8  add { | a: conv(3x3, 8) | b: conv(1x1, 8) } }"
    (tmp_path / "n.rnet").write_text(text)
    layout = laid_out(graph(str(tmp_path / "n.rnet")))
    assert not any(edge.dotted for edge in layout.picture.edges)
    sides = [x for vertex, x in layout.x.items() if vertex.form is Form.BOX]
    assert len(sides) == 2
    assert sum(sides) == 0


def test_a_head_of_training_only_stands_aside(branches: Graph) -> None:
    layout = laid_out(branches)
    aside = {vertex.name for vertex in layout.x if vertex.aside}
    assert aside == {"extra.0", "extra.2"}
    rows = {layout.rows[vertex] for vertex in layout.x if vertex.aside}
    beside = [v for v in layout.x if not v.aside and layout.rows[v] in rows]
    assert len(beside) == 2
    assert all(layout.x[v] > max(layout.x[b] for b in beside) for v in layout.x if v.aside)
    said = texts(draw(branches), "out")
    assert said == ["extra, in training only", "45 parameters"]


# ------------------------------------------------------------------------------ collapsed


def test_equal_blocks_are_drawn_once() -> None:
    shown = collapse(picture(graph("resnet152")))
    counts = [len(repeat.paths) for repeat in shown.repeats]
    assert counts == [2, 7, 35, 2]
    assert shown.repeats[2].paths[0] == "layer3.1"
    assert shown.repeats[2].paths[-1] == "layer3.35"
    assert sum(vertex.form is Form.BOX for vertex in shown.vertices) == 1 + 1 + 4 * 2 * 3 + 2


def test_deep_networks_are_collapsed_unless_asked_for() -> None:
    deep = graph("resnet50")
    assert draw(deep) == draw(deep, expand=False) != draw(deep, expand=True)
    shallow = graph("resnet34")
    assert draw(shallow) == draw(shallow, expand=True) != draw(shallow, expand=False)


def test_what_is_collapsed_is_counted_all_the_same() -> None:
    of = graph("resnet152")
    layout = lay_out(collapse(picture(of)), Sizes(100))
    parts = sections(of, layout)
    labels = ["conv1", "maxpool", "layer1", "layer2", "layer3", "layer4", "gap", "fc"]
    assert [part.label for part in parts] == labels
    assert sum(part.cost.params for part in parts) == cost(of).params
    assert sum(part.cost.macs for part in parts) == cost(of).macs
    assert parts[5].output == "2048x7x7"


def test_blocks_that_read_something_else_are_not_collapsed(tmp_path: Path) -> None:
    body = "s{0}: seq {{ conv(3x3, 4) -> conv(3x3, 4) }}"
    rows = [body.format(i) + (" as one" if i == 1 else "") for i in range(4)]
    chain = "network n {{ input 4x8x8\n{}\n}}"
    (tmp_path / "n.rnet").write_text(chain.format("\n".join(rows)))
    whole = collapse(picture(graph(str(tmp_path / "n.rnet"))))
    assert [len(repeat.paths) for repeat in whole.repeats] == [4]
    rows.append("add { | identity | from one }")
    (tmp_path / "n.rnet").write_text(chain.format("\n".join(rows)))
    read = collapse(picture(graph(str(tmp_path / "n.rnet"))))
    assert [repeat.paths for repeat in read.repeats] == [("s0", "s1"), ("s2", "s3")]
    assert len(read.edges) == len(read.vertices)


def test_repeats_of_a_collapsed_block_name_the_part_they_stand_for() -> None:
    said = texts(draw(graph("mobilenet_v3_small")), "said")
    assert "features.5 … 6" in said
    assert "features.10 … 11" in said


# ------------------------------------------------------------------------------ layout


def overlaps(layout: Layout) -> list[tuple[str, str]]:
    half = layout.sizes.box_width / 2
    by_row: dict[int, list[tuple[float, str]]] = {}
    for vertex, row in layout.rows.items():
        by_row.setdefault(row, []).append((layout.x[vertex], vertex.name))
    neighbours = [pair for row in by_row.values() for pair in pairwise(sorted(row))]
    return [(a[1], b[1]) for a, b in neighbours if b[0] - a[0] < 2 * half]


@settings(max_examples=60, deadline=None)
@given(of=small_graphs.random_graphs())
def test_nothing_overlaps_and_lines_lead_down(of: Graph) -> None:
    layout = laid_out(of)
    assert overlaps(layout) == []
    for edge in layout.picture.edges:
        assert layout.bottom(edge.source) < layout.top(edge.target)
    assert len(lines(layout)) == len(layout.picture.edges)
    for expand in (True, False):
        root = ET.fromstring(draw(of, expand=expand))
        assert root.tag == f"{SVG}svg"


@settings(max_examples=30, deadline=None)
@given(program=programs.programs())
def test_what_is_collapsed_leaves_no_loose_end(
    tmp_path_factory: pytest.TempPathFactory, program: programs.Program
) -> None:
    path = tmp_path_factory.mktemp("collapsed") / "n.rnet"
    path.write_text(program.text)
    of = graph(str(path))
    whole, shown = picture(of), collapse(picture(of))
    assert {end for edge in shown.edges for end in (edge.source, edge.target)} <= set(
        shown.vertices
    )
    outputs = [name for vertex in shown.vertices for name in vertex.outputs]
    assert outputs == [name for vertex in whole.vertices for name in vertex.outputs]
    assert overlaps(lay_out(shown, Sizes(100))) == []


@pytest.mark.parametrize("name", ["googlenet", "inception_v3", "shufflenet_v2_x0_5"])
def test_nothing_overlaps_on_large_pictures(name: str) -> None:
    assert overlaps(laid_out(graph(name))) == []


def test_the_page_holds_all_that_is_on_it(branches: Graph) -> None:
    for of in (branches, graph("resnet50")):
        root = ET.fromstring(draw(of))
        width, height = (float(root.get(key, "0")) for key in ("width", "height"))
        left, top = map(float, re.findall(r"[\d.]+", root.find(f"{SVG}g").get("transform", "")))  # type: ignore[union-attr]
        for box in root.iter(f"{SVG}rect"):
            if box.get("class") == "page":
                continue
            x, y = float(box.get("x", "0")), float(box.get("y", "0"))
            assert left + x >= 0
            assert left + x + float(box.get("width", "0")) <= width
            assert top + y + float(box.get("height", "0")) <= height


def test_the_same_operand_twice_is_two_lines() -> None:
    b = small_graphs.Builder("twice")
    x = b.add(small_graphs.Conv2d, "conv", b.input(3, 4, 4), kernel=(3, 3))
    layout = laid_out(b.graph(out=b.add(small_graphs.Add, "add", x, x)))
    paths = [line.path for line in lines(layout)]
    assert len(set(paths)) == len(paths) == 3


# ------------------------------------------------------------------------------ files


@pytest.mark.parametrize("name", ["resnet34", "resnet152", "googlenet", "densenet121"])
def test_pictures_stay_as_they_are(name: str, golden: Callable[[str, str], None]) -> None:
    golden(f"{name}.svg", draw(graph(name)))


def test_the_documents_picture_is_what_the_command_draws(tmp_path: Path) -> None:
    assert run(["draw", "resnet34", "-o", str(tmp_path / "resnet34.svg")]) == 0
    assert (tmp_path / "resnet34.svg").read_bytes() == (ROOT / "docs/resnet34.svg").read_bytes()


def test_a_picture_needs_nothing_but_itself() -> None:
    svg = draw(graph("resnet18"))
    links = re.findall(r"https?://[^\"' ]+", svg)
    assert links == ["http://www.w3.org/2000/svg"]
    assert "url(" not in svg
    assert "prefers-color-scheme:dark" in svg


def test_names_cannot_break_out(tmp_path: Path) -> None:
    text = 'network n { input 3x8x8  "a<b&c": conv(3x3, 4) as x  output x }'
    (tmp_path / "n.rnet").write_text(text)
    root = ET.fromstring(draw(graph(str(tmp_path / "n.rnet"))))
    assert any("a<b&c" in (title.text or "") for title in root.iter(f"{SVG}title"))


def test_the_command_prints_the_picture(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["draw", "resnet20", "--set", "depth=8", "--expand"]) == 0
    printed = capsys.readouterr().out
    assert texts(printed, "what").count("3x3 conv, 64") == 1
    with pytest.raises(UsageError):
        resnetc.load("resnet21")
    assert run(["draw", "resnet21"]) == 2
