"""What rows, names, merges, shortcuts and layers as values mean."""

from __future__ import annotations

import pytest
from spec_files import Folder, folder, ops, output, weights

from resnetc.diagnostics import CompileError
from resnetc.lang.place import MAX_BLOCK_DEPTH

__all__ = ["folder"]


# ------------------------------------------------------------------------------------------- names


def test_names_follow_the_four_rules(folder: Folder) -> None:
    before = """
block unit(w: int) { conv1: conv(3x3, w) -> bn1: norm }
block twice(w: int) { a: unit(w)  b: unit(w) }
"""
    cases = {
        "x: conv(3x3)": ["x.weight"],
        "conv(3x3)": ["weight"],
        "seq { conv(3x3) -> norm -> act -> conv(1x1) }": ["0.weight", "1.weight", "3.weight"],
        "s: seq { act -> conv(3x3)  a: norm  conv(1x1) }": [
            "s.1.weight",
            "s.a.weight",
            "s.2.weight",
        ],
        "s: seq { if true { conv(3x3) }  for i in 0..2 { conv(1x1) } }": [
            "s.0.weight",
            "s.1.weight",
            "s.2.weight",
        ],
        "s: seq { conv(3x3) * 2  conv(1x1) }": ["s.0.weight", "s.1.weight", "s.2.weight"],
        "s: seq { c: conv(3x3) * 2  conv(1x1) }": ["s.c.0.weight", "s.c.1.weight", "s.0.weight"],
        "s: seq { seq { conv(3x3) } }": ["s.0.0.weight"],
        "s: seq { group { conv(3x3) } }": ["s.0.weight"],
        "s: group { a: conv(3x3)  group { b: conv(1x1) } }": ["s.a.weight", "s.b.weight"],
        "group { seq { conv(3x3) } }": ["0.weight"],
        "c: conv(3x3) * 3": ["c.0.weight", "c.1.weight", "c.2.weight"],
        "l: unit(4) * 2": [
            "l.0.conv1.weight",
            "l.0.bn1.weight",
            "l.1.conv1.weight",
            "l.1.bn1.weight",
        ],
        "unit(4)": ["conv1.weight", "bn1.weight"],
        "t: twice(4)": ["t.a.conv1.weight", "t.a.bn1.weight", "t.b.conv1.weight", "t.b.bn1.weight"],
        "s: seq { unit(4)  unit(4) }": [
            "s.0.conv1.weight",
            "s.0.bn1.weight",
            "s.1.conv1.weight",
            "s.1.bn1.weight",
        ],
        '"a.b": conv(3x3)': ["a.b.weight"],
        'for i in 0..2 { "c{i + 1}.x": conv(3x3) }': ["c1.x.weight", "c2.x.weight"],
        "7: conv(3x3)": ["7.weight"],
        'network: conv(3x3)  "if": conv(1x1)': ["network.weight", "if.weight"],
        "r: residual { c: conv(3x3, 8) }": [
            "r.c.weight",
            "r.downsample.0.weight",
            "r.downsample.1.weight",
        ],
        "residual { c: conv(3x3, 8) }": ["c.weight", "downsample.0.weight", "downsample.1.weight"],
        "s: seq { residual(shortcut=plain) { c: conv(3x3) }  conv(3x3) }": [
            "s.0.c.weight",
            "s.1.weight",
        ],
        "a: concat { | x: conv(3x3)  | y: conv(3x3) }": ["a.x.weight", "a.y.weight"],
        'concat { | [for i in 0..2] "b{i}": conv(3x3) }': ["b0.weight", "b1.weight"],
        "set norm = none\n s: seq { conv(3x3) -> norm -> conv(3x3) }": ["s.0.weight", "s.1.weight"],
    }
    for statements, expected in cases.items():
        assert weights(folder.body(statements, before)) == expected, statements


def test_index_first_and_last(folder: Folder) -> None:
    text = """
block unit(w: int, down: bool, final: bool) {
  c: conv(3x3, w + (if final then 100 else 0), stride=if down then 2 else 1)
}
network n(count: int) { input 4x8x8  l: unit(index + 1, first, last) * count }
"""
    graph = folder.graph(text, {"count": "3"})
    made = [(n.type.shape[0], n.op.stride[0]) for n in graph if n.op.name == "conv2d"]
    assert made == [(1, 2), (2, 1), (103, 1)]
    (only,) = [n for n in folder.graph(text, {"count": "1"}) if n.op.name == "conv2d"]
    assert (only.type.shape[0], only.op.stride) == (101, (2, 2))
    with pytest.raises(CompileError, match="cannot repeat -1 times"):
        folder.graph(text, {"count": "-1"})
    assert ops(folder.graph(text, {"count": "0"})) == ["input"]


def test_a_block_sees_its_parameters_and_file_only(folder: Folder) -> None:
    text = "block b { c: conv(3x3, w) }\nnetwork n(w: int = 4) { input 4x8x8  let w = 4  b }\n"
    assert folder.codes(text) == ["E0201"]
    folder.write("const w = 6\nblock inner { c: conv(3x3, w) }\n", "lib.rnet")
    graph = folder.graph("use lib { inner }\nconst w = 5\nnetwork n { input 4x8x8  inner }\n")
    assert output(graph) == (6, 8, 8)


@pytest.mark.parametrize(
    ("text", "codes"),
    [
        ("fn f(x: int) -> int = index", ["E0201"]),
        ("fn f(x: int) -> int = here.channels", ["E0201"]),
        ("block b { c: conv(3x3, index + 1) }", ["E0201"]),
        ("block b { c: conv(3x3, index + 1) * 2 }", []),
        ("block b { c: seq { conv(3x3, index + 1) } * 2 }", []),
        ('block b { "{index}": conv(3x3) * 2 }', []),
        ("block b { relu * index }", ["E0201"]),
        ("block b { c: conv(3x3, here.channels)  d: conv(3x3, input.channels) }", []),
        ("block b { c: conv(3x3, output.channels) }", ["E0201"]),
        ("shortcut s { | [if first] relu }", ["E0201"]),
        ("shortcut s { | [if changed] conv(1x1, output.channels, stride=stride) }", []),
        ("network t(w: int) { conv(3x3, stride) }", ["E0201"]),
        ("const c = input", ["E0201"]),
    ],
)
def test_what_is_known_where(folder: Folder, text: str, codes: list[str]) -> None:
    """Seen in what nothing uses, too."""
    assert folder.codes(text) == codes


def test_lets_stay_in_their_body(folder: Folder) -> None:
    assert folder.codes("network n { input 4x8x8  if true { let a = 3 }  conv(3x3, a) }") == [
        "E0201"
    ]
    assert output(folder.body("let a = 3  if true { let a = 5 }  conv(3x3, a)")) == (3, 8, 8)
    assert output(folder.body("let a = 3  for i in 0..2 { let a = 5 }  conv(3x3, a)")) == (3, 8, 8)
    assert output(folder.body("let i = 3  for i in 0..2 { relu }  conv(3x3, i)")) == (3, 8, 8)
    assert output(folder.body("let a = 3  seq { let a = 5 }  conv(3x3, a)")) == (3, 8, 8)
    assert ops(folder.body("for i in 0..1 { set act = sigmoid }  act"))[-1] == "relu"
    assert output(folder.body("let a = 3  if true { let a = a + 5  conv(3x3, a) }")) == (8, 8, 8)


# --------------------------------------------------------------------------------- flow and merges


def test_from_and_as(folder: Folder) -> None:
    graph = folder.body("a: conv(3x3, 6) as x, y  b: conv(3x3, 2)  from x -> c: conv(1x1, 3)")
    assert output(graph) == (3, 8, 8)
    assert weights(graph) == ["a.weight", "c.weight"]  # what no output needs is dropped
    assert output(folder.body("a: conv(3x3, 6) as x  from x, input -> concat")) == (10, 8, 8)
    assert output(folder.body("a: conv(3x3, 6)  from here, input, here -> concat")) == (16, 8, 8)


def test_here_goes_on_through_loops_and_choices(folder: Folder) -> None:
    last = "last: conv(1x1, 2 * here.channels)"
    for before, channels in (
        ('for w in [5, 7] { "s{w}": seq { conv(3x3, w) } }', 14),
        ("if true { seq { conv(3x3, 6) } }", 12),
        ("s: seq { for w in [5, 7] { conv(3x3, w) }  conv(3x3, 3 * here.channels) }", 42),
        ("", 8),
        ('for i in 0..3 { "s{i}": conv(1x1, 2 * here.channels) }', 64),
        ("s: conv(1x1, 2 * here.channels) * 3", 64),
        ("seq { conv(1x1, 2 * here.channels) * 3 }", 64),
        ("s: seq { conv(1x1, 3 * here.channels)  conv(1x1, here.channels - 2) } * 2", 56),
    ):
        assert output(folder.body(f"{before}  {last}"))[0] == channels


def test_lists_of_tensors_grow_where_they_begin(folder: Folder) -> None:
    grown = 'relu as xs[]  for i in 0..3 { "c{i}": conv(3x3, i + 1) as xs[] }  from xs -> concat'
    assert output(folder.body(grown)) == (4 + 1 + 2 + 3, 8, 8)
    sliced = "a: conv(3x3, 2) as xs[]  b: conv(3x3, 3) as xs[]  relu as xs[]  from xs[1:] -> concat"
    assert output(folder.body(sliced)) == (3 + 3, 8, 8)
    picked = "a: conv(3x3, 2) as xs[]  b: conv(3x3, 3) as xs[]  from xs[0] -> relu"
    assert output(folder.body(picked)) == (2, 8, 8)
    assert output(folder.body("relu as xs[]  gap as xs[]  conv(1x1, len(xs))")) == (2, 1, 1)
    inside = 'for i in 0..3 { "c{i}": conv(3x3, 1) as xs[] }  from xs -> concat'
    assert folder.codes(f"network n {{ input 4x8x8  {inside} }}") == ["E0201"]
    before = "block join(xs: list[tensor]) { from xs -> concat }\n"
    assert output(folder.body("relu as xs[], xs[]  join(xs)", before)) == (8, 8, 8)


def test_merges(folder: Folder) -> None:
    assert ops(folder.body("add { | identity  | relu }")) == ["input", "relu", "add"]
    graph = folder.body("mul { | identity  | gap -> sigmoid }")
    assert output(graph) == (4, 8, 8)
    assert ops(graph)[-1] == "mul"
    guarded = "concat {{ | identity  | [if {}] relu  | [for i in 0..3 if i != 1] {} }}"
    guarded = guarded.replace("i != 1] {}", 'i != 1] "{{i}}": conv(1x1, i + 1)')
    assert output(folder.body("s: seq { " + guarded.format("true") + " }")) == (4 + 4 + 1 + 3, 8, 8)
    assert output(folder.body("s: seq { " + guarded.format("false") + " }")) == (8, 8, 8)
    assert ops(folder.body("add { | relu }")) == ["input", "relu"]  # one branch needs no add
    rows = "add { | a: conv(3x3)\n b: conv(3x3)\n | identity }"
    assert weights(folder.body(rows)) == ["a.weight", "b.weight"]


def test_operands_keep_their_order(folder: Folder) -> None:
    graph = folder.body(
        "a: conv(3x3, 2) as x  from input -> b: conv(3x3, 3) as y  from y, x -> concat"
    )
    (concat,) = [node for node in graph if node.op.name == "concat"]
    assert [graph[i].type.shape[0] for i in concat.inputs] == [3, 2]
    graph = folder.body("relu as x  from x, x -> add")
    (add,) = [node for node in graph if node.op.name == "add"]
    assert len(add.inputs) == 2


def test_residual(folder: Folder) -> None:
    graph = folder.body("r: residual { c: conv(3x3) }")
    assert ops(graph) == ["input", "conv2d", "add", "relu"]
    add = next(node for node in graph if node.op.name == "add")
    assert [graph[i].op.name for i in add.inputs] == ["conv2d", "input"]
    assert ops(folder.body("residual(act=none) { c: conv(3x3) }"))[-1] == "add"
    assert ops(folder.body("residual(act=sigmoid) { c: conv(3x3) }"))[-1] == "sigmoid"
    wider = "residual(shortcut={}) {{ c: conv(3x3, 8, stride=2) }}"
    kinds = {name: ops(folder.body(wider.format(name))) for name in ("A", "B", "C", "D", "plain")}
    assert kinds["A"] == ["input", "conv2d", "subsample", "pad_channels", "add", "relu"]
    assert kinds["B"] == ["input", "conv2d", "conv2d", "batchnorm", "add", "relu"]
    assert kinds["C"] == kinds["B"]
    assert kinds["D"] == ["input", "conv2d", "avgpool", "conv2d", "batchnorm", "add", "relu"]
    assert kinds["plain"] == ["input", "conv2d", "relu"]
    same = {
        name: ops(folder.body(f"residual(shortcut={name}) {{ c: conv(3x3) }}"))
        for name in ("A", "B", "C", "when_same")
    }
    assert same["A"] == same["B"] == same["when_same"] == ["input", "conv2d", "add", "relu"]
    assert same["C"] == ["input", "conv2d", "conv2d", "batchnorm", "add", "relu"]


def test_option_a_puts_its_zeros_where_it_is_told(folder: Folder) -> None:
    wider = "residual(shortcut=A{}) {{ c: conv(3x3, 10) }}"
    for argument, before in (("", 0), ('(sides="both")', 3), ('("after")', 0)):
        graph = folder.body(wider.format(argument))
        (pad,) = [node.op for node in graph if node.op.name == "pad_channels"]
        assert (pad.to, pad.before) == (10, before)


def test_policies_see_both_ends(folder: Folder) -> None:
    policy = """
shortcut mine(extra: int) {
  | [if changed] p: conv(1x1, output.channels, stride=stride)
  | [if input.channels == 4 and output.height == 4 and stride == 2 and extra == 7] identity
}
"""
    with pytest.raises(CompileError, match="E0401"):
        folder.body("residual(shortcut=mine(7)) { c: conv(3x3, 8, stride=2) }", policy)
    graph = folder.body("residual(shortcut=mine(6)) { c: conv(3x3, 8, stride=2) }", policy)
    assert weights(graph) == ["c.weight", "p.weight"]


def test_shape_assertions(folder: Folder) -> None:
    for good in ("=> 4x8x8", "=> 8x8", "=> 8", "=> [8]", "=> [4, 8, 8]", "=> input.shape"):
        assert folder.body(f"relu {good}")
    for bad in ("=> 4x8x9", "=> 9x8", "=> 7", "=> 1x4x8x8"):
        assert folder.codes(f"network n {{ input 4x8x8 relu {bad} }}") == ["E0403"], bad


def test_inputs_and_outputs(folder: Folder) -> None:
    graph = folder.body("a: conv(3x3, 2) as x  b: conv(3x3, 3) as y  output y, x")
    assert {name: graph[i].type.shape[0] for name, i in graph.outputs.items()} == {"y": 3, "x": 2}
    assert list(folder.body("relu").outputs) == ["logits"]
    graph = folder.graph("network n { input 16  fc: linear(3) }")
    assert [node.type.shape for node in graph] == [(16,), (3,)]
    graph = folder.graph("network n(side: int = 6) { input [3, side, side // 2]  relu }")
    assert [node.type.shape for node in graph] == [(3, 6, 3)] * 2
    assert folder.codes("network n { input [3, 8.5, 8]  relu }") == ["E0301"]
    assert folder.codes("network n { input [3, 0, 8]  relu }") == ["E0301"]
    assert folder.codes("network n { input []  relu }") == ["E0301"]
    graph = folder.graph("block stem { input 3x8x8  c: conv(3x3) }\nnetwork n { s: stem }")
    assert weights(graph) == ["s.c.weight"]


# -------------------------------------------------------------------------------- values of layers


def test_layers_take_arguments_a_few_at_a_time(folder: Folder) -> None:
    before = "block unit(a: int, b: int = 2, c: int = 3) { x: conv(1x1, 100 * a + 10 * b + c) }\n"
    for placed, out in [
        ("let u = unit  u(1)", 123),
        ("let u = unit(1)  u", 123),
        ("let u = unit(b=5)  u(1)", 153),
        ("let u = unit(b=5)  u(1, 4)", 154),
        ("let u = unit(b=5)  u(1, b=6)", 163),
        ("let u = unit(1)  u(7, 8)", 178),
        ("let u = unit(b=5)(c=6)  u(a=1)", 156),
    ]:
        assert output(folder.body(placed, before)) == (out, 8, 8), placed


def test_none_places_nothing_and_takes_no_index(folder: Folder) -> None:
    before = "block b(x: layer?) { s: seq { conv(3x3)  x  conv(3x3) } }\n"
    assert weights(folder.body("b(none)", before)) == ["s.0.weight", "s.1.weight"]
    assert weights(folder.body("b(relu)", before)) == ["s.0.weight", "s.2.weight"]


def test_functions(folder: Folder) -> None:
    before = """
const base = 4
fn double(x: int, by: int = 2) -> int = x * by
fn widths(n: int) -> list[int] {
  let all = [double(base, by=i + 1) for i in 0..n]
  return all
}
"""
    assert output(folder.body("conv(1x1, sum(widths(3)))", before)) == (24, 8, 8)
    assert output(folder.body("conv(1x1, make_divisible(37))")) == (40, 8, 8)
    assert output(folder.body("conv(1x1, make_divisible(10.0, 8))")) == (16, 8, 8)
    assert output(folder.body("conv(1x1, make_divisible(33))")) == (32, 8, 8)
    bad = "fn f(x: int) -> int = x / 2\nnetwork n { input 4x8x8  conv(1x1, f(3)) }"
    assert folder.codes(bad) == ["E0301"]


def test_a_shortcut_is_no_block_and_does_not_count_as_one(folder: Folder) -> None:
    deepest = MAX_BLOCK_DEPTH - 1
    blocks = "".join(f"block b{i} {{ b{i + 1} }}\n" for i in range(deepest))
    last = f"block b{deepest} {{ residual(shortcut=plain) {{ c: conv(3x3, 4) }} }}\n"
    assert output(folder.body("b0", blocks + last)) == (4, 8, 8)


def test_a_shortcut_may_place_a_residual_with_another(folder: Folder) -> None:
    before = "shortcut v(x: shortcut) { | residual(shortcut=x, act=none) { d: conv(3x3, 8) } }\n"
    for shortcut, convolutions in (("v(plain)", 2), ("v(C)", 3)):
        body = f"a: seq {{ residual(shortcut={shortcut}) {{ c: conv(3x3, 8) }} }}"
        assert ops(folder.body(body, before)).count("conv2d") == convolutions
    assert folder.codes(
        f"{before}network n {{ input 4x8x8  residual(shortcut=v(v(C))) {{ relu }} }}"
    ) == ["E0408"]
