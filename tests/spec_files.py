"""Compiling texts in tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from resnetc.checking import check_file
from resnetc.diagnostics import CompileError, Diagnostic
from resnetc.driver import Network, load
from resnetc.ir import Graph


class Folder:
    """A folder of specs; `x.rnet` is the one that is compiled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, text: str, name: str = "x.rnet") -> Path:
        file = self.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    def net(self, text: str, settings: dict[str, str] | None = None, name: str = "n") -> Network:
        return load(f"{self.write(text)}:{name}", settings)

    def graph(self, text: str, settings: dict[str, str] | None = None, name: str = "n") -> Graph:
        return self.net(text, settings, name).graph

    def body(self, statements: str, before: str = "") -> Graph:
        """The graph of a network with these statements, on an input of 4x8x8."""
        return self.graph(f"{before}\nnetwork n {{\n  input 4x8x8\n  {statements}\n}}\n")

    def found(self, text: str) -> list[Diagnostic]:
        """Every mistake in a file."""
        file = self.write(text)
        try:
            return list(check_file(file).findings)
        except CompileError as error:
            return list(error.diagnostics)

    def codes(self, text: str) -> list[str]:
        return [diagnostic.code for diagnostic in self.found(text)]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def ops(graph: Graph) -> list[str]:
    """Names of the ops in order."""
    return [node.op.name for node in graph]


def weights(graph: Graph) -> list[str]:
    """Paths of the weights in order."""
    return [path for path in graph.parameters if path.endswith(".weight") or path == "weight"]


def output(graph: Graph) -> tuple[int, ...]:
    """The shape of the one output."""
    (node,) = graph.outputs.values()
    return graph[node].type.shape
