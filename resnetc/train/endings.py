"""How a run that fails ends: what failed, what is left of it, and how to go on."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from resnetc.atomic import write_text
from resnetc.diagnostics import RunError
from resnetc.train import checkpoint as checkpoints
from resnetc.train.plainly import said_plainly
from resnetc.train.stop import StoppedError


class DivergedError(RunError):
    """The training diverged: a loss, a weight or the optimizer's state is not finite."""

    def __init__(self, step: int, left: str = "") -> None:
        super().__init__(
            f"the training diverged: the loss, a weight or the optimizer's state is not finite at "
            f"iteration {step:,}; {left}a run that goes on from there comes here again: train anew "
            "with a smaller --lr, or a warm-up, and another --out"
        )
        self.step = step


@contextlib.contextmanager
def ending_recorded(file: Path, state: HasStep) -> Iterator[None]:
    """Write how the block ends, unless well, into `file`, for those that list runs: diverged,
    interrupted or failed, at which step, and what was said. What an earlier end left goes first.

    A disk that cannot take it is no other end; a folder that has gone is not made anew.
    """
    file.unlink(missing_ok=True)
    try:
        yield
    except BaseException as error:
        told = {
            "ending": _kind(error),
            "step": error.step if isinstance(error, DivergedError) else state.step,
            "said": str(error) or type(error).__name__,
        }
        with contextlib.suppress(RunError, OSError):
            if file.parent.is_dir():
                write_text(file, json.dumps(told, indent=2) + "\n")
        raise


def _kind(error: BaseException) -> str:
    if isinstance(error, DivergedError):
        return "diverged"
    return "interrupted" if isinstance(error, StoppedError | KeyboardInterrupt) else "failed"


class HasStep(Protocol):
    """What goes from step to step."""

    step: int


@contextlib.contextmanager
def said_with_what_is_left(folder: Path) -> Iterator[None]:
    """Add to the error that a run ends with which checkpoint of `folder` stays, and what to do.

    torch's errors, and the system's of files, become RunError. Being asked to stop is none.
    """
    try:
        with said_plainly():
            yield
    except StoppedError:
        raise
    except DivergedError as error:
        kept = _last_whole(folder)
        left = f"the last good checkpoint is {kept}; " if kept else "no checkpoint was written; "
        raise DivergedError(error.step, left) from error
    except (RunError, OSError) as error:
        raise RunError(f"{_text(error)}; {_advice(_last_whole(folder))}") from error


def _advice(kept: Path | None) -> str:
    if kept is None:
        return "no checkpoint was written before"
    return f"the run goes on from {kept} with the same command and --resume"


def _last_whole(folder: Path) -> Path | None:
    with contextlib.suppress(RunError):  # all are damaged
        kept = checkpoints.newest(folder, lambda text: None)
        return checkpoints.place(folder, kept.step) if kept else None
    return None


def _text(error: RunError | OSError) -> str:
    if isinstance(error, RunError):
        return str(error)
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{error.strerror or error}"
