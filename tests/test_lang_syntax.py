"""Mistakes of syntax: each is told once, under its own name, on the line where it was made.

The programs of `cases/syntax` say themselves what is wrong where: `# E0101` at the end of a line,
or `#^ E0101` under one that has no room for it.
"""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest

from resnetc.diagnostics import CompileError, Diagnostic, Source, render
from resnetc.lang.parser import parse
from resnetc.lang.scan import tokens
from resnetc.resources import specs

CASES = Path(__file__).parent / "cases" / "syntax"
PROGRAMS = sorted(CASES.glob("*.rnet"))


def mistakes(text: str, name: str = "x.rnet") -> tuple[Diagnostic, ...]:
    try:
        parse(Source(name, text))
    except CompileError as error:
        return error.diagnostics
    return ()


def announced(text: str) -> list[tuple[int, str]]:
    """Lines and codes of the mistakes that a program's comments announce."""
    lines = list(enumerate(text.splitlines(), 1))
    here = [(number, code) for number, line in lines for code in re.findall(r"# (E\d{4})", line)]
    above = [(n - 1, code) for n, line in lines for code in re.findall(r"#\^ (E\d{4})", line)]
    return sorted(here + above)


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: path.stem)
def test_every_mistake_is_told_once_on_its_line(
    program: Path, request: pytest.FixtureRequest
) -> None:
    text = program.read_text(encoding="utf-8")
    found = mistakes(text, program.name)
    told = [(diagnostic.primary.span.line, diagnostic.code) for diagnostic in found]
    assert sorted(told) == announced(text)
    rendered = "\n\n".join(map(render, found)) + "\n"
    golden = program.with_suffix(".txt")
    if request.config.getoption("--update-golden"):
        golden.write_text(rendered, encoding="utf-8")
    assert rendered == golden.read_text(encoding="utf-8")


def test_there_are_many_programs_with_several_mistakes_each() -> None:
    counts = [len(announced(path.read_text())) for path in PROGRAMS]
    assert len(counts) >= 30
    assert sorted(counts)[len(counts) // 2] >= 3
    assert {path.stem for path in CASES.glob("*.txt")} == {path.stem for path in PROGRAMS}


# ------------------------------------------------------------------------------ one token changed


def changed_programs(count: int, seed: int) -> list[tuple[str, int]]:
    """Files of the zoo with one token left out or one put in, and the line where."""
    rng = random.Random(seed)
    texts = [path.read_text() for path in sorted(specs().rglob("*.rnet"))]
    vocabulary = [match[0] for text in texts for match in tokens(text)]
    changed: list[tuple[str, int]] = []
    while len(changed) < count:
        text = rng.choice(texts)
        match = rng.choice(list(tokens(text)))
        new = "" if rng.random() < 0.5 else f"{rng.choice(vocabulary)} "
        end = match.start() if new else match.end()
        changed.append(
            (text[: match.start()] + new + text[end:], text.count("\n", 0, match.start()) + 1)
        )
    return changed


def test_the_changed_line_is_blamed() -> None:
    """Measured over 2,500 changes: 99.8 % within one line, 97 % with one finding alone."""
    blamed, alone, broken = 0, 0, 0
    for text, line in changed_programs(160, seed=11):
        found = mistakes(text)
        if found:
            broken += 1
            blamed += abs(found[0].primary.span.line - line) <= 1
            alone += len(found) == 1
    assert broken > 100
    assert blamed >= 0.98 * broken
    assert alone >= 0.9 * broken


def test_a_large_file_is_not_read_again_and_again() -> None:
    line = "const a = [1 2]\n"
    assert len(mistakes(line * 2_500)) == 3  # what may be read again is used up
    assert len(mistakes(line * 7_000)) == 1


def test_no_more_are_looked_for_than_are_shown() -> None:
    assert len(mistakes("const a = [1 2]\n" * 100)) == 20
