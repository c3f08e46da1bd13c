"""Whether a network takes published weights, and what would have to be renamed where not."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from resnetc.analysis.published import Shape, published_shapes
from resnetc.diagnostics import Diagnostic, Edit, Help, Label, Span
from resnetc.ir import Graph
from resnetc.lang.expectations import Expectation

_LISTED = 3
"""Paths that a note lists before it counts the rest."""


@dataclass(frozen=True)
class Mismatch:
    """How two sets of named arrays differ: paths that only one of them has, and shapes."""

    only_here: tuple[str, ...]
    only_there: tuple[str, ...]
    reshaped: tuple[tuple[str, Shape, Shape], ...]
    renames: Mapping[str, str]
    """Parts of paths, here to there, that make `only_here` and `only_there` the same, one to one;
    empty where none do."""

    def __bool__(self) -> bool:
        return bool(self.only_here or self.only_there or self.reshaped)


def compare(here: Mapping[str, Shape], there: Mapping[str, Shape]) -> Mismatch:
    """What keeps arrays named and shaped like `there` from being loaded strictly into `here`."""
    only_here = tuple(path for path in here if path not in there)
    only_there = tuple(path for path in there if path not in here)
    reshaped = tuple(
        (path, shape, there[path])
        for path, shape in here.items()
        if path in there and shape != there[path]
    )
    renames = _renames({p: here[p] for p in only_here}, {p: there[p] for p in only_there})
    return Mismatch(only_here, only_there, reshaped, renames)


def _renames(here: Mapping[str, Shape], there: Mapping[str, Shape]) -> dict[str, str]:
    """Consistent renames of parts of paths; those of one shape and last name pair up in order."""
    waiting = defaultdict(list)
    for path, shape in reversed(list(there.items())):
        waiting[shape, path.split(".")[-1]].append(path)
    found: dict[str, str] = {}
    for path, shape in here.items():
        candidates = waiting[shape, path.split(".")[-1]]
        if not candidates:
            return {}
        parts = _unlike(path.split("."), candidates.pop().split("."))
        if any(found.setdefault(old, new) != new for old, new in parts):
            return {}
    return {} if any(waiting.values()) else found


def _unlike(old: Sequence[str], new: Sequence[str]) -> list[tuple[str, str]]:
    """What differs between two paths: part by part, or where one has more parts, all between
    what they begin and end with in common."""
    if len(old) == len(new):
        return [(a, b) for a, b in zip(old, new, strict=True) if a != b]
    shorter = min(len(old), len(new))
    start = next((i for i in range(shorter) if old[i] != new[i]), shorter)
    left = shorter - start
    end = next((i for i in range(left) if old[-1 - i] != new[-1 - i]), left)
    return [(".".join(old[start : len(old) - end]), ".".join(new[start : len(new) - end]))]


def not_taking(graph: Graph, expectation: Expectation) -> Diagnostic | None:
    """The finding when a network does not take the weights it expects to take.

    Raises UsageError when no such weights are known.
    """
    weights = expectation.value
    assert isinstance(weights, str)
    here = {path: parameter.type.shape for path, parameter in graph.parameters.items()}
    mismatch = compare(here, published_shapes(weights))
    if not mismatch:
        return None
    message = f"{expectation.network} cannot take the weights of {weights}"
    span = expectation.claim.value.span
    labels, advice = _relabel(graph, mismatch.renames, span)
    notes = tuple(_notes(mismatch))
    return Diagnostic("E0502", message, Label(span), labels, notes, advice)


def _notes(mismatch: Mismatch) -> Iterable[str]:
    if mismatch.only_there:
        yield f"only in the weights: {_listed(mismatch.only_there)}"
    if mismatch.only_here:
        yield f"only in the network: {_listed(mismatch.only_here)}"
    if mismatch.reshaped:
        shown = [
            f"{path} is {_shape(a)} here and {_shape(b)} there" for path, a, b in mismatch.reshaped
        ]
        yield f"of other shapes: {_listed(shown)}"


def _listed(items: Sequence[str]) -> str:
    hidden = len(items) - _LISTED
    return ", ".join(items[:_LISTED]) + (f" and {hidden:,} more" if hidden > 0 else "")


def _shape(shape: Shape) -> str:
    return "x".join(map(str, shape)) if shape else "a scalar"


def _relabel(
    graph: Graph, renames: Mapping[str, str], claim: Span
) -> tuple[tuple[Label, ...], Help | None]:
    """The labels to change, and the advice to change them; the edits too where all of them are
    written in the file that expects the weights."""
    if not renames or not all(old and new for old, new in renames.items()):
        return (), None
    written = {old: _written(graph, old) for old in renames}
    labels = [
        Label(span, f"`{renames[old]}` in the weights")
        for old, span in written.items()
        if span is not None
    ]
    listed = _listed([f"`{old}` were called `{new}`" for old, new in renames.items()])
    text = f"they match one to one if {listed}"
    edits = [
        Edit(span, renames[old])
        for old, span in written.items()
        if span is not None and span.source is claim.source and renames[old].isidentifier()
    ]
    if len(edits) < len(renames):
        return tuple(labels[:_LISTED]), Help(text)
    first, *more = edits
    return tuple(labels[:_LISTED]), Help(text, first.span, first.replacement, tuple(more))


def _written(graph: Graph, label: str) -> Span | None:
    """Where a label is written, if it is so in one place only."""
    places: Counter[tuple[str, int]] = Counter()
    spans = {}
    named = [(scope.path, scope.span) for scope in graph.scopes]
    named += [(node.name, node.span) for node in graph if node.parameters]
    for path, span in named:
        if span is None or not f".{path}".endswith(f".{label}"):
            continue
        start = _label_start(span, label)
        if start is not None:
            place = Span(span.source, start, start + len(label))
            places[span.source.name, start] += 1
            spans[span.source.name, start] = place
    return next(iter(spans.values())) if len(spans) == 1 else None


def _label_start(span: Span, label: str) -> int | None:
    """Where `label:` stands: at the start of a placement, or right before it."""
    text = span.source.text
    if text.startswith(f"{label}:", span.start):
        return span.start
    before = text[: span.start].rstrip()
    if before.endswith(f"{label}:"):
        return len(before) - len(label) - 1
    return None
