"""A thread beside: it does work in order, while the next is prepared.

Hashing leaves Python's lock, so that it costs no time where there are two cores; but work has to be
handed over in portions of some megabytes, for the lock is waited for after each.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self


class Backlog:
    """Work for one thread, of which no more than `most` bytes wait. A context manager."""

    def __init__(self, name: str, most: int) -> None:
        self._thread = ThreadPoolExecutor(1, name)
        self._most = most
        self._waiting: deque[tuple[Future[None], int]] = deque()
        self.bytes = 0
        """What waits, and what is being done."""

    def add(self, work: Callable[[], None], size: int) -> None:
        """Have work done that holds on to so many bytes until then; raises what earlier work
        raised. Waits until no more than `most` bytes do."""
        while self._waiting and (self.bytes > self._most or self._waiting[0][0].done()):
            self._await_one()
        self._waiting.append((self._thread.submit(work), size))
        self.bytes += size

    def finish(self) -> None:
        """Wait for everything; raises what it raised."""
        while self._waiting:
            self._await_one()

    def _await_one(self) -> None:
        future, size = self._waiting.popleft()
        future.result()
        self.bytes -= size

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._thread.shutdown(cancel_futures=True)
