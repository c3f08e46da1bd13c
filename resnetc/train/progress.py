"""What a run says while it trains, on stderr: a bar on a terminal, lines elsewhere."""

from __future__ import annotations

import sys
import time
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from resnetc.train.metrics import Row

_LINE_EVERY = 10.0
"""Seconds between two lines where there is no terminal."""


class Reporter(Protocol):
    """Hears of everything that happens in a run."""

    def note(self, text: str) -> None:
        """A sentence for the user."""

    def training(self, row: Row, seconds_left: float) -> None:
        """A reading of the training images."""

    def evaluation(self, row: Row, seconds: float) -> None:
        """A full pass over the validation or test images."""

    def close(self) -> None:
        """Nothing more will be said."""


def make_reporter(iterations: int, *, speaks: bool, shows_progress: bool) -> Reporter:
    """The reporter for this process and its stderr. One that does not speak is for the processes
    of a distributed run that do not lead."""
    if not speaks:
        return Silent()
    if not shows_progress:
        return Notes()
    return Bar(iterations) if sys.stderr.isatty() else Lines(iterations)


class Silent:
    """Says nothing."""

    def note(self, text: str) -> None:
        pass

    def training(self, row: Row, seconds_left: float) -> None:
        pass

    def evaluation(self, row: Row, seconds: float) -> None:
        pass

    def close(self) -> None:
        pass


class Notes(Silent):
    """Says only what the user must know."""

    def note(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)


class Lines(Notes):
    """A line every few seconds, and one for every evaluation."""

    def __init__(self, iterations: int) -> None:
        self._iterations = iterations
        self._last = time.monotonic()

    def training(self, row: Row, seconds_left: float) -> None:
        now = time.monotonic()
        if now - self._last >= _LINE_EVERY or row.step == self._iterations:
            self._last = now
            here = f"{row.step:>7,}/{self._iterations:,}"
            self.note(f"{here}  {readings(row, seconds_left)}  lr {row.lr:.3g}")

    def evaluation(self, row: Row, seconds: float) -> None:
        self.note(f"{row.step:>7,}/{self._iterations:,}  {verdict(row)}")


class Bar:
    """One bar with the latest readings; evaluations and notes scroll above it."""

    def __init__(self, iterations: int, console: Console | None = None) -> None:
        columns = (BarColumn(bar_width=12), MofNCompleteColumn(), TextColumn("{task.description}"))
        self._progress = Progress(*columns, console=console or Console(stderr=True))
        self._task: TaskID = self._progress.add_task("", total=iterations)
        self._progress.start()

    def note(self, text: str) -> None:
        self._progress.console.print(text, highlight=False, markup=False)

    def training(self, row: Row, seconds_left: float) -> None:
        text = readings(row, seconds_left)
        self._progress.update(self._task, completed=row.step, description=text)

    def evaluation(self, row: Row, seconds: float) -> None:
        self.note(f"{row.step:>7,}  {verdict(row)}")

    def close(self) -> None:
        self._progress.stop()


def readings(row: Row, seconds_left: float) -> str:
    """Loss, accuracy, speed and time left: beside the bar they fill 80 columns."""
    speed = f"{row.images_per_second:,.0f} images/s" if row.images_per_second else "..."
    accuracy = f"acc {1 - row.error:.2%}"
    return f"{_loss(row)}  {accuracy}  {speed}  {clock(seconds_left)} left"


def verdict(row: Row) -> str:
    """An evaluation in a line."""
    return f"{row.kind} acc {1 - row.error:6.2%}  {_loss(row)}"


def _loss(row: Row) -> str:
    return "loss not finite" if row.loss is None else f"loss {row.loss:.4f}"


def clock(seconds: float) -> str:
    """h:mm:ss, or m:ss below an hour."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
