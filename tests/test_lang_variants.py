"""Ambients, `with`, `set`, `--set`, and what a network says of itself."""

from __future__ import annotations

import pytest
from spec_files import Folder, folder, ops, output, weights

from resnetc.checking import check_file
from resnetc.diagnostics import CompileError
from resnetc.driver import load

__all__ = ["folder"]


# ----------------------------------------------------------------------------- ambients and `with`


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


READS = (
    "network n(a: int = 1, extra: int = 4, norm: layer? = none) { input 4x8x8  c: conv(3x3, a) }\n"
)


@pytest.mark.parametrize(
    ("given", "codes"),
    [
        ("(2, 9)", ["E0405"]),
        ("(extra=9)", ["E0405"]),
        (" with extra = 9", ["E0405"]),
        (" with extra = 4", ["E0405"]),
        (" with a = 9", []),
        (" with norm = batchnorm", ["E0405"]),
    ],
)
def test_a_value_that_nothing_reads_is_a_mistake(
    given: str, codes: list[str], folder: Folder
) -> None:
    assert folder.codes(READS + f"network m = n{given}") == codes


def test_a_value_from_outside_that_nothing_reads_is_a_mistake(folder: Folder) -> None:
    path = folder.write(READS)
    with pytest.raises(CompileError, match=r"`extra = 5` would have no effect\n --> --set:1:1"):
        load(f"{path}:n", {"extra": "5"})
    needed = "network n(extra: int) { input 4x8x8  relu }\n"
    assert len(load(folder.write(needed), {"extra": "5"}).graph) == 2


UNITS = """
block basic(width: int, stride: int = 1, groups: int = 1) {
  c: conv(3x3, width, stride=stride, groups=groups)
}
block outer(unit: block(width: int), width: int = 8) { u: unit(width) }
network n(
  one: block(width: int),
  two: block(width: int) = basic,
  more: list[block(width: int)] = [],
  act: layer = relu,
  spare: layer = relu,
) {
  input 4x8x8
  if false { spare }
  a: outer(one)
  if true { b: two(4) } else { b: two(5) }
  act
  for i, unit in enumerate(more) { "m{i}": outer(unit) }
}
"""


@pytest.mark.parametrize(
    ("call", "texts"),
    [
        ("n(basic(groups=4))", []),
        ("n(basic(4))", ["4"]),
        ("n(basic(4, groups=4))", ["4"]),
        ("n(basic(width=4, groups=4))", ["width=4"]),
        ("n(basic, basic(5)) with one = basic(6)", ["5", "6"]),
        # The block that is placed again with an equal argument is copied: it counts for both.
        ("n(basic, more=[basic(groups=2), basic(groups=2)])", []),
        ("n(basic, more=[basic(2), basic(groups=2)])", ["2"]),
        ("n(basic, act=dropout(p=20%))", []),
        ("n(basic, outer(basic(4)))", ["4"]),
        ("n(basic, outer(unit=basic(groups=4)))", []),
        # What is inside an argument that counts nowhere is not told too.
        ("n(basic, spare=outer(unit=basic(groups=4)))", ["unit=basic(groups=4)"]),
    ],
)
def test_an_argument_that_every_placement_gives_anew_is_a_mistake(
    call: str, texts: list[str], folder: Folder
) -> None:
    found = folder.found(UNITS + f"network m = {call}")
    assert [(d.code, d.primary.span.text) for d in found] == [("E0405", t) for t in texts]


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


# --------------------------------------------------------------------------- require, expect, meta


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


def test_a_setting_from_outside_is_blamed_where_it_is_written(folder: Folder) -> None:
    file = folder.write("network n(w: int, v: int = 1) { input 3x8x8  c: conv(3x3, w * v) }\n")
    with pytest.raises(CompileError) as caught:
        load(f"{file}:n", {"vv": "3"}, w=4)
    assert "--> --set:1:1\n1 | vv=3\n  | ^^\n" in str(caught.value)
    with pytest.raises(CompileError) as caught:
        load(f"{file}:n", {"w": "4"}, vv=[3])
    assert "--> keyword arguments:1:1\n1 | vv=[3]\n  | ^^\n" in str(caught.value)
    with pytest.raises(CompileError) as caught:
        load(f"{file}:n", {"v": "3"}, w=[4])
    assert "--> keyword arguments:1:3\n1 | w=[4]\n  |   ^^^\n" in str(caught.value)
    with pytest.raises(CompileError) as caught:
        load(f"{file}:n", {"v": "3 +", "w": "4"})
    assert "--> --set:1:5\n1 | v=3 +\n  |     ^" in str(caught.value)
    with pytest.raises(CompileError) as caught:
        load(f"{file}:n", w=4).bind(u=[3])
    assert "--> keyword arguments:1:1\n1 | u=[3]\n" in str(caught.value)
