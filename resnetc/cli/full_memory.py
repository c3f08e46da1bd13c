"""Memory that ran out, in plain words: what numpy, torch and Python raise when there is no more."""

from __future__ import annotations

import re
from collections.abc import Callable

from resnetc.backends.capacity import in_words
from resnetc.diagnostics import RunError

_WANTED: dict[str, Callable[[re.Match[str]], str]] = {
    # numpy
    r"Unable to allocate ([\d.]+?)\.? (\w+) for an array": lambda m: f"{m[1]} {m[2]}",
    # torch: its allocator of memory, of a device's memory
    r"you tried to allocate (\d+) bytes": lambda m: in_words(int(m[1])),
    r"Tried to allocate ([\d.]+ \w+)": lambda m: m[1],
}
_BEYOND = (
    "Storage size calculation overflowed",
    "Maximum allowed dimension exceeded",
    "array is too big",
    "numel: integer multiplication overflow",
)
"""Parts of what is said of arrays that no machine could hold."""


def in_plain_words(error: BaseException) -> RunError | None:
    """The error of a full memory for a reader; None for any other error."""
    said = str(error)
    for pattern, wanted in _WANTED.items():
        if match := re.search(pattern, said):
            return RunError(f"the memory is full: {wanted(match)} more were wanted")
    if isinstance(error, MemoryError):
        return RunError("the memory is full")
    if any(part in said for part in _BEYOND):
        return RunError("the memory is full: more was wanted than any machine has")
    return None
