"""Weights that are hashed while they are read: the hash of an artefact's weights for free.

Hashing takes about as long as writing to a fast disk. It leaves Python's lock, so a thread does it
while the arrays it is given are folded and written.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import TYPE_CHECKING, Self

from resnetc.backends.weights import Arrays, array_digest, combine_digests, hashed_paths
from resnetc.ir import Graph

if TYPE_CHECKING:
    import numpy as np

_PORTION = 1 << 20
"""Bytes of arrays that are handed to the thread at once: handing over costs as much as hashing
some 30 KB."""
_AHEAD = 24 << 20
"""Bytes of arrays that may wait to be hashed: each is kept in memory that long."""


class HashedArrays(Arrays):
    """The same arrays; each is hashed once, when it is first read. A context manager."""

    def __init__(self, weights: Arrays) -> None:
        self._weights = weights
        self._thread = ThreadPoolExecutor(1, "hashing")
        self._digests: dict[str, str] = {}
        self._read: set[str] = set()
        self._portion: dict[str, np.ndarray] = {}
        self._portion_bytes = 0
        self._waiting: deque[tuple[Future[None], int]] = deque()
        self._waiting_bytes = 0

    def shape(self, path: str) -> tuple[int, ...]:
        return self._weights.shape(path)

    def __contains__(self, path: object) -> bool:
        return path in self._weights

    def __getitem__(self, path: str) -> np.ndarray:
        array = self._weights[path]
        if path not in self._read:
            self._read.add(path)
            self._portion[path] = array
            self._portion_bytes += array.nbytes
            if self._portion_bytes >= _PORTION:
                self._hand_over()
        return array

    def __iter__(self) -> Iterator[str]:
        return iter(self._weights)

    def __len__(self) -> int:
        return len(self._weights)

    def digest(self, graph: Graph) -> str:
        """What :func:`resnetc.backends.weights.weights_hash` gives. Reads what was not read yet."""
        paths = hashed_paths(graph)
        for path in paths:
            if path not in self._read:
                self[path]
        self._hand_over()
        self._await(0)
        return combine_digests(self._digests[path] for path in paths)

    def _hand_over(self) -> None:
        self._await(_AHEAD)
        future = self._thread.submit(self._hash, self._portion)
        self._waiting.append((future, self._portion_bytes))
        self._waiting_bytes += self._portion_bytes
        self._portion, self._portion_bytes = {}, 0

    def _hash(self, portion: dict[str, np.ndarray]) -> None:
        while portion:
            path, array = portion.popitem()
            self._digests[path] = array_digest(path, array)

    def _await(self, most: int) -> None:
        """Wait until no more than so many bytes are to be hashed."""
        while self._waiting and (self._waiting_bytes > most or self._waiting[0][0].done()):
            future, size = self._waiting.popleft()
            future.result()
            self._waiting_bytes -= size

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._thread.shutdown(cancel_futures=True)
