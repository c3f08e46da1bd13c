"""The reference and the tutorial of the language hold: examples compile, tables are complete."""

from __future__ import annotations

import dataclasses
import re
import shlex
import subprocess
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest

import resnetc
from resnetc import resources
from resnetc.bounds import bare, hints, options, rules
from resnetc.checking import FileReport, check_file
from resnetc.cli.main import run
from resnetc.diagnostics import Source
from resnetc.lang import (
    budget,
    elaborate,
    modules,
    parser,
    place,
    record,
    recovery,
    values,
    variants,
)
from resnetc.lang import syntax as s
from resnetc.lang.bind import signature
from resnetc.lang.builtins import FUNCTIONS
from resnetc.lang.expectations import KEYS
from resnetc.lang.structures import STRUCTURES
from resnetc.recipes import DATA_SETS, WORDS, Condition, DataSet, Recipe
from resnetc.sections import CALIBRATIONS, Deploy, Engine, Experiment, Precision

D = TypeVar("D", bound=s.Decl)
DOCS = Path(__file__).parent.parent / "docs"
LANGUAGE = (DOCS / "language.md").read_text()
DECLARATION = re.compile(
    r"(?:\s|#[^\n]*\n)*"
    r"(?:rnet 1|(?:use|const|fn|ambient|block|shortcut|network|primitive|recipe)\s+[\w.])"
)
TUTORIAL = (DOCS / "tutorial.md").read_text()
FENCE = re.compile(r"^```rnet(?: (E\d{4}))?\n(.*?)^```\n(?:\n```paths\n(.*?)^```\n)?", re.M | re.S)
LIMITS = {
    "bytes of a file": parser.MAX_SOURCE_BYTES,
    "words and signs of a file": parser.MAX_TOKENS,
    "characters of a word or string": parser.MAX_TOKEN,
    "brackets inside brackets": parser.MAX_NESTING,
    "characters read again to find more mistakes of syntax": recovery.MAX_REREAD,
    "depth of the syntax tree": parser.MAX_DEPTH,
    "files of a program, prelude included": modules.MAX_MODULES,
    "variants derived from each other": variants.MAX_DERIVATIONS,
    "steps of evaluation": budget.MAX_STEPS,
    "steps of the networks of a file together, before another is begun": budget.MAX_FILE_STEPS,
    "expressions and bodies inside each other at one time": budget.MAX_LEVELS,
    "items of a list": budget.MAX_LIST,
    "items of a list and the lists in it": budget.MAX_ITEMS,
    "lists inside lists": budget.MAX_LIST_DEPTH,
    "characters of a computed string": budget.MAX_STRING,
    "magnitude of an int": values.MAX_INT,
    "layers and blocks of a network": record.MAX_NODES,
    "parameters of a network, by path": record.MAX_PARAMETERS,
    "blocks inside blocks": place.MAX_BLOCK_DEPTH,
    "mistakes in a network before it is given up": elaborate.MAX_FINDINGS,
}


@dataclass(frozen=True)
class Example:
    """A fenced block: the error it should give, or none; the paths it should have, or none."""

    place: str
    code: str | None
    text: str
    paths: list[str] | None

    @property
    def file(self) -> str:
        """The file it stands for: itself, or a network with it as the body."""
        if DECLARATION.match(self.text):
            return self.text
        return f"network example {{\n  input 64x32x32\n{self.text}}}\n"


def examples(document: str) -> list[Example]:
    text = (DOCS / document).read_text()
    return [
        Example(
            f"{document}:{text.count(chr(10), 0, match.start()) + 1}",
            match[1],
            match[2],
            None if match[3] is None else match[3].split(),
        )
        for match in FENCE.finditer(text)
    ]


DOCUMENTS = ("language.md", "tutorial.md", "coming-from.md")
EXAMPLES = [example for document in DOCUMENTS for example in examples(document)]


def section(title: str) -> str:
    """The text below a heading of the reference, up to the next heading."""
    found = re.search(rf"^#+ {re.escape(title)}\n(.*?)(?=^#+ |\Z)", LANGUAGE, re.M | re.S)
    assert found is not None, f"docs/language.md has no heading `{title}`"
    return re.sub(r"^```.*?^```\n", "", found[1], flags=re.M | re.S)


def first_cells(text: str) -> list[str]:
    """The first cells of the tables in a text, without their heads."""
    rows = re.findall(r"^\| (.*?) +\| ", text, re.M)
    return [row for row in rows if row.startswith("`")]


def names(text: str) -> set[str]:
    """The words in backquotes."""
    return set(re.findall(r"`([a-z_]+)`", text))


def items(text: str) -> list[str]:
    """The code that each item of a list begins with."""
    return re.findall(r"^- `([^`]+)`:", text, re.M)


def compiled(example: Example, folder: Path) -> FileReport:
    file = folder / "example.rnet"
    file.write_text(example.file)
    return check_file(file)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.place)
def test_examples_compile_or_fail_as_they_say(example: Example, tmp_path: Path) -> None:
    report = compiled(example, tmp_path)
    codes = {finding.code for finding in report.findings}
    assert codes == ({example.code} if example.code else set()), report.findings
    if not example.code:
        assert report.networks or report.templates or report.recipes
    if example.paths is not None:
        (graph,) = report.networks.values()
        assert [p for p in graph.parameters if p.endswith(".weight")] == example.paths


def test_every_fenced_example_was_found() -> None:
    for document in DOCUMENTS:
        fences = re.findall(r"^```(?:rnet|paths)", (DOCS / document).read_text(), re.M)
        found = examples(document)
        assert len(fences) == len(found) + sum(e.paths is not None for e in found)
        assert found


def test_every_kind_of_declaration_and_statement_has_an_example() -> None:
    trees = [parser.parse(Source(e.place, e.file)) for e in EXAMPLES if not e.code]
    seen: set[type] = set()
    stack: list[object] = list(trees)
    while stack:
        node = stack.pop()
        if isinstance(node, tuple):
            stack.extend(node)
        elif dataclasses.is_dataclass(node) and not isinstance(node, Source):
            seen.add(type(node))
            stack.extend(getattr(node, f.name) for f in dataclasses.fields(node))
    kinds = {
        kind
        for kind in vars(s).values()
        if isinstance(kind, type) and issubclass(kind, s.Expr | s.Stmt | s.Decl)
    }
    bases = {s.Expr, s.Stmt, s.Decl, s.Callable, s.Section, s.SectionVariant}
    assert kinds - seen <= {*bases, s.Primitive}


# --------------------------------------------------------------------------------------- tutorial


def session(verbs: set[str]) -> Iterator[tuple[str, str]]:
    """The tutorial from top to bottom: a spec to save, or a command with one of these verbs (or
    none of ours), and what it prints."""
    for kind, text in re.findall(r"^```(rnet|console)[^\n]*\n(.*?)^```", TUTORIAL, re.M | re.S):
        if kind == "rnet":
            yield "save mine.rnet", text
            continue
        for command, printed in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", text, re.M):
            program, verb, *_ = shlex.split(command)
            if program != "resnetc" or verb in verbs:
                yield command, printed


def printed_by(command: str, capfd: pytest.CaptureFixture[str]) -> str:
    program, *arguments = shlex.split(command)
    if program == "resnetc":
        run(arguments)
    else:
        subprocess.run([program, *arguments], check=True)
    captured = capfd.readouterr()
    return captured.err + captured.out


def lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.strip("\n").splitlines()]


def act_out(verbs: set[str], capfd: pytest.CaptureFixture[str], *, masked: bool = False) -> int:
    """Follow the tutorial in the current folder and compare; returns the number of commands."""
    count = 0
    for command, text in session(verbs):
        if command == "save mine.rnet":
            Path("mine.rnet").write_text(text)
            continue
        count += 1
        expected, found = text, printed_by(command, capfd)
        if masked:
            any_number = r"\b[0-9a-f]{12}\b|\d[\d.,]*(e-\d+)?"
            expected, found = (re.sub(any_number, "0", t) for t in (expected, found))
        wanted, got = lines(expected), lines(found)
        if wanted and wanted[0] == "...":
            wanted, got = wanted[1:], got[1 - len(wanted) :]
        if wanted and wanted[-1] == "...":
            wanted, got = wanted[:-1], got[: len(wanted) - 1]
        assert got == wanted, command
    return count


def test_the_tutorial_prints_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert act_out({"new", "check", "info"}, capfd) >= 14
    found = re.search(r'load\("(.*?)", n=(\d)\)\nnet.cost.params +# (\d+)\n', TUTORIAL)
    assert found is not None
    assert resnetc.load(found[1], n=int(found[2])).cost.params == int(found[3])


@pytest.mark.slow
def test_the_tutorials_training_and_export_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert act_out({"new", "train", "export", "verify"}, capfd, masked=True) >= 5


def test_the_tutorial_uses_verbs_that_a_test_runs() -> None:
    verbs = set(re.findall(r"^\$ resnetc (\w+)", TUTORIAL, re.M))
    assert verbs == {"new", "check", "info", "train", "export", "verify"}


# ----------------------------------------------------------------------------------- completeness


def prelude() -> s.File:
    path = resources.specs() / "std" / "nn.rnet"
    return parser.parse(Source("nn.rnet", path.read_text()))


def declared(kind: type[D]) -> list[D]:
    return [decl for decl in prelude().decls if isinstance(decl, kind)]


def test_every_primitive_is_listed_with_its_parameters() -> None:
    signatures = [signature(d) for d in declared(s.Primitive)]
    assert sorted(items(section("Primitives"))) == sorted(signatures)


def test_the_rest_of_the_prelude_is_listed() -> None:
    policies = [signature(d) if d.params else d.name for d in declared(s.Shortcut)]
    listed = [cell.strip("`") for cell in first_cells(section("shortcut"))]
    assert sorted(listed[listed.index("here") + 1 :]) == sorted(policies)
    ambients = {decl.name: decl for decl in declared(s.Ambient)}
    assert [cell.strip("`") for cell in first_cells(section("ambient"))] == list(ambients)
    for decl in ambients.values():
        assert decl.type is not None
        row = f"| `{decl.name}` | `{decl.type.span.text}` | `{decl.value.span.text}` |"
        assert row in section("ambient")
    text = " ".join(LANGUAGE.split())
    for callable_ in (*declared(s.Block), *declared(s.Function)):
        assert f"`{signature(callable_)}" in text


def test_every_recipe_word_is_listed_with_its_fields() -> None:
    signatures = [
        f"{word}({', '.join(shown_field(field) for field in dataclasses.fields(record_))})"
        for word, record_ in WORDS.items()
    ]
    assert sorted(items(section("Recipes"))) == sorted(signatures)


def shown_field(field: dataclasses.Field[object]) -> str:
    if field.default is dataclasses.MISSING:
        return field.name
    return f"{field.name}={written(field.default)}"


def written(value: object) -> str:
    """A default as a recipe writes it."""
    if isinstance(value, tuple):
        return f"[{', '.join(map(written, value))}]"
    word = getattr(type(value), "word", None)
    return word if isinstance(word, str) else values.show(value)


def test_every_field_of_a_recipe_is_listed_with_its_default() -> None:
    rows = re.findall(r"^\| `(\w+)` \| `([^`]*)` \|", section("Recipes"), re.M)
    assert rows == [(f.name, written(f.default)) for f in dataclasses.fields(Recipe)]
    (data,) = re.findall(r"^\| `data` \|.*\| a data set: (.*?);", section("Recipes"), re.M)
    assert data == ", ".join(f"`{name}`" for name in DATA_SETS)


def test_every_field_of_an_experiment_and_a_deployment_is_listed_with_its_default() -> None:
    for title, schema in (("Experiments", Experiment), ("Deployments", Deploy)):
        rows = re.findall(r"^\| `([\w.]+)` \| `?([^`|]*?)`? \|", section(title), re.M)
        assert rows == list(fields_of(schema)), title
    signatures = [
        f"{word}({', '.join(shown_field(field) for field in dataclasses.fields(each))})"
        for word, each in CALIBRATIONS.items()
    ]
    assert items(section("Deployments")) == signatures


def test_every_bound_of_a_field_is_listed() -> None:
    for title, schema in (
        ("Recipes", Recipe),
        ("Experiments", Experiment),
        ("Deployments", Deploy),
    ):
        rows = re.findall(r"^\| `([\w.]+)` \| `?[^`|]*?`? \| ?([^|]*?) ?\|", section(title), re.M)
        assert rows == list(bounds_of(schema)), title


def bounds_of(schema: type, before: str = "") -> Iterator[tuple[str, str]]:
    for field in dataclasses.fields(schema):
        if field.name in ("precision", "engine") and dataclasses.is_dataclass(field.default):
            yield from bounds_of(type(field.default), f"{field.name}.")
        else:
            yield before + field.name, ", ".join(rules(hints(schema)[field.name]))


@pytest.mark.parametrize(("title", "words"), [("Recipes", WORDS), ("Deployments", CALIBRATIONS)])
def test_every_bound_of_a_word_is_listed(title: str, words: dict[str, type]) -> None:
    bounds: dict[str, list[str]] = {}
    for word, each in words.items():
        for field in dataclasses.fields(each):
            if rule := ", ".join(rules(hints(each)[field.name])):
                bounds.setdefault(rule, []).append(f"`{word}.{field.name}`")
    table = section(title).rpartition("| must | |\n|---|---|\n")[2]
    rows = re.findall(r"^\| ([^`|]*) \| (.*) \|$", table, re.M)
    assert rows == [(rule, ", ".join(fields)) for rule, fields in bounds.items()]


def test_every_number_of_a_section_has_bounds() -> None:
    """Also those to come: a number without any would be checked by nobody."""
    for record_ in (*WORDS.values(), *CALIBRATIONS.values(), *SECTIONS):
        for name, wanted in hints(record_).items():
            inner = [kind for each in options(wanted) for kind in typing.get_args(bare(each))]
            assert not {int, float} & {*options(wanted), *inner}, f"{record_.__name__}.{name}"


SECTIONS = (Recipe, DataSet, Condition, Experiment, Deploy, Precision, Engine)


def fields_of(schema: type, before: str = "") -> Iterator[tuple[str, str]]:
    """Fields of a schema and their defaults, those of a section inside by `section.field`."""
    for field in dataclasses.fields(schema):
        if field.default is dataclasses.MISSING:
            yield before + field.name, "needed"
        elif dataclasses.is_dataclass(field.default):
            yield from fields_of(type(field.default), f"{field.name}.")
        else:
            yield before + field.name, written(field.default)


def test_budgets_are_the_programs() -> None:
    rows = re.findall(r"^\| ([a-z][^|]*?) \| ([\d,]+) \|$", section("Budgets"), re.M)
    assert {name: int(number.replace(",", "")) for name, number in rows} == LIMITS


def test_no_budget_is_left_out() -> None:
    texts = (path.read_text() for path in Path(parser.__file__).parent.glob("*.py"))
    limits = [name for text in texts for name in re.findall(r"^(MAX_\w+) =", text, re.M)]
    assert len(limits) == len(LIMITS)


def test_words_functions_types_keys_and_structures_are_listed() -> None:
    reserved = re.search(r"These words are reserved:\n\n(.*?)\n\n", LANGUAGE, re.S)
    assert reserved is not None
    assert names(reserved[1]) == parser.keywords()
    functions = " ".join(first_cells(section("Built-in functions")))
    assert set(re.findall(r"`(\w+)\(", functions)) == set(FUNCTIONS)
    types = {cell.strip("`").split("[")[0] for cell in first_cells(section("Values and types"))}
    assert {name for name in types if name.isalpha() and name.islower()} == values.TYPES
    keys = [cell.strip("`") for cell in first_cells(section("expect and meta"))]
    assert keys == list(KEYS)
    cells = first_cells(section("Structures"))
    assert [re.split(r"[ (]", cell.strip("`"))[0] for cell in cells] == list(STRUCTURES)
