"""A folder as the language server sees it, for its tests."""

from __future__ import annotations

from pathlib import Path

import pytest
from lsprotocol import types as lsp

from resnetc.diagnostics import UsageError, apply_edits
from resnetc.lsp import completion, hints, hover, navigation, rename
from resnetc.lsp.analysis import Analysis
from resnetc.lsp.positions import Positions
from resnetc.lsp.workspace import Workspace

POSITIONS = Positions()
NET = """rnet 1

## Two convolutions.
block pair(width: int, stride: int = 1) {
  let inner = width // 2
  conv1: conv(3x3, inner, stride=stride) -> bn1: norm -> act
  conv2: conv(3x3, width)
}

network tiny(unit: block = pair, classes: int = 10) {
  input 3x32x32
  stem: conv(3x3, 8) -> act                            => 32x32
  layer1: unit(16, stride=if first then 2 else 1) * 2  => 16x16
  from here, here -> add
  gap -> flatten -> fc: linear(classes)
}

network wide = tiny with classes = 100
"""


class Project:
    """A workspace on a folder; `x.rnet` is the open file."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.workspace = Workspace([root])
        self.text = ""

    def open(self, text: str, name: str = "x.rnet") -> Analysis:
        if name == "x.rnet":
            self.text = text
        self.workspace.update(self.root / name, text)
        return self.workspace.analysis(self.root / name)

    def write(self, name: str, text: str) -> None:
        (self.root / name).write_text(text)

    def analysis(self, name: str = "x.rnet") -> Analysis:
        return self.workspace.analysis(self.root / name)

    def at(self, mark: str, skip: int = 0) -> int:
        """The offset of a piece of the open text."""
        offset = -1
        for _ in range(skip + 1):
            offset = self.text.index(mark, offset + 1)
        return offset

    def hints(self, name: str = "x.rnet") -> dict[int, str]:
        """The hint of every line, from 1."""
        analysis = self.analysis(name)
        rows = self.workspace.rows(self.root / name)
        found = hints.hints(analysis, rows, POSITIONS.whole(analysis.source), POSITIONS)
        shown = {hint.position.line + 1: str(hint.label) for hint in found}
        assert len(shown) == len(found)
        return shown

    def hover(self, mark: str, skip: int = 0) -> str:
        rows = self.workspace.rows(self.root / "x.rnet")
        found = hover.hover(self.analysis(), rows, self.at(mark, skip), POSITIONS)
        assert found is not None
        assert isinstance(found.contents, lsp.MarkupContent)
        return found.contents.value

    def defined(self, mark: str, skip: int = 0) -> tuple[str, int] | None:
        """File and line, from 1, of the definition of what is written at a mark."""
        found = navigation.definition(self.analysis(), self.at(mark, skip), POSITIONS)
        return found and (found.uri.rpartition("/")[2], found.range.start.line + 1)

    def rename(self, mark: str, new: str, skip: int = 0) -> dict[str, str]:
        """The files as a rename leaves them."""
        edits = rename.rename(self.workspace, self.analysis(), self.at(mark, skip), new)
        by_file: dict[str, list[object]] = {}
        for edit in edits:
            by_file.setdefault(edit.span.source.name, []).append(edit)
        return {
            Path(name).name: apply_edits(inside[0].span.source.text, inside)  # type: ignore
            for name, inside in by_file.items()
        }

    def refused(self, mark: str, new: str, skip: int = 0) -> str:
        with pytest.raises(UsageError) as refusal:
            self.rename(mark, new, skip)
        return str(refusal.value)

    def complete(self, text: str) -> list[str]:
        """What is offered at `|` in a text."""
        offset = text.index("¦")
        analysis = self.open(text.replace("¦", ""))
        items = completion.complete(analysis, self.workspace.documents, offset)
        items.sort(key=lambda item: item.sort_text or "")
        return [item.label for item in items]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)
