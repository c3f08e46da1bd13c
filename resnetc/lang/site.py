"""Where layers are being placed, and what flows there."""

from __future__ import annotations

from dataclasses import dataclass, replace

from resnetc.diagnostics import Diagnostic, Label, Span
from resnetc.lang.mending import with_projection
from resnetc.lang.modules import Module
from resnetc.lang.values import Poison, Tensor

Flowing = Tensor | Poison | list[Tensor] | None
"""A tensor, several after `from x, y`, poison after a mistake, None before the input."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A block or policy that is being run: where it was placed, and inside which other."""

    what: str
    span: Span
    home: Module
    outer: Opened | None


@dataclass(slots=True)
class Site:
    """Where layers are being placed, and the tensor that flows there.

    `counter` counts the indices of a `seq`, and is None elsewhere; branches share it.
    """

    here: Flowing
    scope: int
    path: str
    counter: Counter | None = None
    depth: int = 0
    opened: Opened | None = None

    def branch(self, here: Flowing) -> Site:
        """The same place with another tensor."""
        return replace(self, here=here)

    def located(self, found: Diagnostic) -> Diagnostic:
        """The finding, blamed on the file that placed a standard block, not on the library."""
        opened = self.opened
        while opened is not None and opened.home.standard:
            blamed = Label(opened.span, opened.what)
            found = replace(found, primary=blamed, secondary=(found.primary, *found.secondary))
            if found.code == "E0402":
                found = replace(found, help=with_projection(opened.span, found.help))
            opened = opened.outer
        return found


@dataclass(slots=True)
class Counter:
    """Next index of a `seq`."""

    next: int = 0

    def take(self) -> str:
        """The index for one more layer."""
        self.next += 1
        return str(self.next - 1)
