"""Being asked to stop: Ctrl-C, SIGTERM, SLURM's SIGUSR1."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import ClassVar

from resnetc.diagnostics import RunError

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


_BEFORE = (
    "before its first step, with nothing to save yet; start it again with the same command, and "
    "--resume where the run's folder is there already"
)
_AFTER = (
    "behind its last step, with a checkpoint; --resume with the same command brings it to its end"
)


class StoppedError(RunError):
    """The run was asked to stop and did: at a step boundary, with a checkpoint, or where there was
    nothing to save."""

    exit_code: ClassVar[int] = 130


class StopRequest:
    """The signal that asked to stop, 0 while none did.

    It ends the run at once while there is nothing to save, before the first step and behind the
    last; between, in the block of `at_boundaries`, whoever takes the steps looks for it.
    """

    def __init__(self) -> None:
        self.signal = 0
        self._at_once: str | None = _BEFORE

    @property
    def name(self) -> str:
        return "Ctrl-C" if self.signal == signal.SIGINT else signal.Signals(self.signal).name

    @contextlib.contextmanager
    def at_boundaries(self) -> Iterator[None]:
        """Steps are taken in this block: take note of signals and let the step end."""
        self._at_once = None
        try:
            yield
        finally:
            self._at_once = _AFTER

    def note(self, number: int) -> None:
        """A signal has come. Raises KeyboardInterrupt for Ctrl-C, and StoppedError, where the run
        ends at once; a second Ctrl-C does not wait for a boundary."""
        again, self.signal = self.signal, number
        if number == signal.SIGINT and (again == number or self._at_once):
            raise KeyboardInterrupt
        if self._at_once and not again:
            raise StoppedError(f"stopped by {self.name} {self._at_once}")


@contextlib.contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """Take note of signals instead of dying of them, for the length of the block.

    In a thread other than the main one nothing is changed.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return

    def note(number: int, frame: FrameType | None) -> None:
        request.note(number)

    before = {number: signal.signal(number, note) for number in _SIGNALS}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
