"""What expressions mean, which values convert, and that primitives are the ops."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

import resnetc
from resnetc import resources
from resnetc.diagnostics import Source, UsageError
from resnetc.lang import syntax as s
from resnetc.lang.convert import Mismatch, convert
from resnetc.lang.evaluate import Env, Evaluator
from resnetc.lang.mistake import Mistake
from resnetc.lang.modules import Module
from resnetc.lang.parser import parse, parse_expression
from resnetc.lang.values import show
from resnetc.ops import PRIMITIVES

EMPTY = Module(Path("x"), parse(Source("x", "")))


def value(text: str) -> object:
    return Evaluator()(parse_expression(Source("x", text)), Env(EMPTY))


# ------------------------------------------------------------------------------------- expressions


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
        ("unique([3, 1, 3, 2, 1])", [3, 1, 2]),
        ("len(unique([1, true, 1.0, 0, false]))", 4),
        ("unique([])", []),
        ("count([1, 2, 1, true, 1.0], 1)", 3),
        ('count(["a", "b"], "c")', 0),
        ("count(0..5, 3)", 1),
        ("reversed(0..3)", [2, 1, 0]),
        ("[r.a for r in reversed(table (a) [1; 2])]", [2, 1]),
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
        ("[r.a for r in table (a, b) [1, 2; 3, 4]]", [1, 3]),
        ("[r.b for r in table (a, b,) [1, 2; 3, 4;] if r.a == 3]", [4]),
        ("table (a) [1; 2][1].a", 2),
        ("table (a) [1; 2][1:] == table (a) [2]", True),
        ("table (a, b) [1, 2] == table (b, a) [2, 1]", True),
        ("table (a) [1] == table (b) [1]", False),
        ("[r.a for i, r in enumerate(table (a) [5; 6]) if i > 0]", [6]),
        ("table (block, use) [1, 2][0].use", 2),
        ('"{table (a, b) [1, true]}"', "[{a = 1, b = true}]"),
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


@pytest.mark.parametrize(
    "text",
    [
        "[table (a) [[0] * 9_000][0] for i in 0..20]",
        "table (a, b) [[0] * 9_000, [0] * 9_000] * 10",
        "table (a) [" * 17 + "1" + "]" * 17,
        '"{table (a) [[0] * 5_000]}"',
    ],
)
def test_the_cells_of_records_are_counted(text: str) -> None:
    with pytest.raises(Mistake, match=r"lists|string|steps"):
        value(text)
    assert value("table (a) [[0] * 9_000] * 10") is not None


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
        with pytest.raises(Mismatch):
            convert(given, type_of(text))


# ------------------------------------------------------------------------------------- the prelude


def test_primitives_are_the_ops() -> None:
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
                given = convert(_plain(param.default), param.type)
                held = list(default) if isinstance(given, list) else default
                assert given == held, (name, param.name)


def _plain(default: s.Expr) -> object:
    """What a literal, or a list of them, holds."""
    if isinstance(default, s.ListExpr):
        return [_plain(item) for item in default.items]
    assert isinstance(default, s.Literal)
    return default.value


def test_the_public_face() -> None:
    assert resnetc.load("resnet18").name == "resnet18"
    with pytest.raises(UsageError):
        resnetc.load("resnet17")
