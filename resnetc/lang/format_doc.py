"""Documents and how they are laid out: text with the places where a line may break.

A group is printed flat where it fits, else with all its breaks; the algorithm is Wadler's ("A
prettier printer", 2003) in the form with an explicit stack.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

WIDTH = 100


@dataclass(frozen=True, slots=True)
class Line:
    """A place to break. `flat` is its text where nothing breaks; None always breaks."""

    flat: str | None = " "
    blank: bool = False
    """Leave an empty line where it breaks."""


@dataclass(frozen=True, slots=True)
class Indent:
    """Lines that begin inside stand two columns further right, where the group around breaks."""

    content: Doc


@dataclass(frozen=True, slots=True)
class Block:
    """Breaks at all its places, whatever is around it."""

    content: Doc


@dataclass(frozen=True, slots=True)
class IfBroken:
    """One of two texts, by whether the group around breaks."""

    broken: Doc
    flat: Doc = ""


@dataclass(frozen=True, slots=True)
class Comment:
    """A comment on a line of its own; every group around it breaks."""

    text: str


@dataclass(frozen=True, slots=True)
class Suffix:
    """A comment that goes to the end of the line; every group around it breaks."""

    text: str


@dataclass(frozen=True, slots=True)
class Fitting:
    """A text where it fits in the line, else another document."""

    text: str
    otherwise: Doc


@dataclass(frozen=True, slots=True)
class Tab:
    """Two spaces, or more to stand under the tab of the line above."""


@dataclass(frozen=True, slots=True, init=False)
class Group:
    """Breaks at all its places or at none."""

    content: Doc
    forced: bool

    def __init__(self, content: Doc) -> None:
        object.__setattr__(self, "content", content)
        object.__setattr__(self, "forced", _has_comment(content))


Doc = (
    str
    | Line
    | Indent
    | Block
    | IfBroken
    | Comment
    | Suffix
    | Fitting
    | Tab
    | Group
    | Sequence["Doc"]
)
HARD = Line(None)


def _has_comment(doc: Doc) -> bool:
    if isinstance(doc, Group):
        return doc.forced
    if isinstance(doc, Indent):
        return _has_comment(doc.content)
    if isinstance(doc, IfBroken):
        return _has_comment(doc.broken)
    if isinstance(doc, str | Block | Line | Fitting | Tab):
        return False
    return isinstance(doc, Comment | Suffix) or any(map(_has_comment, doc))


# ------------------------------------------------------------------------------------- printing

_Command = tuple[int, bool, Doc]
"""Indentation, whether the group around is broken, and what to print."""


@dataclass
class _Row:
    """A line being written; `tab` is where its tab stands."""

    text: str = ""
    tab: int | None = None
    suffixes: list[str] = field(default_factory=list)


def print_doc(doc: Doc) -> str:
    """The document as text, every line ended."""
    rows = [_Row()]
    stack: list[_Command] = [(0, True, doc)]
    while stack:
        indent, broken, doc = stack.pop()
        row = rows[-1]
        if isinstance(doc, str):
            row.text += doc
        elif isinstance(doc, Line):
            if broken or doc.flat is None:
                rows += [_Row() for _ in range(doc.blank)] + [_Row(" " * indent)]
            else:
                row.text += doc.flat
        elif isinstance(doc, Tab):
            row.tab = len(row.text) if broken else None
            row.text += "  "
        elif isinstance(doc, Fitting):
            fits = len(row.text) + len(doc.text) < WIDTH
            stack.append((indent, broken, doc.text if fits else doc.otherwise))
        elif isinstance(doc, Comment):
            row.text += doc.text
        elif isinstance(doc, Suffix):
            row.suffixes.append(doc.text)
        elif isinstance(doc, Group):
            flat = not doc.forced and _fits(doc.content, stack, WIDTH - len(row.text))
            stack.append((indent, not flat, doc.content))
        else:
            stack.extend(reversed(_parts(indent, broken, doc)))
    return _text(rows)


def _parts(
    indent: int, broken: bool, doc: Indent | Block | IfBroken | Fitting | Sequence[Doc]
) -> list[_Command]:
    if isinstance(doc, Fitting):
        return [(indent, broken, doc.text)]
    if isinstance(doc, Indent):
        return [(indent + 2 if broken else indent, broken, doc.content)]
    if isinstance(doc, Block):
        return [(indent, True, doc.content)]
    if isinstance(doc, IfBroken):
        return [(indent, broken, doc.broken if broken else doc.flat)]
    return [(indent, broken, part) for part in doc]


def _fits(doc: Doc, rest: list[_Command], room: int) -> bool:
    """Whether the document, flat, and what follows it up to the next break fit in `room`."""
    todo: list[_Command] = [(0, False, doc)]
    following = len(rest)
    while room >= 0:
        if not todo:
            if following == 0:
                return True
            following -= 1
            todo.append(rest[following])
        _, broken, doc = todo.pop()
        if isinstance(doc, Line) and (broken or doc.flat is None):
            return True
        if isinstance(doc, str | Line | Tab):
            room -= _width(doc)
        elif isinstance(doc, Group):
            todo.append((0, broken and doc.forced, doc.content))
        elif not isinstance(doc, Comment | Suffix):
            todo.extend(reversed(_parts(0, broken, doc)))
    return False


def _width(doc: str | Line | Tab) -> int:
    if isinstance(doc, Tab):
        return 2
    return len(doc.flat or "" if isinstance(doc, Line) else doc)


def flat_text(doc: Doc) -> str | None:
    """The document in one line; None where a comment or a break of the author's stands in it."""
    if _has_comment(doc):
        return None
    text = ""
    stack: list[_Command] = [(0, False, doc)]
    while stack:
        _, _, doc = stack.pop()
        if isinstance(doc, str):
            text += doc
        elif isinstance(doc, Line):
            if doc.flat is None:
                return None
            text += doc.flat
        elif isinstance(doc, Group):
            stack.append((0, False, doc.content))
        elif not isinstance(doc, Comment | Suffix | Tab):
            stack.extend(reversed(_parts(0, False, doc)))
    return text


# ------------------------------------------------------------------------------------ alignment


def _text(rows: list[_Row]) -> str:
    for run in _runs(rows):
        _align(run)
    lines = ("  ".join([row.text, *row.suffixes]).rstrip() for row in rows)
    return "\n".join(lines).strip("\n") + "\n"


def _runs(rows: list[_Row]) -> list[list[_Row]]:
    """Neighbouring lines of one body that have tabs."""
    runs: list[list[_Row]] = []
    before: _Row | None = None
    for row in rows:
        if row.tab is None or row.text.lstrip()[:1] in ")]}":
            before = None
            continue
        if before is not None and _indent(before) == _indent(row):
            runs[-1].append(row)
        else:
            runs.append([row])
        before = row
    return runs


def _indent(row: _Row) -> int:
    return len(row.text) - len(row.text.lstrip())


def _align(run: list[_Row]) -> None:
    """Put the tabs of a run under each other, unless a line would become too long."""
    tabs = [row.tab for row in run if row.tab is not None]
    widened = [max(tabs) - tab for tab in tabs]
    if max(len(row.text) + more for row, more in zip(run, widened, strict=True)) > WIDTH:
        return
    for row, tab, more in zip(run, tabs, widened, strict=True):
        row.text = row.text[:tab] + " " * more + row.text[tab:]
