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


class StoppedError(RunError):
    """The run was asked to stop and did, at a step boundary, with a checkpoint."""

    exit_code: ClassVar[int] = 130


class StopRequest:
    """The signal that asked to stop, 0 while none did."""

    def __init__(self) -> None:
        self.signal = 0

    @property
    def name(self) -> str:
        return "Ctrl-C" if self.signal == signal.SIGINT else signal.Signals(self.signal).name


@contextlib.contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """Take note of signals instead of dying of them, for the length of the block.

    A second Ctrl-C interrupts at once. In a thread other than the main one nothing is changed.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return

    def note(number: int, frame: FrameType | None) -> None:
        if request.signal == number == signal.SIGINT:
            raise KeyboardInterrupt
        request.signal = number

    before = {number: signal.signal(number, note) for number in _SIGNALS}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
