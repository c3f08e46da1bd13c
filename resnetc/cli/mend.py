"""Makes the edits that findings carry: what `resnetc check --fix` does to a file."""

from __future__ import annotations

import codecs
import difflib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from resnetc.atomic import replacing
from resnetc.checking import FileReport, check_source
from resnetc.diagnostics import Diagnostic, Edit, Source, apply_edits
from resnetc.lang.modules import read_source

MAX_ROUNDS = 50
"""Times a file is checked again; what mends one mistake may bring another to light."""


@dataclass
class Mended:
    """A text as it was and as it would be, what was mended in it, and what is still wrong."""

    before: Source
    after: str
    report: FileReport
    made: list[Diagnostic] = field(default_factory=list)

    def diff(self) -> str:
        """What changes, as a unified diff."""
        texts = (self.before.text, self.after)
        before, after = (text.splitlines(keepends=True) for text in texts)
        name = self.before.name
        lines = difflib.unified_diff(before, after, name, f"{name} (mended)")
        gap = "\n\\ No newline at end of file\n"
        return "".join(line if line.endswith("\n") else line + gap for line in lines)


def mend(path: Path, shown: str) -> Mended:
    """Apply every edit that surely mends a finding of this file, until none is left.

    Nothing is written. Raises UsageError when the file cannot be read, CompileError when it is not
    UTF-8.
    """
    before = read_source(path, shown)
    source, seen = before, {before.text}
    mended = Mended(before, before.text, check_source(before, path))
    for _ in range(MAX_ROUNDS):
        chosen = list(_compatible(mended.report, source))
        edits = [edit for _, own in chosen for edit in own]
        text = apply_edits(source.text, edits)
        if text in seen:
            break
        seen.add(text)
        mended.made += [finding for finding, _ in chosen]
        source = Source(shown, text)
        mended.after, mended.report = text, check_source(source, path)
    return mended


def write(mended: Mended, path: Path) -> None:
    """Put the mended text in the file's place, in one step; a mark at its beginning is kept."""
    # A link stays one: what is replaced is the file behind it.
    path = path.resolve()
    mark = codecs.BOM_UTF8 if path.read_bytes().startswith(codecs.BOM_UTF8) else b""
    with replacing(path) as file:
        file.write(mark + mended.after.encode())


def _compatible(report: FileReport, source: Source) -> Iterator[tuple[Diagnostic, list[Edit]]]:
    """Findings with their edits, from the top; one whose edits meet another's has to wait.

    Warnings wait for the mistakes, since a mistake may be why something looks unused.
    """
    taken: list[Edit] = []
    for finding in report.findings or report.warnings:
        edits = finding.help.edits if finding.help is not None and finding.help.sure else ()
        here = all(edit.span.source == source for edit in edits)
        if edits and here and not any(_meet(edit, other) for edit in edits for other in taken):
            taken += edits
            yield finding, [_with_line_ends(edit) for edit in edits]


def _meet(one: Edit, other: Edit) -> bool:
    """Whether two edits touch: then what they make together is not what either meant."""
    return one.span.start <= other.span.end and other.span.start <= one.span.end


def _with_line_ends(edit: Edit) -> Edit:
    """The edit with the ends of lines that its file has."""
    if "\r\n" not in edit.span.source.text:
        return edit
    return replace(edit, replacement=edit.replacement.replace("\n", "\r\n"))


def summary(made: Iterable[Diagnostic]) -> list[str]:
    """One line for each thing that was mended."""
    return [
        f"{finding.primary.span}: {finding.code}, {finding.message}: {finding.help.text}"
        for finding in made
        if finding.help is not None
    ]
