"""Renaming, in every file that knows the name, and only where the program stays what it is.

What would clash is refused before anything is changed, and the changed files are compiled: a
rename that would bring a new mistake is refused with it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from resnetc.diagnostics import Edit, Span, UsageError, apply_edits
from resnetc.lang.builtins import FUNCTIONS
from resnetc.lang.parser import keywords
from resnetc.lang.structures import STRUCTURES
from resnetc.lsp.analysis import Analysis, analyse
from resnetc.lsp.indexer import IMPLICIT
from resnetc.lsp.navigation import occurrences
from resnetc.lsp.symbols import Kind, Occurrence, Symbol
from resnetc.lsp.workspace import Workspace

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LABEL = re.compile(r'[^"\\{}\s/]+')
_FIXED = (Kind.PRIMITIVE, Kind.AMBIENT)


def prepare(workspace: Workspace, analysis: Analysis, offset: int) -> Occurrence:
    """The name at an offset that is to be renamed. Raises UsageError where it cannot be."""
    found = analysis.index.at(offset)
    if found is None:
        raise UsageError("there is no name here")
    symbol = found.symbol
    if symbol.kind in (Kind.BUILTIN, *_FIXED) or symbol.fixed:
        raise UsageError(f"`{symbol.name}` belongs to the language")
    if symbol.kind is Kind.SECTION:
        raise UsageError(
            f"`{symbol.name}` is also known outside the file, by `meta` and `--recipe`"
        )
    assert symbol.path is not None
    if not workspace.owns(symbol.path):
        raise UsageError(f"`{symbol.name}` is declared in {symbol.path}, outside this project")
    return found


def rename(workspace: Workspace, analysis: Analysis, offset: int, new: str) -> list[Edit]:
    """The edits that rename what stands at an offset. Raises UsageError with the reason where
    the new name cannot be."""
    found = prepare(workspace, analysis, offset)
    symbol = found.symbol
    _fitting(symbol, new)
    if new == symbol.name:
        return []
    places = [o for o in _places(workspace, symbol) if _text(o) == symbol.name]
    by_file: dict[Path, list[Occurrence]] = {}
    for place in places:
        by_file.setdefault(Path(place.span.source.name), []).append(place)
    for path, inside in by_file.items():
        _refuse_broken(workspace.analysis(path))
        _refuse_clash(workspace.analysis(path), symbol, inside, new)
    edits = [Edit(place.span, _written(place, new)) for place in places]
    _refuse_new_mistakes(workspace, edits)
    return edits


def _places(workspace: Workspace, symbol: Symbol) -> list[Occurrence]:
    return [o for o in occurrences(workspace, symbol) if o.symbol == symbol]


def _fitting(symbol: Symbol, new: str) -> None:
    """Refuse a new name that cannot be one."""
    if symbol.kind is Kind.LABEL:
        if not _LABEL.fullmatch(new) or not all(new.split(".")):
            raise UsageError(f"`{new}` cannot be part of a parameter's name")
    elif not _NAME.fullmatch(new):
        raise UsageError(f"`{new}` is not a name")
    elif new in keywords():
        raise UsageError(f"`{new}` is a word of the language")
    elif new in FUNCTIONS or new in STRUCTURES or new in IMPLICIT:
        raise UsageError(f"`{new}` has a meaning in the language")


def _text(place: Occurrence) -> str:
    text = place.span.text
    return text[1:-1] if text.startswith('"') else text


def _written(place: Occurrence, new: str) -> str:
    """The new name as it has to be written at a place: a label may need quotes."""
    if place.symbol.kind is not Kind.LABEL:
        return new
    plain = (_NAME.fullmatch(new) or new.isdigit()) and new not in keywords()
    return new if plain else f'"{new}"'


def _refuse_broken(analysis: Analysis) -> None:
    if analysis.mistakes:
        where = analysis.mistakes[0].primary.span
        raise UsageError(f"{where}: this mistake has to be mended before a name can be changed")


def _refuse_clash(
    analysis: Analysis, symbol: Symbol, places: Iterable[Occurrence], new: str
) -> None:
    """Refuse a new name that something else has where the old one is written."""
    if symbol.kind is Kind.LABEL:
        taken = [o for o in analysis.index.occurrences if _is_label_beside(o, symbol, new)]
    else:
        taken = _names_in_reach(analysis, symbol, list(places), new)
    if taken:
        raise UsageError(f"`{new}` has another meaning at {taken[0].span}")
    if symbol.kind not in (Kind.LABEL, Kind.VALUE, Kind.PARAMETER):
        definition = analysis.module.names.get(new)
        if definition is not None:
            raise UsageError(f"`{new}` is declared at {definition.decl.name_span}")


def _is_label_beside(other: Occurrence, symbol: Symbol, new: str) -> bool:
    same = other.symbol.kind is Kind.LABEL and other.symbol.scope == symbol.scope
    return same and other.symbol.name == new


def _names_in_reach(
    analysis: Analysis, symbol: Symbol, places: list[Occurrence], new: str
) -> list[Occurrence]:
    """Where the new name is written already: in the declaration of a parameter or value, and in
    the whole file otherwise."""
    inside = (0, len(analysis.source.text))
    if symbol.kind in (Kind.PARAMETER, Kind.VALUE):
        home = next((d for d in analysis.module.file.decls if d.name == symbol.owner), None)
        own = [p for p in places if home and home.span.start <= p.span.start < home.span.end]
        if home is None or not own:
            return []
        inside = home.span.start, home.span.end
    return [
        other
        for other in analysis.index.occurrences
        if other.symbol.kind is not Kind.LABEL
        and other.span.text == new
        and inside[0] <= other.span.start < inside[1]
        and not _is_keyword_of_other(other, symbol)
    ]


def _is_keyword_of_other(other: Occurrence, symbol: Symbol) -> bool:
    """Whether a name is the `name` of `name=value` in a call of something else."""
    foreign = other.symbol.kind is Kind.PARAMETER and other.symbol.owner != symbol.owner
    return foreign and not other.defines


def _refuse_new_mistakes(workspace: Workspace, edits: list[Edit]) -> None:
    """Compile the files as they would be, and refuse what was right before and is not then."""
    by_file: dict[Path, list[Edit]] = {}
    for edit in edits:
        by_file.setdefault(Path(edit.span.source.name), []).append(edit)
    texts = {
        path: apply_edits(inside[0].span.source.text, inside) for path, inside in by_file.items()
    }
    trial = workspace.documents.changed(texts)
    for path in texts:
        errors = analyse(path, trial).errors
        if len(errors) > len(workspace.analysis(path).errors):
            where = errors[0].primary.span
            raise UsageError(f"this would be a mistake at {where}: {errors[0].message}")


def covered(found: Occurrence) -> Span:
    """What of a name's place the editor offers to change: a quoted label without its quotes."""
    span = found.span
    if span.text.startswith('"'):
        return Span(span.source, span.start + 1, span.end - 1)
    return span
