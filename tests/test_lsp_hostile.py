"""Half-typed and hostile texts: every feature answers, none raises."""

from __future__ import annotations

import contextlib
import random
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lsprotocol import types as lsp

from resnetc.diagnostics import Span, UsageError
from resnetc.lsp import completion, findings, formatting, hints, hover, navigation, rename, tokens
from resnetc.lsp.positions import Positions
from resnetc.lsp.workspace import Workspace

ROOT = Path(__file__).parent.parent
SPECS = sorted((ROOT / "specs").glob("*.rnet"))
POSITIONS = Positions()
SMALL = """rnet 1
use std.nn { conv2d as c }
## Doc.
block b(width: int, mode: "a" | "b" = "a") {
  let xs = [x + 1 for x in 0..width if x > 0]
  "l{len(xs)}": residual(act=none) { c(3x3, width) -> norm as t }
  add { | [if width > 2] identity | [for x in xs] conv(1x1, t.channels) }
}
network n = m with width = 4, norm = none { expect params = 3 }
network m(width: int = 3) { input 3x8x8 => 8x8 b(width, mode="b") * 2 from here, here add }
recipe r { batch = 3 optimizer = sgd(lr=1e-1) }
"""


def ask_everything(workspace: Workspace, path: Path, offset: int) -> None:
    """Put every question about an offset of a document; an answer may be empty."""
    analysis = workspace.analysis(path)
    rows = workspace.rows(path)
    source = analysis.source
    findings.diagnostics(analysis, POSITIONS)
    findings.actions(analysis, Span(source, 0, len(source.text)), [], POSITIONS)
    hints.hints(analysis, rows, POSITIONS.whole(source), POSITIONS)
    hover.hover(analysis, rows, offset, POSITIONS)
    completion.complete(analysis, workspace.documents, offset)
    completion.signature_help(analysis, offset)
    navigation.definition(analysis, offset, POSITIONS)
    navigation.references(workspace, analysis, offset, True)
    navigation.symbols(analysis, POSITIONS)
    navigation.folds(analysis)
    tokens.semantic_tokens(analysis, POSITIONS)
    formatting.format_edits(source, POSITIONS)
    with contextlib.suppress(UsageError):
        rename.rename(workspace, analysis, offset, "fresh_name")


@pytest.mark.parametrize("spec", SPECS, ids=lambda path: path.stem)
def test_every_prefix_of_a_spec_is_served(spec: Path, tmp_path: Path) -> None:
    """Of every file a few of its prefixes, as if somebody typed it."""
    text = spec.read_text()
    chance = random.Random(spec.name)
    workspace, path = Workspace(), tmp_path / "x.rnet"
    for end in sorted(chance.sample(range(len(text)), 2)):
        workspace.update(path, text[:end])
        ask_everything(workspace, path, end)


def test_every_prefix_of_a_small_file_is_served(tmp_path: Path) -> None:
    workspace, path = Workspace(), tmp_path / "x.rnet"
    for end in range(0, len(SMALL), 5):
        workspace.update(path, SMALL[:end])
        ask_everything(workspace, path, end)
    workspace.update(path, SMALL)
    assert workspace.analysis(path).mistakes == ()


@given(start=st.integers(0, len(SMALL)), length=st.integers(0, 40), put=st.text(max_size=6))
@settings(max_examples=30, deadline=None)
def test_a_changed_text_is_served(start: int, length: int, put: str) -> None:
    workspace, path = Workspace(), Path("/nowhere/x.rnet")
    workspace.update(path, SMALL[:start] + put + SMALL[start + length :])
    ask_everything(workspace, path, start)


@pytest.mark.parametrize(
    "text",
    [
        "-" * 1_000_000,
        "(" * 100_000,
        "block b() { " + "seq { " * 5_000,
        "network n { input 3x8x8\n" + "conv(1x1, 3) -> " * 20_000,
        "a " * 200_000,
        "#" * 900_000,
        '"' + "x" * 900_000,
        "network n() {\n" * 3_000,
        "block b() { act }\n" * 1_000,
        "\0\n\r\t\f\v",
        "\r\n".join(SMALL.split("\n")),
        "rnet 1\rblock b() { act }\r",
        "use " + "." * 1_000,
        "use .x { x }",
    ],
    ids=lambda text: f"{text[:8]!r}x{len(text)}",
)
def test_a_hostile_text_is_answered_soon(text: str, tmp_path: Path) -> None:
    workspace, path = Workspace(), tmp_path / "x.rnet"
    workspace.update(path, text)
    began = time.process_time()
    ask_everything(workspace, path, len(text))
    assert time.process_time() - began < 20


def test_files_that_import_each_other_are_served(tmp_path: Path) -> None:
    (tmp_path / "y.rnet").write_text("use .x { b }\nblock c() { b }\n")
    workspace, path = Workspace([tmp_path]), tmp_path / "x.rnet"
    workspace.update(path, "use .y { c }\nblock b() { c }\n")
    ask_everything(workspace, path, 20)
    assert "E0209" in [found.code for found in workspace.analysis(path).findings]


def test_a_file_that_is_no_text_is_served(tmp_path: Path) -> None:
    (tmp_path / "y.rnet").write_bytes(b"\xff\xfe")
    (tmp_path / "z.rnet").mkdir()
    workspace, path = Workspace([tmp_path]), tmp_path / "x.rnet"
    workspace.update(path, "use .y { c }\nuse .z { d }\nblock b() { c d }\n")
    ask_everything(workspace, path, 45)


def test_a_position_far_outside_is_served(tmp_path: Path) -> None:
    workspace, path = Workspace(), tmp_path / "x.rnet"
    workspace.update(path, SMALL)
    source = workspace.analysis(path).source
    for place in (lsp.Position(10_000, 0), lsp.Position(3, 10_000), lsp.Position(0, 0)):
        ask_everything(workspace, path, POSITIONS.offset(source, place))
