"""What torch raises for a user's request that cannot be met, in plain words."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from resnetc.diagnostics import RunError

_SAID = {
    "out of memory": "the device's memory is full; choose a smaller --batch",
    "DefaultCPUAllocator": "the memory is full; choose a smaller --batch",
    "DataLoader worker": "a process that reads images was killed, most likely for its memory: "
    "choose fewer --workers, or 0",
    "more than 1 value per channel": "a batch norm sees one value per channel; choose a larger "
    "--batch",
}
"""By a part of torch's message."""


@contextlib.contextmanager
def said_plainly() -> Iterator[None]:
    """Turn torch's errors of that kind into RunError; others pass."""
    try:
        yield
    except (RuntimeError, ValueError) as error:
        said = next((plain for part, plain in _SAID.items() if part in str(error)), None)
        if said is None:
            raise
        raise RunError(said) from error
