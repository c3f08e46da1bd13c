"""Where layers are being placed, and what flows there."""

from __future__ import annotations

from dataclasses import dataclass

from resnetc.lang.values import Poison, Tensor

Flowing = Tensor | Poison | list[Tensor] | None
"""A tensor, several after `from x, y`, poison after a mistake, None before the input."""


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

    def branch(self, here: Flowing) -> Site:
        """The same place with another tensor."""
        return Site(here, self.scope, self.path, self.counter, self.depth)


@dataclass(slots=True)
class Counter:
    """Next index of a `seq`."""

    next: int = 0

    def take(self) -> str:
        """The index for one more layer."""
        self.next += 1
        return str(self.next - 1)
