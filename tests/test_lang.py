"""What the language means, construct by construct."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest
from spec_files import Folder, folder, ops, output, weights

import resnetc
from resnetc import resources
from resnetc.diagnostics import CompileError, Source, UsageError, render
from resnetc.driver import check_file, load
from resnetc.lang import syntax as s
from resnetc.lang.evaluate import Env, Evaluator
from resnetc.lang.modules import Module
from resnetc.lang.parser import parse, parse_expression
from resnetc.lang.values import convert, show
from resnetc.ops import PRIMITIVES

__all__ = ["folder"]

EMPTY = Module(Path("x"), parse(Source("x", "")))


def value(text: str) -> object:
    return Evaluator()(parse_expression(Source("x", text)), Env(EMPTY))


# ------------------------------------------------------------------------------------ expressions


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1 + 2 * 3", 7),
        ("(1 + 2) * 3", 9),
        ("2 - 3 - 4", -5),
        ("2 ** 3 ** 2", 512),
        ("-2 ** 2", -4),
        ("2 ** -1", 0.5),
        ("- -3", 3),
        ("7 // 2", 3),
        ("-7 // 2", -4),
        ("-7 mod 4", 1),
        ("7 / 2", 3.5),
        ("8 / 4 * 2", 4.0),
        ("6 mod 4 * 2", 4),
        ("1 < 2 and 2 < 1 or true", True),
        ("not 1 < 2", False),
        ("not true or true", True),
        ("false and 1 / 0 == 1", False),
        ("true or 1 / 0 == 1", True),
        ("1 == 1.0", True),
        ("1 == true", False),
        ("0 == false", False),
        ("true == true", True),
        ('"a" == "a"', True),
        ('"1" != 1', True),
        ("none == none", True),
        ("[1, 2] == [1, 2]", True),
        ("3x3 == 3x3", True),
        ("50% == 0.5", True),
        ("if 1 < 2 then 3 else 1 / 0", 3),
        ("[1, 2, 3][0]", 1),
        ("[1, 2, 3][-1]", 3),
        ("[1, 2, 3][1:]", [2, 3]),
        ("[1, 2, 3][:-1]", [1, 2]),
        ("[1, 2, 3][:]", [1, 2, 3]),
        ("[1, 2, 3][2:9]", [3]),
        ("(3..6)[1]", 4),
        ("[1] + [2]", [1, 2]),
        ("[1, 2] * 2", [1, 2, 1, 2]),
        ("[1] * 0", []),
        ("[x * x for x in 0..4]", [0, 1, 4, 9]),
        ("[x for x in 0..10 if x mod 3 == 0]", [0, 3, 6, 9]),
        ("[a * b for a, b in zip([1, 2], [3, 4])]", [3, 8]),
        ("[[y for y in 0..x] for x in 0..3]", [[], [0], [0, 1]]),
        ("enumerate([5, 6])", [[0, 5], [1, 6]]),
        ("len(3..7)", 4),
        ("len(7..3)", 0),
        ("sum([1, 2.5])", 3.5),
        ("sum([])", 0),
        ("max(1, 3, 2)", 3),
        ("min([4, 2])", 2),
        ("int(2.9)", 2),
        ("int(-2.9)", -2),
        ("float(2)", 2.0),
        ("round(0.5)", 0),
        ("round(1.5)", 2),
        ("round(2.5)", 2),
        ("abs(-3)", 3),
        ("sqrt(9)", 3.0),
        ("log(1)", 0.0),
        ('"a{1 + 1}b"', "a2b"),
        (r'"\"\\\{x\}\n\t"', '"\\{x}\n\t'),
        ('"{3x3} {50%} {true} {none} {[1, 2]}"', "3x3 50% true none [1, 2]"),
        ("1_000", 1000),
        ("1e3", 1000.0),
        ("2.5e-1", 0.25),
        ("20%", 0.2),
        ("3x224x224", (3, 224, 224)),
        ("3x5.height", 3),
        ("3x5.width", 5),
    ],
)
def test_expressions(text: str, expected: object) -> None:
    found = value(text)
    assert found == expected
    assert isinstance(found, bool) == isinstance(expected, bool)
    assert isinstance(found, float) == isinstance(expected, float)


@pytest.mark.parametrize(
    "text",
    [
        "0",
        "-3",
        "1.5",
        "1e-05",
        "true",
        "none",
        '"a \\"b\\" \\\\ \\{c\\}\\n"',
        "3x3",
        "[1, [2]]",
        "20%",
    ],
)
def test_values_are_shown_as_they_are_written(text: str) -> None:
    assert show(value(text)) == text


def test_types_and_what_converts() -> None:
    def type_of(text: str) -> s.TypeExpr:
        (block,) = parse(Source("x", f"block b(x: {text}) {{}}")).decls
        assert isinstance(block, s.Block)
        return block.params[0].type

    for text, given, expected in [
        ("float", 3, 3.0),
        ("size", 3, (3, 3)),
        ("size", (1, 7), (1, 7)),
        ("ratio", 0.25, 0.25),
        ("list[int]", [1, 2], [1, 2]),
        ("list[float]", [1], [1.0]),
        ("list[list[size]]", [[3]], [[(3, 3)]]),
        ("int?", None, None),
        ('"a" | "b"', "b", "b"),
        ("shape", (3, 8, 8), (3, 8, 8)),
    ]:
        converted = convert(given, type_of(text))
        assert converted == expected
        assert type(converted) is type(expected) or text == "ratio"
    for text, given in [
        ("int", 3.0),
        ("int", True),
        ("float", False),
        ("ratio", 1.5),
        ("ratio", -0.1),
        ("ratio", True),
        ("size", (3, 3, 3)),
        ("size", True),
        ("bool", 1),
        ("string", 3),
        ("list[int]", [1, 2.0]),
        ("list[int]", 1),
        ('"a" | "b"', "c"),
        ("int", None),
        ("tensor", 3),
    ]:
        with pytest.raises(Exception, match=r"expected|must be"):
            convert(given, type_of(text))


# ------------------------------------------------------------------------------------------ names


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


def test_lets_stay_in_their_body(folder: Folder) -> None:
    assert folder.codes("network n { input 4x8x8  if true { let a = 3 }  conv(3x3, a) }") == [
        "E0201"
    ]
    assert output(folder.body("let a = 3  if true { let a = 5 }  conv(3x3, a)")) == (3, 8, 8)
    assert output(folder.body("let a = 3  if true { let a = a + 5  conv(3x3, a) }")) == (8, 8, 8)


# ------------------------------------------------------------------------------- flow and merges


def test_from_and_as(folder: Folder) -> None:
    graph = folder.body("a: conv(3x3, 6) as x, y  b: conv(3x3, 2)  from x -> c: conv(1x1, 3)")
    assert output(graph) == (3, 8, 8)
    assert weights(graph) == ["a.weight", "c.weight"]  # what no output needs is dropped
    assert output(folder.body("a: conv(3x3, 6) as x  from x, input -> concat")) == (10, 8, 8)
    assert output(folder.body("a: conv(3x3, 6)  from here, input, here -> concat")) == (16, 8, 8)


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
    graph = folder.graph("block stem { input 3x8x8  c: conv(3x3) }\nnetwork n { s: stem }")
    assert weights(graph) == ["s.c.weight"]


# ---------------------------------------------------------------------------- values of layers


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


# --------------------------------------------------------------------------- ambients and `with`

FAMILY = """
block unit(w: int) { residual { c: conv(3x3, w) -> b: norm } }
network base { input 4x8x8  l: unit(8) * 2 }
network given(shortcut: shortcut = A) { input 4x8x8  l: unit(8) * 2 }
"""


def kinds(folder: Folder, text: str) -> list[str]:
    return [op for op in ops(folder.graph(FAMILY + text)) if op not in ("input", "conv2d")]


def test_with_rebinds_ambients_everywhere_inside(folder: Folder) -> None:
    assert "add" not in kinds(folder, "network n = base with shortcut = plain")
    assert "batchnorm" not in kinds(folder, "network n = base with norm = none, shortcut = A")
    assert set(kinds(folder, "network n = base with act = sigmoid")) >= {"sigmoid"}
    graph = folder.graph(FAMILY + "network n = base with conv = conv2d(bias=true)")
    assert "l.0.c.bias" in graph.parameters
    graph = folder.graph(FAMILY + "network n = base with norm = batchnorm(eps=1e-3, gamma=0)")
    assert {node.op.eps for node in graph if node.op.name == "batchnorm"} == {1e-3}


def test_who_sets_the_shortcut(folder: Folder) -> None:
    """Argument before nearest `set`, before the network's `with` or parameter, before default."""
    projections = "downsample.0.weight"

    def projected(text: str) -> list[str]:
        paths = weights(folder.graph(FAMILY + text))
        return [path.removesuffix("." + projections) for path in paths if projections in path]

    assert projected("network n = base") == ["l.0"]  # the ambient's default, B
    assert projected("network n = given") == []  # the parameter's default, A
    assert projected("network n = given with shortcut = C") == ["l.0", "l.1"]
    assert projected("network n = given(C)") == ["l.0", "l.1"]
    assert projected("network m = given with shortcut = C\nnetwork n = m with shortcut = B") == [
        "l.0"
    ]
    body = "network n(shortcut: shortcut = plain) {{ input 4x8x8  a: unit(8)  {}  z: unit(16) }}"
    assert projected(body.format("")) == []
    assert projected(body.format("set shortcut = C")) == ["z"]
    assert projected(body.format("s: seq { set shortcut = C  unit(8) }")) == ["s.0"]
    assert projected(body.format("s: seq { set shortcut = C  set shortcut = A  unit(8) }")) == []
    assert projected(body.format("group { set shortcut = C }")) == []
    assert projected(body.format("if true { set shortcut = C  q: unit(8) }")) == ["q"]
    direct = "network n { input 4x8x8  set shortcut = A  residual(shortcut=C) { c: conv(3x3) } }"
    assert projected(direct) == ["downsample.0.weight"]


def test_a_set_in_a_block_ends_with_it(folder: Folder) -> None:
    text = """
block inner { set act = sigmoid  a: conv(3x3) -> act }
network n { input 4x8x8  inner  act }
"""
    assert ops(folder.graph(text)) == ["input", "conv2d", "sigmoid", "relu"]


def test_ambients_of_ones_own(folder: Folder) -> None:
    lib = """
ambient pool: layer = maxpool(3x3, stride=2)
block stem { c: conv(3x3)  pool }
network base { input 4x8x8  stem }
"""
    assert "maxpool" in ops(folder.graph(lib + "network n = base"))
    folder.write(lib, "lib.rnet")
    text = "use lib { base, pool }\nnetwork n = base with pool = avgpool(2x2, stride=2, pad=0)"
    assert "avgpool" in ops(folder.graph(text))


def test_an_override_without_effect_is_a_mistake(folder: Folder) -> None:
    shadowed = """
network base { set shortcut = A  input 4x8x8  residual { c: conv(3x3) } }
network n = base with shortcut = plain
"""
    assert folder.codes(shadowed) == ["E0405"]
    assert folder.codes(FAMILY + "network n = base with act = relu, conv = conv2d") == []
    unused = "network base { input 4x8x8  c: conv(3x3) }\nnetwork n = base with norm = none"
    assert folder.codes(unused) == ["E0405"]
    partly = """
network base { input 4x8x8  a: norm  set norm = batchnorm  b: norm }
network n = base with norm = none
"""
    assert folder.codes(partly) == []
    later = "network m = base with shortcut = C\nnetwork n = m with shortcut = A\n"
    assert folder.codes(FAMILY + later) == []
    with pytest.raises(CompileError, match="E0405"):
        load(folder.write("network n { input 4x8x8  c: conv(3x3) }"), {"act": "relu"})


def test_variants_inherit_parameters_and_derived_values_follow(folder: Folder) -> None:
    text = """
network base(width: int, deep: int = 2, half: int = width // 2) {
  input 4x8x8
  let twice = 2 * width
  a: conv(1x1, twice)
  b: conv(1x1, half) * deep
}
network one = base(8)
network two = one with width = 16
network n = two with deep = 1
"""
    graph = folder.graph(text)
    shapes = {path: p.type.shape[0] for path, p in graph.parameters.items()}
    assert shapes == {"a.weight": 32, "b.0.weight": 8}
    assert folder.net(text).parameters == ("width", "deep", "half")
    assert check_file(folder.write(text)).templates == ("base",)


def test_settings_from_outside(folder: Folder) -> None:
    text = """
const wide = 12
block small(w: int) { c: conv(3x3, w) }
network n(unit: block = small, widths: list[int] = [2], p: ratio = 10%) {
  input 4x8x8
  l: seq { for w in widths { unit(w) } }
  dropout(p)
  expect params = 72
}
"""
    file = folder.write(text)
    net = load(file)
    assert net.settings == {}
    changed = load(file, {"widths": "[wide, 2 * wide]", "p": "50%"})
    assert output(changed.graph) == (24, 8, 8)
    assert changed.settings == {"widths": "[wide, 2 * wide]", "p": "50%"}
    assert load(file, widths=[3, 4]).graph.hash == load(file, {"widths": "[3, 4]"}).graph.hash
    assert net.bind(widths=(3, 4)).graph.hash == load(file, widths=[3, 4]).graph.hash
    assert load(file, p=0.25).graph.hash == load(file, {"p": "25%"}).graph.hash
    for settings, code in [
        ({"width": "3"}, "E0203"),
        ({"widths": "3"}, "E0301"),
        ({"widths": "[3"}, "E0101"),
        ({"widths": "nosuch"}, "E0201"),
        ({"p": "2.0"}, "E0301"),
        ({"shortcut": "A"}, "E0405"),
    ]:
        with pytest.raises(CompileError, match=code):
            load(file, settings)


# ----------------------------------------------------------------------- require, expect, meta


def test_require_expect_and_meta(folder: Folder) -> None:
    text = """
network n(depth: int = 8) {
  require depth mod 2 == 0, "depth {depth} is odd"
  input 4x8x8
  c: conv(3x3, depth)
  expect params = 288, macs = 18_432, output = 8x8x8
  meta { paper = "table1"  rows = [1, 2]  deep = true }
}
"""
    net = folder.net(text)
    assert net.meta == {"paper": "table1", "rows": [1, 2], "deep": True}
    with pytest.raises(CompileError, match="depth 7 is odd"):
        folder.net(text, {"depth": "7"})
    folder.net(text, {"depth": "10"})  # what is bound from outside frees it from `expect`
    for wrong in ("params = 289", "macs = 1", "output = 8x8x9", "output = 8"):
        changed = text.replace("params = 288, macs = 18_432, output = 8x8x8", wrong)
        assert folder.codes(changed) == ["E0501"], wrong
    # A template's own facts hold for every network derived from it.
    assert folder.codes(text + "network m = n with depth = 10") == ["E0501"] * 3


def test_a_variant_has_facts_of_its_own(folder: Folder) -> None:
    text = """
network base(w: int) { input 4x8x8  c: conv(3x3, w)  meta { family = "x"  width = w } }
network a = base(2) { expect params = 72  meta { width = 20 } }
network b = a with w = 3 { expect params = 108 }
"""
    report = check_file(folder.write(text))
    assert report.findings == ()
    assert report.meta == {"a": {"family": "x", "width": 20}, "b": {"family": "x", "width": 3}}


# -------------------------------------------------------------------------------------- imports


def test_where_imports_are_found(folder: Folder) -> None:
    for name, width in [("lib.rnet", 1), ("blocks/deep/lib.rnet", 2), ("blocks/lib.rnet", 3)]:
        folder.write(f"block b {{ c: conv(3x3, {width}) }}\n", name)
    folder.write("use .lib { b }\nblock near { b }\n", "blocks/near.rnet")
    folder.write("use lib { b }\nblock far { b }\n", "blocks/far.rnet")

    def width(use: str, name: str) -> int:
        return output(folder.graph(f"use {use}\nnetwork n {{ input 4x8x8  {name} }}\n"))[0]

    assert width("lib { b }", "b") == 1
    assert width(".lib { b }", "b") == 1
    assert width("blocks.deep.lib { b }", "b") == 2
    assert width(".blocks.lib { b as c, }", "c") == 3
    assert width("blocks.near { near }", "near") == 3  # `.lib` is beside the importing file
    assert width("blocks.far { far }", "far") == 1  # `lib` is the project's
    assert width("std.nn { squeeze_excite }", "squeeze_excite(2)") == 4
    assert width("resnet { basic }", "basic(6)") == 6  # the shipped one
    folder.write("block basic(w: int) { c: conv(3x3, 9) }\n", "resnet.rnet")
    assert width("resnet { basic }", "basic(6)") == 9  # the project's comes first
    folder.write("block x { c: conv(3x3) }\n", "std/nn.rnet")
    assert folder.codes("use std.nn { x }\n") == ["E0208"]  # `std` is the compiler's


def test_imports_are_not_passed_on(folder: Folder) -> None:
    folder.write("use resnet { basic }\n", "lib.rnet")
    assert folder.codes("use lib { basic }\n") == ["E0208"]


def test_a_broken_import_is_one_mistake(folder: Folder) -> None:
    text = "use nowhere { a }\nnetwork n(x: int = a(3)) { input 4x8x8  a  b: a(2)  conv(1x1, a) }\n"
    assert folder.codes(text) == ["E0207"]


def test_a_mistake_in_an_imported_file_is_told_there(folder: Folder) -> None:
    folder.write("block b {\n  c: conv(3x3, strides=2)\n}\n", "lib.rnet")
    (found,) = folder.found("use lib { b }\nnetwork n { input 4x8x8  b }\n")
    assert str(found.primary.span) == f"{folder.path / 'lib.rnet'}:2:16"
    folder.write("block b {\n", "lib.rnet")
    (found,) = folder.found("use lib { b }\n")
    assert found.code == "E0101"
    assert "lib.rnet" in str(found.primary.span)


def test_own_names_hide_the_preludes(folder: Folder) -> None:
    text = "block flatten { c: conv(3x3, 2) }\nnetwork n { input 4x8x8  flatten }\n"
    assert output(folder.graph(text)) == (2, 8, 8)


# --------------------------------------------------------------------------- mistakes, all at once


def test_all_mistakes_of_a_file_come_at_once_and_in_order(folder: Folder) -> None:
    text = """\
use resnet { basik }
const odd = 1 / 0
block unused(x: integer) { nosuch }
network a {
  input 4x8x8
  one: conv(3x3, 8) => 9x9
  two: conv(3x3, strides=2)
  dropout(20)
  let x = [1][2]
  conv(1x1, x)
  expect parms = 3
}
network b = a with clases = 3
recipe r { batchs = 3  optimizer = sgd(lrr=1) }
"""
    found = folder.found(text)
    codes = [diagnostic.code for diagnostic in found]
    assert codes == [
        "E0208",
        "E0308",
        "E0216",
        "E0201",
        "E0403",
        "E0203",
        "E0301",
        "E0303",
        "E0203",
        "E0203",
        "E0203",
        "E0203",
    ]
    lines = [diagnostic.primary.span.line for diagnostic in found]
    assert lines == sorted(lines)
    with pytest.raises(CompileError) as caught:
        load(f"{folder.path / 'x.rnet'}:a")
    loaded = [diagnostic.code for diagnostic in caught.value.diagnostics]
    assert loaded == [code for code, line in zip(codes, lines, strict=True) if line != 13]


def test_a_mistake_in_a_template_is_told_once(folder: Folder) -> None:
    text = "network t(w: int) { input 4x8x8  conv(3x3, w, groups=3) }\n"
    text += "".join(f"network n{i} = t({i + 1})\n" for i in range(9))
    assert folder.codes(text) == ["E0406"]


def test_poison_stops_cascades(folder: Folder) -> None:
    for body in (
        "conv(3x3, groups=3) -> norm -> act => 1x1  gap -> flatten -> linear(3)",
        "let a = 1 / 0  let b = a + 1  conv(3x3, b) as x  from x -> conv(b, b) => 3x3",
        "for i in [1][3] { conv(i, i) }  relu => 99",
        "residual { conv(3x3, groups=3) -> norm }  add { | identity  | conv(1x1) }",
        "if 1 / 0 == 1 { relu } else { gap }  flatten => 99",
    ):
        found = folder.codes(f"network n {{ input 4x8x8  {body}  expect params = 1 }}")
        assert len(found) == 1, (body, found)


def test_more_than_twenty_are_counted(folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    body = "\n".join(f"let a{i} = {i} / 0" for i in range(25))
    file = folder.write(f"network n {{\n input 4x8x8\n{body}\n relu\n}}\n")
    from resnetc.cli.main import run

    assert run(["check", str(file)]) == 3
    shown = capsys.readouterr().err
    assert shown.count("error[E0308]") == 20
    assert "and 5 more" in shown


def test_findings_for_machines(folder: Folder) -> None:
    (found,) = folder.found("network n { input 4x8x8\n  dropout(20.0)\n}\n")
    assert found.to_json() == {
        "code": "E0301",
        "severity": "error",
        "message": "expected ratio, found float 20.0",
        "primary": {
            "file": str(folder.path / "x.rnet"),
            "line": 2,
            "column": 11,
            "end_line": 2,
            "end_column": 15,
            "text": "a ratio lies between 0% and 100%",
        },
        "secondary": [],
        "notes": [],
        "help": {
            "text": "write `20%`",
            "edit": {
                "file": str(folder.path / "x.rnet"),
                "line": 2,
                "column": 11,
                "end_line": 2,
                "end_column": 15,
                "replacement": "20%",
            },
        },
    }


@pytest.mark.parametrize(
    ("bad", "count"),
    [
        ("conv(3x3, strides=2)", 1),
        ("dropout(20.0)", 1),
        ("residual(shorcut=A) { c: conv(3x3) }", 1),
        ('pad_channels(8, sides="bothe")', 1),
        ("cov(3x3)", 1),
        ("relu  expect params = 1", 1),
    ],
)
def test_help_that_can_be_applied_mends_the_mistake(folder: Folder, bad: str, count: int) -> None:
    text = f"network n {{ input 4x8x8  {bad} }}"
    (found,) = folder.found(text)
    assert found.help is not None
    assert found.help.span is not None
    assert found.help.replacement is not None
    mended = text[: found.help.span.start] + found.help.replacement + text[found.help.span.end :]
    assert folder.codes(mended) == [], mended
    assert render(found, colour=True).count("\x1b[") >= 2 * count


# ---------------------------------------------------------------------------------- the prelude


def test_primitives_are_the_ops(folder: Folder) -> None:
    """The prelude's signatures have the ops' own names and defaults, in their order."""
    file = parse(Source("nn", (resources.specs() / "std/nn.rnet").read_text()))
    declared = {d.name: d for d in file.decls if isinstance(d, s.Primitive)}
    assert declared.keys() == PRIMITIVES.keys()
    for name, decl in declared.items():
        place = inspect.signature(PRIMITIVES[name].place).parameters
        wanted = {n: p.default for n, p in place.items() if p.kind is p.KEYWORD_ONLY}
        assert [param.name for param in decl.params] == list(wanted), name
        for param in decl.params:
            default = wanted[param.name]
            if param.default is None:
                assert default is inspect.Parameter.empty, (name, param.name)
            else:
                assert isinstance(param.default, s.Literal)
                assert convert(param.default.value, param.type) == default, (name, param.name)


def test_the_public_face() -> None:
    assert resnetc.load("resnet18").name == "resnet18"
    with pytest.raises(UsageError):
        resnetc.load("resnet17")
