"""Structural signatures: which blocks fit, and how they are placed then."""

from __future__ import annotations

import pytest
from spec_files import Folder, folder, output

from resnetc.lang import syntax as s
from resnetc.lang.parser import parse
from resnetc.lang.signatures import accepts

__all__ = ["folder"]

NET = """
network n(unit: block(width: int, stride: int = 1)) { input 4x8x8  unit(16, 2) }
"""


@pytest.mark.parametrize(
    ("params", "given", "fits"),
    [
        ("width: int, stride: int = 1", "", True),
        ("width: int, stride: size = 1", "", True),
        ("width: float, stride: int = 1", "", True),
        ("width: int? = none, stride: int? = none", "", True),
        ("stride: int = 1, width: int = 3", "", True),
        ("width: int, stride: int", "", False),
        ("width: int, stride: int", "(stride=2)", True),
        ("width: int, stride: int", "(8)", False),
        ("stride: int, width: int", "(8)", True),
        ("width: int", "", False),
        ("width: ratio, stride: int = 1", "", False),
        ('width: int, stride: string = "a"', "", False),
        ("width: int, stride: int = 1, k: int = 3", "", True),
        ("width: int, stride: int = 1, k: int", "", False),
        ("k: int, width: int, stride: int = 1", "(3)", True),
        ("width: int, k: int, stride: int = 1", "(k=3)", True),
    ],
)
def test_what_fits(params: str, given: str, fits: bool, folder: Folder) -> None:
    block = f"block b({params}) {{ relu }}\n"
    codes = folder.codes(block + NET + f"network m = n(b{given})\n")
    assert codes == ([] if fits else ["E0312"])


def test_positional_arguments_go_by_the_signature(folder: Folder) -> None:
    block = "block b(stride: int = 1, width: int = 3) { conv1: conv(3x3, width, stride=stride) }\n"
    assert output(folder.graph(block + NET, {"unit": "b"})) == (16, 4, 4)
    later = NET.replace("unit(16, 2)", "let wide = unit(16)  wide(2)")
    assert output(folder.graph(block + later, {"unit": "b"})) == (16, 4, 4)
    assert output(folder.graph(block + later, {"unit": "b(width=8)"})) == (16, 4, 4)


def test_a_call_gives_what_the_signature_says(folder: Folder) -> None:
    text = NET.replace("unit(16, 2)", "let more = unit(groups=2)  more(16)")
    block = "block b(width: int, stride: int = 1, groups: int = 1) { relu }\n"
    assert folder.codes(block + text + "network m = n(b)\n") == ["E0203"]
    text = NET.replace("unit(16, 2)", "let unit = unit  let unit = dropout  unit(p=20%)")
    assert folder.codes(block + text + "network m = n(b)\n") == []


def test_columns_convert_and_others_stay(folder: Folder) -> None:
    text = """
fn total(t: table(a: float)) -> float = sum([r.a for r in t]) / len([r.b for r in t])
network n { input 4x8x8  require total(table (a, b) [1, 1; 2, 1]) == 1.5, "mean" }
"""
    assert folder.codes(text) == []
    assert folder.codes(text.replace("a: float", "c: float")) == ["E0301"]
    assert folder.codes(text.replace("[1, 1; 2, 1]", "[1, 1; none, 1]")) == ["E0301"]


@pytest.mark.parametrize(
    ("to", "given", "yes"),
    [
        ("int", "int", True),
        ("float", "int", True),
        ("int", "float", False),
        ("size", "int", True),
        ("float", "ratio", True),
        ("ratio", "float", False),
        ("int?", "int", True),
        ("int", "int?", False),
        ("list[float]", "list[int]", True),
        ("list[int]", "list[float]", False),
        ("string", '"a" | "b"', True),
        ('"a" | "b"', "string", False),
        ('"a" | "b"', '"b"', True),
        ('"b"', '"a" | "b"', False),
        ("layer", "block", True),
        ("block", "layer", False),
        ("block", "block(w: int)", True),
        ("block(w: int)", "block", False),
        ("block(w: int)", "block(w: float)", True),
        ("block(w: float)", "block(w: int)", False),
        ("block(w: int)", "block(w: int, s: int = 1)", True),
        ("block(w: int)", "block(w: int, s: int)", False),
        ("block(w: int = 1)", "block(w: int)", False),
        ("block(w: int)", "block(w: int = 1)", True),
        ("block(w: int)", "block(v: int)", False),
        ("layer(w: int)", "block(w: int)", True),
        ("table(a: float)", "table(a: int, b: int)", True),
        ("table(a: int)", "table(a: float)", False),
        ("table(a: int)", "table(b: int)", False),
    ],
)
def test_what_a_type_accepts(to: str, given: str, yes: bool) -> None:
    assert accepts(type_of(to), type_of(given)) is yes


def type_of(text: str) -> s.TypeExpr:
    from resnetc.diagnostics import Source

    (block,) = parse(Source("x", f"block b(x: {text}) {{}}")).decls
    assert isinstance(block, s.Block)
    return block.params[0].type
