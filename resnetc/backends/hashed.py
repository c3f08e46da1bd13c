"""Weights that are hashed while they are read: the hash of an artefact's weights for free."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Self

from resnetc.backends.backlog import Backlog
from resnetc.backends.weights import Arrays, combine_digests, group_digest, hashed_groups
from resnetc.ir import Graph

if TYPE_CHECKING:
    import numpy as np

_AHEAD = 8 << 20
"""Bytes of arrays that may wait to be hashed: each is kept in memory that long."""


class HashedArrays(Arrays):
    """The same arrays; each is hashed once, by a thread: from the start where it lies in memory
    anyway, else when it is first read. A context manager."""

    def __init__(self, graph: Graph, weights: Arrays) -> None:
        self._weights = weights
        self._thread = Backlog("hashing", _AHEAD)
        self._groups = hashed_groups(graph)
        self._digests = [""] * len(self._groups)
        self._group_of: dict[str, int] = {}
        """The group of each path that has not been read yet."""
        self._read: list[dict[str, np.ndarray]] = [{} for _ in self._groups]
        here = weights.held
        for number, group in enumerate(self._groups):
            if here.keys() >= set(group):
                self._add(number, here, 0)
            else:
                self._group_of.update(dict.fromkeys(group, number))

    def shape(self, path: str) -> tuple[int, ...]:
        return self._weights.shape(path)

    def __contains__(self, path: object) -> bool:
        return path in self._weights

    def __getitem__(self, path: str) -> np.ndarray:
        array = self._weights[path]
        number = self._group_of.pop(path, None)
        if number is not None:
            self._read[number][path] = array
            if len(self._read[number]) == len(self._groups[number]):
                self._hand_over(number)
        return array

    def __iter__(self) -> Iterator[str]:
        return iter(self._weights)

    def __len__(self) -> int:
        return len(self._weights)

    @property
    def waiting_bytes(self) -> int:
        """What is kept in memory because it has not been hashed."""
        read = sum(array.nbytes for group in self._read for array in group.values())
        return read + self._thread.bytes

    def digest(self) -> str:
        """What :func:`resnetc.backends.weights.weights_hash` gives. Reads what was not read yet."""
        for path in list(self._group_of):
            self[path]
        self._thread.finish()
        return combine_digests(self._digests)

    def _hand_over(self, number: int) -> None:
        arrays, self._read[number] = self._read[number], {}
        self._add(number, arrays, sum(array.nbytes for array in arrays.values()))

    def _add(self, number: int, arrays: Mapping[str, np.ndarray], size: int) -> None:
        """Have a group hashed, for which so many bytes stay in memory until then."""

        def work() -> None:
            group = self._groups[number]
            self._digests[number] = group_digest([(path, arrays[path]) for path in group])

        self._thread.add(work, size)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._thread.__exit__(kind, error, trace)
