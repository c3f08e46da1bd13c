"""Whatever is fed to the compiler, it ends soon, with a plain mistake and nothing else."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resnetc import load
from resnetc.checking import FileReport, check_file
from resnetc.cli.main import run
from resnetc.diagnostics import CompileError, ResnetcError, Source, UsageError, render
from resnetc.lang import budget
from resnetc.lang.budget import MAX_LEVELS
from resnetc.lang.parser import keywords, parse, parse_expression
from resnetc.lang.scan import tokens
from resnetc.resources import specs

SECONDS = 4.0
"""Processor time that a hopeless program may take: under 2 s on a machine that is not busy."""


@contextmanager
def in_time() -> Iterator[None]:
    start = time.process_time()
    yield
    assert time.process_time() - start < SECONDS


def check(text: str | bytes, folder: Path) -> FileReport:
    path = folder / "x.rnet"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return check_file(path)


def codes(text: str | bytes, folder: Path) -> set[str]:
    """Codes of the mistakes in a file; each is rendered, to see that it can be."""
    try:
        found = check(text, folder).findings
    except CompileError as error:
        found = error.diagnostics
    assert all(render(diagnostic, colour=True) for diagnostic in found)
    return {diagnostic.code for diagnostic in found}


def network(body: str) -> str:
    return f"network n {{\n  input 3x8x8\n  {body}\n  relu\n}}\n"


def doubling(count: int, one: Callable[[int], str]) -> str:
    return "\n".join(one(i) for i in range(1, count))


HOPELESS = {
    "brackets": (network(f"let a = {'[' * 50_000}{']' * 50_000}"), "E0104"),
    "parentheses": (network(f"let a = {'(' * 50_000}1{')' * 50_000}"), "E0104"),
    "braces": (network("seq {" * 50_000 + "}" * 50_000), "E0104"),
    "ifs": (network("if true {" * 50_000 + "}" * 50_000), "E0104"),
    "unclosed": (network("let a = " + "[" * 50_000), "E0104"),
    "minuses": (network(f"let a = {'-' * 50_000}1"), "E0104"),
    "a megabyte of minuses": ("-" * 1_000_000, "E0104"),
    "nots": (network(f"let a = {'not ' * 50_000}true"), "E0104"),
    "types": (f"block b(x: {'list[' * 50_000}int{']' * 50_000}) {{ relu }}", "E0104"),
    "sums": (network(f"let a = 1{' + 1' * 40_000}"), "E0104"),
    "powers": (network(f"let a = {'1 ** ' * 40_000}1"), "E0104"),
    "attributes": (network(f"let a = input{'.shape' * 40_000}"), "E0104"),
    "calls": (network(f"let a = len{'()' * 30_000}"), "E0104"),
    "else ifs": (network("if false {}" + " else if false {}" * 10_000), "E0104"),
    "conditions": (network(f"let a = {'if true then 1 else ' * 10_000}1"), "E0104"),
    "tokens": (network("relu " * 200_000), "E0106"),
    "bytes": ("#" * 1_000_001, "E0106"),
    "braces in a string": (network(f'"{"{" * 4_000}": relu'), "E0107"),
    "a huge word": (f"const {'a' * 900_000} = 1", "E0106"),
    "a huge int": (f"const a = {'9' * 4_000}", "E0105"),
    "a huge edition": (f"rnet {'9' * 4_000}", "E0114"),
    "a huge float": (f"const a = 1e{'9' * 4_000}", "E0105"),
    "a huge size": (f"const a = 1{'x1' * 2_000}", "E0105"),
    "a huge ratio": (f"const a = {'9' * 4_000}%", "E0105"),
    "a power of a power": (network("let a = 9 ** 9 ** 9"), "E0309"),
    "a float's power": (network("let a = 1e300 ** 1e300"), "E0309"),
    "a range": (network("for i in 0..10 ** 9 { relu }"), "E0605"),
    "a range in a function": (network("let a = sum(0..10 ** 9)"), "E0605"),
    "a range in a list": (network("let a = [i for i in 0..10 ** 9]"), "E0605"),
    "a repeated list": (network("let a = [1] * 10 ** 9"), "E0605"),
    "lists of lists": (
        network("let a0 = [1]\n" + doubling(60, lambda i: f"let a{i} = [a{i - 1}, a{i - 1}]")),
        "E0605",
    ),
    "strings of strings": (
        network('let a0 = "aaaa"\n' + doubling(60, lambda i: f'let a{i} = "{{a{i - 1}}}" * 2')),
        "E0307",
    ),
    "nested loops": (
        network("for i in 0..10_000 { for j in 0..10_000 { for k in 0..10_000 {} } }"),
        "E0603",
    ),
    "long sums in a loop": (
        network("let a = [1] * 10_000\n  for i in 0..10_000 { let b = sum(a) }"),
        "E0603",
    ),
    "long comparisons in a loop": (
        network("let a = [1] * 10_000\n  for i in 0..10_000 { let b = a == a }"),
        "E0603",
    ),
    "nothing, often": (network("none_at_all() * 9_007_199_254_740_992"), "E0201"),
    "repeated nothing": (
        "block b(x: layer?) { for i in 0..10_000 { x * 60_000 } }\n" + network("b(none)"),
        "E0603",
    ),
    "steps spent before a variant's facts": (
        network("for i in 0..10_000 { for j in 0..10_000 {} }")
        + "network m = n { expect params = 1 + 1 }\n",
        "E0603",
    ),
    "steps spent by a variant's facts": (
        "fn f0(x: int) -> int = x\n"
        + doubling(60, lambda i: f"fn f{i}(x: int) -> int = f{i - 1}(x) + f{i - 1}(x)")
        + network("")
        + "network m = n { expect params = f40(1) }\n",
        "E0603",
    ),
    "repeated groups": (network("group { group {} * 1_000_000 } * 1_000_000"), "E0601"),
    "repeated layers": (network("relu * 9_007_199_254_740_992"), "E0601"),
    "layers in a loop": (network("seq { for i in 0..10_000 { conv(3x3) * 11 } }"), "E0603"),
    "norms": (network("seq { norm * 60_000 }"), "E0603"),
    "parameters": (
        "block b { seq { norm * 100 } }\n" + network("seq { b * 1_000 }"),
        "E0602",
    ),
    "blocks that double, as deep as they may": (
        "block b0 { relu }\n"
        + doubling(25, lambda i: f"block b{i} {{ p: b{i - 1} -> q: b{i - 1} }}")
        + network("x: b24"),
        "E0601",
    ),
    "blocks that double": (
        "block b0 { relu }\n"
        + doubling(41, lambda i: f"block b{i} {{ b{i - 1} -> b{i - 1} }}")
        + network("b40"),
        "E0604",
    ),
    "functions that double": (
        "fn f0(x: int) -> int = x\n"
        + doubling(60, lambda i: f"fn f{i}(x: int) -> int = f{i - 1}(x) + f{i - 1}(x)")
        + network("let a = f40(1)"),
        "E0603",
    ),
    "a long chain of constants": (
        doubling(1_000, lambda i: f"const a{i} = a{i + 1} + 1") + "\nconst a1000 = 1",
        "E0604",
    ),
    "a long chain of networks": (
        network("").replace("n {", "n0 {", 1)
        + doubling(1_000, lambda i: f"network n{i} = n{i - 1}"),
        "E0408",
    ),
    "a long chain of recipes": (
        "recipe r0 { batch = 1 }\n" + doubling(1_000, lambda i: f"recipe r{i} = r{i - 1}"),
        "E0408",
    ),
    "python's attributes": (network('let a = "a".__class__.__mro__'), "E0212"),
    "python's attributes of a layer": (network("let a = relu.declaration"), "E0212"),
    "python's builtins": (network("let a = __import__"), "E0201"),
    "a mistake in a block of a deep network": (
        "block b(n: int) { conv(3x3, widht) -> norm -> act }\n"
        + network("seq { for i in 0..9_000 { b(i) } }"),
        "E0201",
    ),
    "a parameter twice that sets an ambient": (
        "network n(norm: layer = batchnorm, norm: layer? = none) { input 3x8x8 relu }",
        "E0206",
    ),
    "a block in itself": ("block a { a }\n" + network("a"), "E0408"),
    "a block as its own argument": ("block a(b: block) { b(b) }\n" + network("a(a)"), "E0408"),
    "blocks in each other": ("block a { b }\nblock b { a }\n" + network("a"), "E0408"),
    "functions in each other": (
        "fn f(x: int) -> int = g(x)\nfn g(x: int) -> int = f(x)\n" + network("let a = f(1)"),
        "E0408",
    ),
    "networks in each other": ("network a = b\nnetwork b = a\n", "E0408"),
    "recipes in each other": ("recipe a = b\nrecipe b = a\n", "E0408"),
    "ambients in each other": ("ambient a: int = b\nambient b: int = a\n", "E0408"),
    "a default that needs itself": (
        "fn f(x: int = f()) -> int = x\n" + network("let a = f()"),
        "E0408",
    ),
    "not UTF-8": (b"network \xff\xfe {}", "E0109"),
    "UTF-16": (network("").encode("utf-16"), "E0109"),
    "a lone surrogate": (b"# \xed\xa0\x80", "E0109"),
    "a NUL": (network("let a\0 = 3"), "E0100"),
    "a late byte order mark": (network("") + "\ufeff", "E0100"),
}


@pytest.mark.parametrize("name", HOPELESS)
def test_a_hopeless_program_is_refused_soon(name: str, tmp_path: Path) -> None:
    text, code = HOPELESS[name]
    with in_time():
        assert code in codes(text, tmp_path)


def test_a_file_spends_its_budget_once(tmp_path: Path) -> None:
    endless = network("for i in 0..10_000 { for j in 0..10_000 {} }")
    text = endless + "".join(f"network m{i} = n\n" for i in range(20))
    with in_time():
        assert codes(text, tmp_path) == {"E0603"}


def test_a_file_that_is_trusted_may_ask_for_more(tmp_path: Path) -> None:
    text = network("seq { relu -> relu } * 8_000")
    assert codes(text, tmp_path) == {"E0603"}
    with budget.times(2):
        assert codes(text, tmp_path) == set()
    assert codes(text, tmp_path) == {"E0603"}

    path = tmp_path / "large.rnet"
    path.write_text(text)
    assert run(["check", str(path)]) == 3
    assert run(["--budget", "2", "check", str(path)]) == 0


def test_deployments_share_the_budget_of_their_file(tmp_path: Path) -> None:
    endless = network("for i in 0..10_000 { for j in 0..10_000 {} }")
    text = endless + "".join(
        f'network m{i} = n\ndeploy d{i} {{ network = m{i}  outputs = ["x"] }}\n' for i in range(150)
    )
    with in_time():
        assert "E0603" in codes(text, tmp_path)


@pytest.mark.parametrize("deep", [20, 31])
def test_depth_is_counted_and_not_the_hosts_stack(deep: int, tmp_path: Path) -> None:
    """Many levels in many blocks: more of Python's frames than its usual limit allows."""
    before = sys.getrecursionlimit()
    nest = "if true { " * 8
    text = "block b0 { relu }\n" + doubling(
        deep, lambda i: f"block b{i} {{ {nest} b{i - 1} {'}' * 8} }}"
    )
    found = codes(text + network(f"b{deep - 1}"), tmp_path)
    assert found == (set() if deep * 9 < MAX_LEVELS else {"E0604"})
    assert sys.getrecursionlimit() == before


def test_what_is_large_but_sound_compiles(tmp_path: Path) -> None:
    body = "\n".join(f"c{i}: conv(3x3) -> n{i}: norm -> act" for i in range(1_000))
    assert codes(network(body), tmp_path) == set()
    assert codes(network(f"let a = 1{' + 1' * 100}"), tmp_path) == set()
    assert codes(network("seq { " * 30 + "relu" + " }" * 30), tmp_path) == set()


@pytest.mark.parametrize(
    "text", ["-" * 100_000, "(" * 100, "[1" * 60, "9" * 5_000, "", "1 +", "\0"]
)
def test_a_hopeless_setting_is_refused(text: str) -> None:
    with in_time(), pytest.raises(CompileError):
        load("cifar_resnet", {"depth": text})


# -------------------------------------------------------------------------------------- the files


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    folder = tmp_path / "folder.rnet"
    folder.mkdir()
    for reference in (tmp_path / "missing.rnet", folder, f"{folder}:n", tmp_path / "a\0b.rnet"):
        with pytest.raises(UsageError):
            load(reference)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read anything")
def test_a_file_without_permission(tmp_path: Path) -> None:
    path = tmp_path / "x.rnet"
    path.write_text(network(""))
    path.chmod(0)
    with pytest.raises(UsageError, match="cannot be read"):
        load(path)


def test_links_in_a_circle(tmp_path: Path) -> None:
    (tmp_path / "a.rnet").symlink_to(tmp_path / "b.rnet")
    (tmp_path / "b.rnet").symlink_to(tmp_path / "a.rnet")
    with pytest.raises(UsageError):
        load(tmp_path / "a.rnet")
    assert "E0207" in codes("use .a { x }\n", tmp_path)


def test_a_device_is_no_spec(tmp_path: Path) -> None:
    with in_time(), pytest.raises(ResnetcError):
        check("use .pipe { x }\n", _with_pipe(tmp_path))
        raise CompileError(check("use .pipe { x }\n", tmp_path).findings)


def _with_pipe(folder: Path) -> Path:
    os.mkfifo(folder / "pipe.rnet")
    return folder


@pytest.mark.parametrize("path", ["..x", "...x", "x..y", "/etc/passwd", "x/y", "..", ""])
def test_imports_cannot_be_written_as_paths(path: str, tmp_path: Path) -> None:
    (tmp_path.parent / "x.rnet").write_text("const y = 1\n")
    assert codes(f"use {path} {{ y }}\n", tmp_path) & {"E0100", "E0113", "E0207"}


def test_a_link_out_of_the_project_is_refused(tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (tmp_path / "secret.rnet").write_text("const y = 1\n")
    (project / "near.rnet").symlink_to(tmp_path / "secret.rnet")
    (project / "away").symlink_to(tmp_path)
    assert codes("use near { y }\n", project) == {"E0210"}
    assert codes("use .near { y }\n", project) == {"E0210"}
    assert codes("use away.secret { y }\n", project) == {"E0210"}


def test_files_that_import_each_other(tmp_path: Path) -> None:
    (tmp_path / "a.rnet").write_text("use b { y }\nconst x = y\n")
    (tmp_path / "b.rnet").write_text("use x { y }\nconst y = z\n")
    assert "E0209" in codes("use a { x }\nconst y = x\n", tmp_path)
    assert codes("use .x { y }\n", tmp_path) == {"E0209"}


# --------------------------------------------------------------------------------------- the fuzz

ZOO = [path.read_text() for path in sorted(specs().rglob("*.rnet"))]
WORDS = [*sorted(keywords()), "x", "conv", "norm", "act", "relu", "seq", "residual", "add", "len"]
WORDS += ["3x3", "1", "1.5", "20%", "A", '"a"', '"{x}"', "basic", "int", "list", "\n", "# c\n"]
WORDS += [*"(){}[]=:,|+-*.?", "->", "=>", "**", "//", "..", "==", "<"]


def survives(text: str, folder: Path) -> None:
    """Every mistake is a ResnetcError or a finding that can be rendered."""
    with suppress(UsageError):
        codes(text, folder)


@given(st.lists(st.sampled_from(WORDS), max_size=40).map(" ".join))
@settings(max_examples=150, deadline=None)
def test_token_soup(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    survives(text, tmp_path_factory.getbasetemp())
    survives(network(text), tmp_path_factory.getbasetemp())


@given(st.text(max_size=60))
@settings(max_examples=100, deadline=None)
def test_any_text(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    text = text.encode(errors="ignore").decode()
    survives(text, tmp_path_factory.getbasetemp())
    for read in (parse, parse_expression):
        with suppress(CompileError):
            read(Source("x", text))


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """A file of the zoo with a few tokens deleted, doubled, swapped or replaced."""
    found = [match[0] for match in tokens(draw(st.sampled_from(ZOO)))]
    for _ in range(draw(st.integers(1, 3))):
        i, j = draw(st.tuples(*[st.integers(0, len(found) - 1)] * 2))
        kind = draw(st.sampled_from(["delete", "double", "swap", "replace", "copy"]))
        if kind == "delete":
            del found[i]
        elif kind == "double":
            found.insert(i, found[i])
        elif kind == "swap":
            found[i], found[j] = found[j], found[i]
        elif kind == "copy":
            found[i] = found[j]
        else:
            found[i] = draw(st.sampled_from(WORDS))
    return " ".join(found)


@given(mutated())
@settings(max_examples=40, deadline=None)
def test_mutations_of_the_zoo(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    survives(text, tmp_path_factory.getbasetemp())
