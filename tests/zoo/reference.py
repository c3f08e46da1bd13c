"""What a network of the zoo is held against."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


def _same(path: str) -> str:
    return path


@dataclass(frozen=True, eq=False)
class Reference:
    """A module that a network must equal, number for number.

    `shown` is what the documents call it, `build` makes it, with whatever weights. Both run on
    images of `side` pixels: the true size only where the network needs it. `network` and `settings`
    say what is compared when that is not the network of the table's key, as its file has it.

    `path` turns a parameter path of ours into the reference's; `same_order` is False where the
    reference registers its modules in another order than it runs them. In training a reference with
    auxiliary heads returns a named tuple; `returns` gives its field for each of our outputs.
    `slow` marks what takes more than ten seconds.
    """

    shown: str
    build: Callable[[], nn.Module]
    side: int = 65
    network: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)
    path: Callable[[str], str] = _same
    same_order: bool = True
    returns: Mapping[str, str] = field(default_factory=dict)
    slow: bool = False
