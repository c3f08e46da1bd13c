"""Texts as the editor holds them, over the files on disk; parsing that survives half-typed text."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from resnetc.diagnostics import CompileError, Diagnostic, Source, UsageError
from resnetc.lang import syntax as s
from resnetc.lang.modules import Files, read_source
from resnetc.lang.parser import MAX_SOURCE_BYTES, keywords, parse

MAX_PARSED = 64
"""Texts whose syntax trees are kept; a project's files and the latest of each open one."""
_AT_MARGIN = re.compile(r"^[A-Za-z_]\w*", re.MULTILINE)


@dataclass(frozen=True)
class Parsed:
    """A file as far as it can be read: `file` leaves out the declarations that cannot be parsed,
    and every span in it is right for the whole text."""

    file: s.File
    mistakes: tuple[Diagnostic, ...] = ()


class Documents(Files):
    """The open texts by path, and every file's syntax tree, kept while its text is the same."""

    def __init__(self) -> None:
        self._open: dict[Path, str] = {}
        self._parsed: OrderedDict[tuple[str, str], Parsed] = OrderedDict()

    def open(self, path: Path, text: str) -> None:
        """Take the editor's text for a file from now on."""
        self._open[path.resolve()] = text

    def close(self, path: Path) -> None:
        """Go back to the file on disk."""
        self._open.pop(path.resolve(), None)

    def changed(self, texts: Mapping[Path, str]) -> Documents:
        """The same files with other texts, to try them."""
        trial = Documents()
        trial._open = {**self._open, **texts}
        trial._parsed = self._parsed
        return trial

    @property
    def paths(self) -> list[Path]:
        """The files that are open."""
        return list(self._open)

    def source(self, path: Path) -> Source:
        """A file's text: the editor's, else the one on disk, else none."""
        path = path.resolve()
        text = self._open.get(path)
        if text is not None:
            return Source(str(path), text)
        try:
            return read_source(path, str(path))
        except (UsageError, CompileError):
            return Source(str(path), "")

    def file(self, path: Path) -> s.File:
        """A file's syntax tree, as far as it can be parsed."""
        return self.parsed(self.source(path)).file

    # ---- as the compiler's files

    def exists(self, path: Path) -> bool:
        return path.resolve() in self._open or path.is_file()

    def read(self, path: Path, name: str) -> Source:
        return self.source(path)

    def parse(self, source: Source) -> s.File:
        return self.parsed(source).file

    def parsed(self, source: Source) -> Parsed:
        """The syntax tree of a text and its mistakes; made once."""
        key = (source.name, source.text)
        if key not in self._parsed:
            self._parsed[key] = parse_what_can_be(source)
            while len(self._parsed) > MAX_PARSED:
                self._parsed.popitem(last=False)
        self._parsed.move_to_end(key)
        return self._parsed[key]


def parse_what_can_be(source: Source) -> Parsed:
    """The syntax tree of a text, without the declarations that have a mistake."""
    try:
        return Parsed(parse(source))
    except CompileError as error:
        mistakes = error.diagnostics
    if len(source.text) > MAX_SOURCE_BYTES:
        return Parsed(s.File(source, None, (), ()), mistakes)
    try:
        return Parsed(parse(_without_broken(source)), mistakes)
    except CompileError:
        return Parsed(s.File(source, None, (), ()), mistakes)


def _without_broken(source: Source) -> Source:
    """The text with the declarations that cannot be parsed blanked out, all others in place."""
    kept = []
    for start, end in _declarations(source.text):
        piece = source.text[start:end]
        try:
            parse(Source(source.name, piece))
            kept.append(piece)
        except CompileError:
            kept.append(re.sub(r"[^\n]", " ", piece))
    return Source(source.name, "".join(kept))


def _declarations(text: str) -> Iterator[tuple[int, int]]:
    """The text cut before every keyword at the left margin: one declaration a piece."""
    words = keywords()
    cuts = [m.start() for m in _AT_MARGIN.finditer(text) if m[0] in words]
    ends = [0, *cuts, len(text)]
    return pairwise(ends)
