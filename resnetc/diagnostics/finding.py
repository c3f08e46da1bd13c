"""A finding: what is wrong, where, and what would mend it; and its form for machines."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from resnetc.diagnostics.source import Span


@dataclass(frozen=True, slots=True)
class Label:
    """A span and what to say beside its underline."""

    span: Span
    text: str = ""


@dataclass(frozen=True, slots=True)
class Edit:
    """A span's text is to be replaced; an empty span inserts."""

    span: Span
    replacement: str


@dataclass(frozen=True, slots=True)
class Help:
    """Advice. With `replacement`, replacing `span` by it mends the mistake.

    `more` are further edits that belong to it; all are made or none. `sure` says that they are
    what was meant beyond reasonable doubt: `check --fix` makes only such. What is not sure is
    offered by an editor, where somebody looks on.
    """

    text: str
    span: Span | None = None
    replacement: str | None = None
    more: tuple[Edit, ...] = ()
    sure: bool = True

    @property
    def edits(self) -> tuple[Edit, ...]:
        """What to change, in the order of the text; empty where advice is all there is."""
        if self.span is None or self.replacement is None:
            return self.more
        edits = (Edit(self.span, self.replacement), *self.more)
        return tuple(sorted(edits, key=lambda edit: edit.span.start))


@dataclass(frozen=True, slots=True)
class Instance:
    """Which of the many layers that a line stands for: its path in a network.

    `placed` is where the block around it was placed, `via` the chain of variants by which the
    network came about, as `resnet101, resnet50 with depths = [3, 4, 23, 3]`.
    """

    network: str
    path: str = ""
    placed: Span | None = None
    via: str = ""

    def __str__(self) -> str:
        said = f"in {_shortened(self.path, 60)} of {self.network}" if self.path else ""
        said = said or f"in {self.network}"
        if self.placed is not None:
            said += f", from {self.placed.source.name}:{self.placed.line}"
        return said + (f" via {_shortened(self.via, 72)}" if self.via else "")


def _shortened(text: str, width: int) -> str:
    half = width // 2 - 2
    return text if len(text) <= width else f"{text[:half]}...{text[-half:]}"


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One finding: a numbered code, a sentence, a primary place, other places, facts and advice."""

    code: str
    message: str
    primary: Label
    secondary: tuple[Label, ...] = ()
    notes: tuple[str, ...] = ()
    help: Help | None = None
    instance: Instance | None = None

    @property
    def severity(self) -> str:
        return "warning" if self.code.startswith("W") else "error"

    def to_json(self) -> dict[str, Any]:
        """The same finding for machines; see docs/diagnostics.md.

        Lines and columns count from 1, `start` and `end` from 0; all count characters.
        """
        return {
            "code": self.code,
            "severity": self.severity,
            "message": self.message,
            "primary": _label_json(self.primary),
            "secondary": [_label_json(label) for label in self.secondary],
            "notes": list(self.notes),
            "instance": None if self.instance is None else _instance_json(self.instance),
            "help": None if self.help is None else _help_json(self.help),
        }


def _span_json(span: Span) -> dict[str, Any]:
    line, column = span.source.position(span.start)
    end_line, end_column = span.source.position(span.end)
    return {
        "file": span.source.name,
        "line": line,
        "column": column,
        "end_line": end_line,
        "end_column": end_column,
        "start": span.start,
        "end": span.end,
    }


def _label_json(label: Label) -> dict[str, Any]:
    return {**_span_json(label.span), "text": label.text}


def _instance_json(instance: Instance) -> dict[str, Any]:
    placed = None if instance.placed is None else _span_json(instance.placed)
    where = {"network": instance.network, "path": instance.path}
    return {**where, "placed": placed, "via": instance.via}


def _help_json(advice: Help) -> dict[str, Any]:
    edits = [{**_span_json(e.span), "replacement": e.replacement} for e in advice.edits]
    return {"text": advice.text, "sure": advice.sure and bool(edits), "edits": edits}


def apply_edits(text: str, edits: Iterable[Edit]) -> str:
    """The text with all edits made; of two that overlap, the one further up."""
    made, end = [], 0
    for edit in sorted(edits, key=lambda edit: (edit.span.start, edit.span.end)):
        if edit.span.start >= end:
            made += [text[end : edit.span.start], edit.replacement]
            end = edit.span.end
    return "".join([*made, text[end:]])
