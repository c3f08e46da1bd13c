"""Who takes part in a run of several processes, and who is missing when something goes wrong.

torch says that a connection was reset, and not whose. So every process signs a register when it
comes, and when it goes writes down why; the others read there what to tell the user. The register
is the key-value store of process 0, or torchrun's.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
import time
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any

import torch.distributed as dist

from resnetc.diagnostics import RunError
from resnetc.train.launch import Launch

PATIENCE = 600.0
"""Seconds that processes wait for one another."""
_GRACE = 10.0
"""Seconds that the survivors of a process give each other to come to the register."""
_LAST_CALL = 10.0
"""Seconds that process 0 keeps the register open for those that have not read it yet."""
_LOOK_EVERY = 0.05

_times_joined = itertools.count()
_stores: dict[Launch, Any] = {}
"""Open for as long as this process lives: others may still come to them."""


class Peers:
    """The processes of a run, by their register. `store` is for them alone, once they arrived."""

    def __init__(self, launch: Launch, patience: float) -> None:
        self._launch, self._patience = launch, patience
        self._rank, self._size = launch.rank, launch.size
        self._hosts: dict[int, str] = {}
        self._missing: list[int] = []
        if launch not in _stores:
            _stores[launch] = _open_store(launch, patience)
        # A process that trains twice meets the others twice.
        prefix = f"resnetc/{next(_times_joined)}"
        self.store = dist.PrefixStore(prefix, _stores[launch])  # type: ignore[attr-defined]

    def arrive(self) -> None:
        """Sign the register and wait for all others. Raises RunError that names who is missing."""
        self._write("here", socket.gethostname())
        missing = self._wait_for(self._everyone, ("here",), self._patience)
        if missing:
            here = [rank for rank in self._everyone if rank not in missing]
            raise RunError(
                f"{self._named(missing)} did not arrive within {self._patience:g} s, while "
                f"{self._named(here)} waited; were all started, with the same MASTER_ADDR and "
                "MASTER_PORT? --peer-timeout sets how long to wait"
            )
        self._hosts = {rank: self._read("here", rank) for rank in self._everyone}

    def leave(self, reason: str) -> None:
        """Write down why this process goes before the run's end, for those that wait for it."""
        with contextlib.suppress(RuntimeError):
            self._write("left", reason)

    def account_for(self, trouble: BaseException) -> RunError:
        """What an operation over all processes failed of, in words that name the process."""
        late = "timed out" in str(trouble).lower()
        why = "did not answer" if late else "was killed, crashed or cannot be reached"
        # torch would print a stack of C++ on finding nobody there.
        if not _listens(self._launch.address, self._launch.port):
            return self._gone([0], why)
        try:
            return self._accounted(why)
        except RuntimeError:  # the register went away, and with it the process that kept it
            return self._gone([0], why)

    def _accounted(self, why: str) -> RunError:
        self._write("survived", "")
        self._missing = self._wait_for(self._everyone, ("survived", "left"), _GRACE)
        left = [rank for rank in self._everyone if self._has("left", rank)]
        if left:
            return RunError(f"{self._named(left[:1])} ended: {self._read('left', left[0])}")
        return self._gone(self._missing, why)

    def _gone(self, ranks: list[int], why: str) -> RunError:
        who = self._named(ranks) if ranks else f"one of {self._size} processes"
        return RunError(
            f"{who} {why}, and the others cannot go on; start all again (a training goes on from "
            "its last checkpoint with --resume)"
        )

    def see_off(self) -> None:
        """Let the others read the register before process 0, which keeps it, goes."""
        with contextlib.suppress(RuntimeError):
            self._write("off", "")
            if self._rank == 0:
                still_here = [r for r in self._everyone if r not in self._missing]
                self._wait_for(still_here, ("off", "left"), _LAST_CALL)

    # ------------------------------------------------------------------------- the register

    @property
    def _everyone(self) -> range:
        return range(self._size)

    def _write(self, page: str, text: str) -> None:
        self.store.set(f"{page}/{self._rank}", text)

    def _has(self, page: str, rank: int) -> bool:
        return bool(self.store.check([f"{page}/{rank}"]))

    def _read(self, page: str, rank: int) -> str:
        return bytes(self.store.get(f"{page}/{rank}")).decode()

    def _wait_for(self, ranks: Iterable[int], pages: tuple[str, ...], seconds: float) -> list[int]:
        """The ranks that have signed none of the pages when the time is over."""
        unsigned = list(ranks)

        def all_signed() -> bool:
            unsigned[:] = [r for r in unsigned if not any(self._has(page, r) for page in pages)]
            return not unsigned

        _until(all_signed, seconds)
        return unsigned

    def _named(self, ranks: list[int]) -> str:
        """`process 3 (gpu02) of 8`."""
        hosts = {rank: f" ({host})" for rank, host in self._hosts.items()}
        told = ", ".join(f"{rank}{hosts.get(rank, '')}" for rank in ranks)
        return f"process{'es' if len(ranks) > 1 else ''} {told} of {self._size}"


def of_a_peer(error: BaseException) -> bool:
    """Whether an error is one of torch's about other processes: a lost connection, a timeout."""
    if isinstance(error, dist.DistError):
        return True
    return isinstance(error, RuntimeError) and "gloo" in str(error)


def _open_store(launch: Launch, patience: float) -> Any:
    """The store that all processes share: process 0 keeps it, or torchrun's agent.

    Raises RunError where it cannot be had.
    """
    where = f"{launch.address}:{launch.port}"
    keeps = launch.rank == 0 and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != str(True)
    # What these two find out quietly, torch would print with a stack of C++.
    if keeps and _is_taken(launch.port):
        raise RunError(
            f"port {launch.port} of {launch.address} is taken, perhaps by another run; choose "
            "another with MASTER_PORT, or torchrun's --master-port"
        )
    if not keeps and not _until(lambda: _listens(launch.address, launch.port), patience):
        raise RunError(
            f"process {launch.rank} of {launch.size} waited {patience:g} s for process 0 at "
            f"{where} and nothing answers there; was it started, and can the hosts reach each "
            "other? --peer-timeout sets how long to wait"
        )
    try:
        return dist.TCPStore(  # type: ignore[attr-defined]
            launch.address,
            launch.port,
            is_master=keeps,
            timeout=timedelta(seconds=patience),
            wait_for_workers=False,
        )
    except dist.DistError as error:
        raise RunError(f"the processes cannot meet at {where}: {_first_line(error)}") from error


def _listens(address: str, port: int) -> bool:
    try:
        with socket.create_connection((address, port), timeout=1.0):
            return True
    except OSError:
        return False


def _is_taken(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError:
            return True
    return False


def _until(met: Callable[[], bool], seconds: float) -> bool:
    """Whether a condition is met before the time is over."""
    deadline = time.monotonic() + seconds
    while not met():
        if time.monotonic() >= deadline:
            return False
        time.sleep(_LOOK_EVERY)
    return True


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0]
