"""How much memory there is, and what does not fit it: said before any of it is asked for."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

from resnetc.diagnostics import RunError

if TYPE_CHECKING:
    from resnetc.ir import Graph

_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB")


def require_memory(graph: Graph, *, at_once: bool) -> None:
    """Raise RunError where a network's weights are larger than the machine's memory: all of them
    together, or the largest where they are made one after another."""
    sizes = [parameter.type.bytes for parameter in graph.parameters.values()]
    most = memory_bytes()
    memory = sum(sizes) if at_once else max(sizes, default=0)
    if most is not None and memory > most:
        what = "the weights take" if at_once else "the largest weight takes"
        raise RunError(
            f"{graph.name}: {what} {in_words(memory)}, and there are {in_words(most)} of memory"
        )


def memory_bytes() -> int | None:
    """Bytes of memory that this process may have at most; None where the system does not say."""
    known = [*_physical(), *_limit()]
    return min(known, default=None)


def in_words(count: int) -> str:
    """A number of bytes with a unit of 1,024s: `154.6 GiB`."""
    size, units = float(count), iter(_UNITS)
    unit = next(units)
    for larger in units:
        if size < 1024:
            break
        size, unit = size / 1024, larger
    return f"{count:,} bytes" if unit == "bytes" else f"{size:,.1f} {unit}"


def _physical() -> Iterable[int]:
    try:
        yield os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return


def _limit() -> Iterable[int]:
    """What `ulimit -v` allows."""
    if sys.platform == "win32":
        return
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    if soft != resource.RLIM_INFINITY:
        yield soft
