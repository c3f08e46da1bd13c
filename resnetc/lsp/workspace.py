"""The open texts, the project around them, and an analysis of each, kept while it holds."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from resnetc import resources
from resnetc.diagnostics import Source
from resnetc.lsp.analysis import Analysis, Place, Placed, analyse, choice
from resnetc.lsp.documents import Documents

MAX_FILES = 2_000
"""Files of a project that are looked through for one that imports another."""
MAX_IMPORTERS = 8
"""Files that are elaborated to give a library's rows their shapes."""
_SKIPPED = frozenset({"node_modules", "__pycache__", "build", "dist", "runs"})


class Workspace:
    """What the editor works on."""

    def __init__(self, roots: Iterable[Path] = ()) -> None:
        self.roots = [root.resolve() for root in roots]
        self.documents = Documents()
        self._analyses: dict[Path, Analysis] = {}
        self._whole: dict[Path, Analysis] = {}
        self._last_rows: dict[Path, tuple[Source, dict[Place, Placed]]] = {}

    # ---- texts

    def update(self, path: Path, text: str) -> None:
        """The editor's text of a file has changed, or it has been opened."""
        if path.resolve() not in self.documents.paths:
            self.files_changed()
        self.documents.open(path, text)

    def close(self, path: Path) -> None:
        """The file on disk counts again."""
        self.documents.close(path)
        self._last_rows.pop(path.resolve(), None)
        self._whole.pop(path.resolve(), None)
        self.files_changed()

    def files_changed(self) -> None:
        """Files have come or gone: an import that was not found may be there now."""
        stale = [path for path, known in self._analyses.items() if known.program.findings]
        for path in stale:
            del self._analyses[path]

    # ---- analyses

    def analysis(self, path: Path) -> Analysis:
        """The file's analysis; made anew where its text, or that of an import, has changed."""
        path = path.resolve()
        known = self._analyses.get(path)
        if known is None or not self._holds(known):
            known = self._analyses[path] = self._analyse(path, known)
        return known

    def _analyse(self, path: Path, before: Analysis | None) -> Analysis:
        """A new analysis, which has to be quick where the last one was large."""
        now = analyse(path, self.documents)
        if before is not None and before.chosen is None and "report" in vars(before):
            self._whole[path] = before
        return replace(now, chosen=choice(now, self._whole.get(path)))

    def complete(self, path: Path) -> bool:
        """Take all of a file's networks into its analysis; returns whether some had been left
        out."""
        known = self.analysis(path)
        if known.chosen is None:
            return False
        self._analyses[known.path] = replace(known, chosen=None)
        return True

    def _holds(self, analysis: Analysis) -> bool:
        texts = analysis.texts.items()
        return all(self.documents.source(path).text == text for path, text in texts)

    def affected(self, path: Path) -> list[Path]:
        """The open files to check when one has changed: itself and those that import it."""
        path = path.resolve()
        others = [p for p in self.documents.paths if p != path]
        return [path, *(p for p in others if path in self.analysis(p).paths)]

    # ---- shapes

    def rows(self, path: Path) -> dict[Place, Placed]:
        """The rows of a file with their shapes, by place.

        For a file without networks those of the files that import it are asked. Where the text
        is wrong now, what it last meant still stands beside what it means.
        """
        path = path.resolve()
        analysis = self.analysis(path)
        rows = dict(analysis.report.rows.get(path, {}))
        if not analysis.wrong and not analysis.report.sizes:
            rows |= {(row.span.start, row.span.end): row for row in self._borrowed(analysis)}
        if (analysis.wrong or analysis.chosen is not None) and path in self._last_rows:
            before, last = self._last_rows[path]
            for place, row in carried(before.text, analysis.source.text, last).items():
                rows.setdefault(place, row)
            return rows
        self._last_rows[path] = analysis.source, rows
        return rows

    def _borrowed(self, analysis: Analysis) -> Iterator[Placed]:
        """Rows of a file as the networks of other files place them."""
        path = analysis.path
        wanted = {(step.span.start, step.span.end) for step in analysis.index.steps}
        for importer in self.importers(path)[:MAX_IMPORTERS] if wanted else ():
            for place, row in self.analysis(importer).report.rows.get(path, {}).items():
                if place in wanted:
                    wanted.discard(place)
                    yield row
            if not wanted:
                return

    # ---- the project

    def files(self) -> list[Path]:
        """The project's specs and the open ones."""
        found = dict.fromkeys(self.documents.paths)
        for root in self.roots:
            for path in _specs_below(root):
                if len(found) >= MAX_FILES:
                    break
                found.setdefault(path.resolve())
        return list(found)

    def importers(self, path: Path) -> list[Path]:
        """The files of the project that take part of a file in, open ones first."""
        path = path.resolve()
        named = re.compile(rf"\b{re.escape(path.stem)}\b")
        prelude = path.is_relative_to(resources.specs().resolve() / "std")
        candidates = (
            other
            for other in self.files()
            if other != path and (prelude or named.search(self.documents.source(other).text))
        )
        return [other for other in candidates if path in self.analysis(other).paths]

    def owns(self, path: Path) -> bool:
        """Whether a file is the user's to change: below a folder of the project, or open."""
        path = path.resolve()
        return path in self.documents.paths or any(path.is_relative_to(r) for r in self.roots)


def _specs_below(root: Path) -> Iterator[Path]:
    """All .rnet files below a folder, without looking into hidden folders and built ones."""
    folders = [root]
    while folders:
        try:
            entries = sorted(folders.pop().iterdir())
        except OSError:
            continue
        for entry in entries:
            if entry.is_dir() and not entry.is_symlink():
                if entry.name not in _SKIPPED and not entry.name.startswith("."):
                    folders.append(entry)
            elif entry.suffix == ".rnet":
                yield entry


def carried(before: str, now: str, rows: dict[Place, Placed]) -> dict[Place, Placed]:
    """Rows of an earlier text at their places in this one; those in the part that changed go."""
    head = _shared(before, now)
    tail = _shared(before[head:][::-1], now[head:][::-1])
    shift = len(now) - len(before)
    kept: dict[Place, Placed] = {}
    for (start, end), row in rows.items():
        if end <= head:
            kept[start, end] = row
        elif start >= len(before) - tail:
            kept[start + shift, end + shift] = row
        elif start < head and end >= len(before) - tail and "\n" in before[start:end]:
            # A row over several lines, changed inside: it still ends where it ended.
            kept[start, end + shift] = row
    return kept


def _shared(one: str, other: str) -> int:
    """How many characters two texts begin with alike."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
