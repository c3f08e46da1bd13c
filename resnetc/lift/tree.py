"""The source to be, as a tree: steps, structures and calls of blocks, before they are text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from resnetc.shapes import TensorType


class Expr(str):
    """An argument that is written as it stands: `width`, `if first then 2 else 1`."""

    __slots__ = ()


Value = Any
"""An argument: int, float, bool, None, str, a size as a pair, a list of numbers, or an Expr."""

Body = list["Term"]


@dataclass
class Term:
    """One step of a row: a layer, a structure or a block, with its label.

    `word` is what is placed; of structures it is "module" (a `seq` or `group` of rows, its one
    body), a merge's name (a body for each branch), "residual" (its one body) or "for" (its one
    body, placed `times` times). `entry` and `exit` are the tensors before and after. In a tangle a
    term `reads` tensors by name and `keeps` its own under one.
    """

    word: str
    entry: TensorType
    exit: TensorType
    args: dict[str, Value] = field(default_factory=dict)
    label: str | None = None
    bodies: list[Body] = field(default_factory=list)
    times: Value = None
    reads: tuple[str, ...] = ()
    keeps: str | None = None
    owns: bool = False
    """Whether it is a layer with parameters."""
    is_call: bool = False
    """Whether it is the call of a block."""

    def walk(self) -> Iterator[Term]:
        """This term and all inside it."""
        yield self
        for body in self.bodies:
            for term in body:
                yield from term.walk()

    @property
    def changes_shape(self) -> bool:
        return self.entry.shape != self.exit.shape


def walk(body: Body) -> Iterator[Term]:
    """All terms of a body, outer ones first."""
    for term in body:
        yield from term.walk()


def bodies(body: Body) -> Iterator[Body]:
    """A body and all bodies inside it, inner ones first."""
    for term in body:
        for inner in term.bodies:
            yield from bodies(inner)
    yield body


Skeleton = tuple[object, ...]


def skeleton(body: Body) -> Skeleton:
    """What two bodies have in common when they differ by numbers and sizes alone."""
    return tuple(
        (
            term.word,
            term.label,
            tuple((name, _kind(value)) for name, value in sorted(term.args.items())),
            _kind(term.times),
            term.reads,
            term.keeps,
            *map(skeleton, term.bodies),
        )
        for term in body
    )


def is_hole(value: Value) -> bool:
    """Whether an argument may differ between two places of one block: an int or a size."""
    return isinstance(value, int | tuple) and not isinstance(value, bool)


def _kind(value: Value) -> object:
    return type(value).__name__ if is_hole(value) else repr(value)
