"""Constructor calls as trees, so that many of them can be compared and generalised.

A `Term` says what is made; its leaves say with which numbers. Two layers have one shape when they
differ in leaves alone, and then one line of source with parameters in it can make both.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass

from resnetc.ops import Op

Value = int | float | bool | str | tuple[float, ...]
Shape = Hashable


@dataclass(frozen=True, slots=True)
class Ref:
    """A constructor's parameter where a number would stand."""

    name: str


@dataclass(frozen=True, slots=True)
class Leaf:
    """A number in a call. `name` is what a parameter for it would be called; leaves of one `kind`
    may share one."""

    value: Value | Ref
    name: str
    kind: str


@dataclass(frozen=True, slots=True)
class LayerHead:
    """A layer of one op; the leaves are the arguments in the emitter's order."""

    op: type[Op]


@dataclass(frozen=True, slots=True)
class SequenceHead:
    """`nn.Sequential`; the children are runs."""


@dataclass(frozen=True, slots=True)
class RunHead:
    """One child several times: the first leaf says how often."""


@dataclass(frozen=True, slots=True)
class BlockHead:
    """An emitted class, by its number; the leaves are its constructor's arguments."""

    number: int


Head = LayerHead | SequenceHead | RunHead | BlockHead


@dataclass(frozen=True, slots=True)
class Term:
    """A call: what is made, and of what."""

    head: Head
    children: tuple[Term | Leaf, ...] = ()

    def leaves(self) -> Iterator[Leaf]:
        """The leaves, left to right."""
        for child in self.children:
            if isinstance(child, Leaf):
                yield child
            else:
                yield from child.leaves()

    def shape(self) -> Shape:
        """What is left when the leaves' values are taken out."""
        return self.head, *(c.kind if isinstance(c, Leaf) else c.shape() for c in self.children)

    def with_leaves(self, leaves: Iterator[Leaf]) -> Term:
        """The same term with other leaves, taken from an iterator left to right."""
        children = tuple(
            next(leaves) if isinstance(child, Leaf) else child.with_leaves(leaves)
            for child in self.children
        )
        return Term(self.head, children)


def run_lengths(terms: list[Term]) -> tuple[Term, ...]:
    """Neighbours that are equal, as runs."""
    runs: list[tuple[Term, int]] = []
    for term in terms:
        if runs and runs[-1][0] == term:
            runs[-1] = term, runs[-1][1] + 1
        else:
            runs.append((term, 1))
    return tuple(Term(RunHead(), (Leaf(n, "depth", "depth"), term)) for term, n in runs)
