"""Copied blocks are what elaborating them again would have placed, mistakes included."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import fuzz_inputs
import pytest

from resnetc import load
from resnetc.checking import check_file
from resnetc.diagnostics import ResnetcError, render
from resnetc.lang import place
from resnetc.lang.replay import Replay


def outcome(path: Path) -> Any:
    """Everything `check` tells of a file, and every layer, module, name and parameter."""
    try:
        report = check_file(path)
    except ResnetcError as error:
        return [render(found) for found in getattr(error, "diagnostics", ())] or str(error)
    graphs = {
        name: (graph.hash, graph.scopes, [(node.name, node.scope, node.span) for node in graph])
        for name, graph in report.networks.items()
    }
    return graphs, [render(found) for found in report.findings]


@pytest.fixture
def alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str | bytes], Any]:
    """Compares what comes of a text with and without copying."""
    file = tmp_path / "x.rnet"

    def never(*args: Any, **_: Any) -> Replay:
        return Replay(*args, enabled=False)

    def compare(text: str | bytes) -> Any:
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        copied = outcome(file)
        with monkeypatch.context() as patched:
            patched.setattr(place, "Replay", never)
            assert outcome(file) == copied
        return copied

    return compare


HEAD = """
block unit(width: int = 8, stride: int = 1) {
  residual { conv1: conv(3x3, width, stride=stride) -> bn: norm -> act -> act }
}
"""
TEXTS = {
    "repeats": "input 3x8x8  a: unit(8) * 4  b: unit(8) * 3  c: seq { unit * 2 -> relu -> unit }",
    "other widths": "input 3x8x8  a: unit(4) * 3  b: unit(8, stride=2) -> c: unit -> d: unit",
    "other ambients": "input 3x8x8  a: unit -> b: unit  set norm = none  c: unit  set act = none"
    "  d: unit  set shortcut = C  e: unit -> f: unit",
    "blocks without a label": "input 3x8x8  x: seq { group { a: unit } -> group { unit } * 2 }",
    "a path taken": "input 3x8x8  a: unit -> a: unit",
    "a path taken by a copy": 'input 8x8x8  a: unit -> "b.conv1": conv(3x3) -> b: unit',
    "a path taken from a copy": 'input 8x8x8  a: unit -> b: unit -> "b.conv1": conv(3x3)',
    "a name taken by a copy": 'input 8x8x8  a: unit -> "b.relu": relu -> b: unit -> c: unit',
    "a name taken before the first": 'input 8x8x8  "a.relu": relu -> a: unit -> b: unit',
    "a mistake before": "input 3x8x8  a: unit -> conv(0x0) -> b: unit(0) -> c: unit(0)",
    "mistakes in copies": "input 3x8x8  a: seq { unit(8, stride=0) * 3 }",
    "a shape that no longer fits": "input 3x4x4  a: unit(8, stride=2) * 3 => 1x1\n b: unit => 2x2",
}
FILES = {
    "a tensor as parameter": HEAD
    + """
block join(x: tensor) { conv: conv(1x1, 8) as y  from x, y  add }
network n {
  input 8x4x4
  relu as r -> s: sigmoid as t
  from r  a: join(r) -> b: join(t) -> c: join(r)  d: join(here)
}
""",
    "repeats in a block": HEAD
    + """
block stage(width: int) { a: unit(width) * 3  b: seq { unit(width) * 2 } }
network n { input 8x8x8  a: stage(8) -> b: stage(8) -> c: stage(8) * 3 }
network owned_twice { input 8x8x8  a: stage(8)  a: stage(8)  b: stage(8) }
""",
    "an output in a block": """
block leaf { conv: conv(1x1, 8) as y  output y }
network n { input 8x4x4  a: leaf  b: leaf }
""",
    "an auxiliary output in a block": """
block leaf { aux side: conv(1x1, 8)  relu }
network n { input 8x4x4  a: leaf -> b: leaf }
""",
    "an output in a block of a block": """
block leaf { conv: conv(1x1, 8) as y  output y }
block twig { a: leaf }
network n { input 8x4x4  a: twig  b: twig }
""",
    "a block inside itself that was placed before": """
block leaf { relu }
block x(y: block) { a: y }
block z { p: x(leaf) }
network n { input 8x4x4  a: x(leaf) -> b: x(z) }
""",
    "a block inside itself that was copied before": """
block leaf { relu }
block x(y: block) { a: y }
block w { p: x(leaf) }
block z { q: w }
network n { input 8x4x4  a: x(leaf) -> b: w -> c: x(z) }
""",
    "a block inside itself, deep in one placed before": """
block leaf { relu }
block x(y: block) { a: y }
block w { p: x(leaf) }
block z { q: w }
network n { input 8x4x4  b: w -> c: x(z) }
""",
    "a requirement in a block": """
block leaf(n: int) { require n < 3, "too many"  conv: conv(1x1, n) }
network n { input 8x4x4  a: leaf(1) -> b: leaf(2) -> c: leaf(3) -> d: leaf(3) }
""",
    "a block that is called inside itself only sometimes": """
block inner(b: block, n: int) { if n > 0 { b(n - 1) } else { relu } }
block outer(n: int) { inner(outer, n) }
network n { input 8x4x4  a: outer(0)  b: outer(1) }
""",
    "a unit with layers in its arguments": HEAD
    + """
block stage(unit: block, norm: layer) { x: unit(16) -> y: norm -> z: unit(16) }
network n {
  input 3x8x8
  a: stage(unit, batchnorm) -> b: stage(unit(stride=1), batchnorm(eps=1e-3))
  c: stage(unit(stride=2), batchnorm) -> d: stage(unit, batchnorm(eps=1e-3))
}
""",
    "an ambient that only copies read": HEAD
    + """
network n { input 3x8x8  a: unit -> b: unit -> c: unit }
network m = n with norm = batchnorm(eps=1e-3)
network o = n with conv = conv2d, act = none
""",
}


@pytest.mark.parametrize("name", TEXTS)
def test_bodies(name: str, alike: Callable[[str], Any]) -> None:
    alike(f"{HEAD}network n {{\n  {TEXTS[name]}\n}}\n")


@pytest.mark.parametrize("name", FILES)
def test_files(name: str, alike: Callable[[str], Any]) -> None:
    alike(FILES[name])


def test_the_zoo(alike: Callable[[str], Any]) -> None:
    corpus, rng = fuzz_inputs.Corpus(), random.Random(0)
    for _ in range(12):
        alike(corpus.excerpt(rng))


def test_spoiled_networks(alike: Callable[[str | bytes], Any]) -> None:
    corpus, rng = fuzz_inputs.Corpus(), random.Random(1)
    for _ in range(30):
        alike(fuzz_inputs.exchanged(corpus, rng))


def test_most_of_a_deep_network_is_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[bool] = []
    copied = Replay.copied

    def counted(self: Replay, *args: Any) -> bool:
        made.append(copied(self, *args))
        return made[-1]

    monkeypatch.setattr(Replay, "copied", counted)
    with suppress(ResnetcError):
        load("resnet110")
    assert sum(made) == 3 * 18 - 5  # the first of all, and two kinds in each later stage
