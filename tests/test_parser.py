"""Text to syntax tree: the grammar, the records and their places."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path

import lark
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from messy import messy
from programs import programs

from resnetc import resources
from resnetc.diagnostics import CompileError, Source, Span
from resnetc.lang import parser
from resnetc.lang import syntax as s
from resnetc.lang.parser import keywords, parse, parse_exactly, parse_expression
from resnetc.lang.scan import tokens

SPECS = sorted(resources.specs().rglob("*.rnet"))
GRAMMAR = resources.grammar().read_text()


def expression(text: str) -> s.Expr:
    return parse_expression(Source("x", text))


def plain(expr: object) -> object:
    """An expression as nested tuples, without places."""
    match expr:
        case s.Literal(value=value):
            return value
        case s.Name(name=name):
            return name
        case s.Binary(operator=operator, left=left, right=right):
            return operator, plain(left), plain(right)
        case s.Unary(operator=operator, operand=operand):
            return operator, plain(operand)
        case s.Cond(test=test, yes=yes, no=no):
            return "if", plain(test), plain(yes), plain(no)
        case s.Apply(callee=callee, args=args):
            return plain(callee), *((a.name, plain(a.value)) for a in args)
        case s.Attr(base=base, name=name):
            return ".", plain(base), name
        case s.Index(base=base, index=index):
            return "[]", plain(base), plain(index)
        case s.Slice(base=base, start=start, stop=stop):
            return "[:]", plain(base), plain(start), plain(stop)
        case s.ListExpr(items=items):
            return [plain(item) for item in items]
        case s.Template(parts=parts):
            return tuple(part if isinstance(part, str) else plain(part) for part in parts)
    return expr


def nodes(node: object) -> Iterator[object]:
    """Every record of a syntax tree."""
    stack = [node]
    while stack:
        item = stack.pop()
        if isinstance(item, tuple | list):
            stack.extend(item)
        elif dataclasses.is_dataclass(item) and not isinstance(item, Source | Span):
            yield item
            stack.extend(getattr(item, field.name) for field in dataclasses.fields(item))


# ------------------------------------------------------------------------------------ the grammar


@pytest.mark.parametrize("every_token", [False, True])
def test_the_grammar_has_no_conflict(every_token: bool) -> None:
    """`strict` refuses shift/reduce conflicts and terminals that collide."""
    lark.Lark(
        GRAMMAR,
        parser="lalr",
        lexer="basic",
        strict=True,
        start=["start", "expr"],
        keep_all_tokens=every_token,
        maybe_placeholders=not every_token,
    )


def test_strictness_would_see_a_conflict() -> None:
    ambiguous = GRAMMAR.replace('setting: (word | OUTPUT) "=" expr', 'setting: word "=" expr expr')
    assert ambiguous != GRAMMAR
    with pytest.raises(lark.exceptions.GrammarError):
        lark.Lark(ambiguous, parser="lalr", lexer="basic", strict=True, start=["start", "expr"])


def test_every_rule_has_its_record() -> None:
    from resnetc.lang.tree import TreeBuilder

    grammar = parser.grammar()
    rules = [rule for rule in grammar.rules if not rule.options.template_source]
    made = {str(rule.alias or rule.origin.name) for rule in rules}
    inlined = {rule.origin.name for rule in rules if rule.options.expand1}
    for rule in sorted(name for name in made - inlined if not name.startswith("_")):
        assert hasattr(TreeBuilder, rule), rule


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.name)
def test_the_zoo_parses(path: Path) -> None:
    file = parse(Source(path.name, path.read_text()))
    assert file.edition == 1
    assert file.decls


def test_statements_never_begin_as_an_expression_goes_on() -> None:
    """Newlines mean nothing, so no statement may start with a sign that continues another."""
    grammar = parser.grammar()
    interactive = grammar.parse_interactive("network n { relu ", start="start")
    list(interactive.exhaust_lexer())
    goes_on = interactive.accepts() - {"RBRACE"}
    interactive = grammar.parse_interactive("network n { ", start="start")
    list(interactive.exhaust_lexer())
    begins = interactive.accepts() - {"RBRACE"}
    assert begins & {"LPAR", "LSQB", "LBRACE", "STAR", "MINUS", "DOT", "POW", "PLUS"} == set()
    assert begins < goes_on


@given(messy(programs().map(lambda program: program.text)))
@settings(max_examples=20, deadline=None)
def test_newlines_mean_nothing(text: str) -> None:
    flat = " ".join(match[0] for match in tokens(text))
    first, second = parse(Source("a", text)), parse(Source("b", flat))
    kinds = [[type(node) for node in nodes(file.decls)] for file in (first, second)]
    assert kinds[0] == kinds[1]


# -------------------------------------------------------------------------------------- the records


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("1 + 2 * 3", ("+", 1, ("*", 2, 3))),
        ("1 * 2 + 3", ("+", ("*", 1, 2), 3)),
        ("1 - 2 - 3", ("-", ("-", 1, 2), 3)),
        ("2 ** 3 ** 4", ("**", 2, ("**", 3, 4))),
        ("-a ** 2", ("-", ("**", "a", 2))),
        ("a ** -b", ("**", "a", ("-", "b"))),
        ("-a * b", ("*", ("-", "a"), "b")),
        ("a or b and not c", ("or", "a", ("and", "b", ("not", "c")))),
        ("not a == b", ("not", ("==", "a", "b"))),
        ("a + 1 < b * 2", ("<", ("+", "a", 1), ("*", "b", 2))),
        ("a..b + 1", ("..", "a", ("+", "b", 1))),
        ("0..3 == x", ("==", ("..", 0, 3), "x")),
        ("if a then b else if c then d else e", ("if", "a", "b", ("if", "c", "d", "e"))),
        ("f(1, x=2)(3)", (("f", (None, 1), ("x", 2)), (None, 3))),
        ("a.b[0].c", (".", ("[]", (".", "a", "b"), 0), "c")),
        ("a[1:]", ("[:]", "a", 1, None)),
        ("a[:1]", ("[:]", "a", None, 1)),
        ("a[:]", ("[:]", "a", None, None)),
        ("[1, 2,]", [1, 2]),
        ("[]", []),
        ("7 mod 3 // 2", ("//", ("mod", 7, 3), 2)),
        ('"a{b}c{1 + 2}"', ("a", "b", "c", ("+", 1, 2))),
        ('"a\\{b\\}"', "a{b}"),
        ("input.height", (".", "input", "height")),
        ("x.shortcut", (".", "x", "shortcut")),
        ("true", True),
        ("1_0", 10),
        ("1e-4", 1e-4),
        ("7x7", (7, 7)),
        ("20%", 0.2),
    ],
)
def test_precedence_and_literals(text: str, tree: object) -> None:
    assert plain(expression(text)) == tree


def test_every_record_knows_its_place() -> None:
    for path in SPECS:
        text = path.read_text()
        file = parse(Source(path.name, text))
        for node in nodes((file.uses, file.decls)):
            span = getattr(node, "span", None)
            if span is None or not isinstance(span, Span):
                continue
            assert 0 <= span.start < span.end <= len(text)
            assert not span.text[0].isspace()
            assert not span.text[-1].isspace()
            if isinstance(node, s.Name):
                assert span.text == node.name
            if isinstance(node, s.Decl):
                assert node.name_span.text == node.name
            if isinstance(node, s.Call):
                assert node.name_span.text == node.name


def test_places_inside_strings() -> None:
    template = expression('"stage{ i + 1 }.{name}"')
    assert isinstance(template, s.Template)
    inner = [part for part in template.parts if isinstance(part, s.Expr)]
    assert [part.span.text for part in inner] == ["i + 1", "name"]


@pytest.mark.parametrize("word", sorted(keywords()))
def test_reserved_words_are_no_names(word: str) -> None:
    with pytest.raises(CompileError):
        parse(Source("x", f"network n {{ input 3x8x8  let {word} = 3 }}"))


@pytest.mark.parametrize(
    "word",
    [
        *["block", "shortcut", "network", "recipe", "experiment", "deploy", "primitive"],
        *["ambient", "use", "const", "fn", "table", "aux", "meta"],
    ],
)
def test_declaring_words_name_what_architectures_name_so(word: str) -> None:
    text = f"block b({word}: int = 3) {{ {word}: conv(3x3) }}\n"
    text += f"network n = m with {word} = 3\nrecipe r {{ {word} = 3 }}\n"
    block, variant, recipe = parse(Source("x", text)).decls
    assert isinstance(block, s.Block)
    assert block.params[0].name == word
    assert isinstance(variant, s.Variant)
    assert variant.derivation.settings[0].name == word
    assert isinstance(recipe, s.Recipe)


def test_keywords_are_the_grammars() -> None:
    assert {"network", "mod", "input", "rnet", "from"} <= keywords()
    assert all(word.islower() for word in keywords())
    assert not {"seq", "conv", "len", "index"} & keywords()


@pytest.mark.parametrize("text", ["3x", "3x3x", "1.", ".5", "1e", "1e+", "0b1", "5 %", "1.5.2"])
def test_numbers_that_are_none(text: str) -> None:
    with pytest.raises(CompileError):
        expression(text)


# --------------------------------------------------------------------------------- what is kept


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.name)
def test_the_exact_tree_has_every_token(path: Path) -> None:
    text = path.read_text()
    from resnetc.lang.format_rules import tokens_of

    found = [str(token) for token in tokens_of(parse_exactly(text))]
    assert "".join(found) == "".join(
        "".join(m[0].split()) if m[0][0] != '"' else m[0] for m in tokens(text)
    )


def test_a_spoiled_cache_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for spoiled in (b"", b"rubbish", b"\x80\x05K\x01.", os.urandom(100)):
        parser.grammar.cache_clear()
        parse(Source("x", "const a = 1"))
        cached = list((tmp_path / "resnetc").glob("*.lark"))
        assert len(cached) == 1
        cached[0].write_bytes(spoiled)
    parser.grammar.cache_clear()
    assert parse(Source("x", "const a = 1")).decls[0].name == "a"
    parser.grammar.cache_clear()


def test_a_cache_that_cannot_be_written_does_not_matter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    parser.grammar.cache_clear()
    assert parse(Source("x", "const a = 1")).decls[0].name == "a"
    parser.grammar.cache_clear()


def test_without_a_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    parser.grammar.cache_clear()
    assert parse(Source("x", "const a = 1")).decls[0].name == "a"
    parser.grammar.cache_clear()
    assert list(tmp_path.iterdir()) == []


@given(st.text(alphabet='ab{}\\"n1+ ', max_size=12))
@settings(max_examples=200, deadline=None)
def test_strings_end_where_they_end(inside: str) -> None:
    try:
        found = expression(f'"{inside}"')
    except CompileError:
        return
    assert found.span.text == f'"{inside}"' or '"' in inside
