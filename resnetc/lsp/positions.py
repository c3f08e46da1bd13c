"""Offsets in a source to an editor's positions, and back.

Editors count lines from 0 and columns in units of an encoding that is agreed on at the start,
UTF-16 unless the client says otherwise; the compiler counts characters.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from lsprotocol import types as lsp

from resnetc.diagnostics import Source, Span

_UNIT_BYTES = {
    lsp.PositionEncodingKind.Utf8: ("utf-8", 1),
    lsp.PositionEncodingKind.Utf16: ("utf-16-le", 2),
    lsp.PositionEncodingKind.Utf32: ("utf-32-le", 4),
}


@dataclass(frozen=True, slots=True)
class Positions:
    """Converts positions of one encoding. `uris` are the client's own names of files."""

    encoding: lsp.PositionEncodingKind = lsp.PositionEncodingKind.Utf16
    uris: dict[Path, str] = field(default_factory=dict, compare=False)

    def uri(self, path: Path | str) -> str:
        """A file's address as the client writes it."""
        path = Path(path)
        return self.uris.get(path) or path.absolute().as_uri()

    def position(self, source: Source, offset: int) -> lsp.Position:
        """The editor's position of a character offset."""
        line, column = source.position(offset)
        before = source.text[offset - column + 1 : offset]
        return lsp.Position(line - 1, self._units(before))

    def range(self, span: Span) -> lsp.Range:
        """The editor's range of a span."""
        return self.between(span.source, span.start, span.end)

    def between(self, source: Source, start: int, end: int) -> lsp.Range:
        """The editor's range of two offsets."""
        return lsp.Range(self.position(source, start), self.position(source, end))

    def whole(self, source: Source) -> lsp.Range:
        """The range of the whole text."""
        return self.between(source, 0, len(source.text))

    def offset(self, source: Source, position: lsp.Position) -> int:
        """The character offset of a position; one that lies outside is moved to the nearest."""
        last, _ = source.position(len(source.text))
        if position.line >= last:
            return len(source.text)
        text = source.line_text(position.line + 1)
        return source.line_start(position.line + 1) + self._characters(text, position.character)

    def _units(self, text: str) -> int:
        if text.isascii():
            return len(text)
        codec, size = _UNIT_BYTES[self.encoding]
        return len(text.encode(codec, "surrogatepass")) // size

    def _characters(self, text: str, units: int) -> int:
        """How many characters the first so many units of a line hold."""
        if text.isascii():
            return min(units, len(text))
        codec, size = _UNIT_BYTES[self.encoding]
        start = text.encode(codec, "surrogatepass")[: units * size]
        return len(start.decode(codec, "ignore"))
