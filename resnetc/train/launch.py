"""How this process was started: by torchrun, by SLURM's srun, or alone.

torchrun numbers its processes in RANK, WORLD_SIZE and LOCAL_RANK and says in MASTER_ADDR and
MASTER_PORT where they meet. srun numbers its tasks in SLURM_PROCID, SLURM_STEP_NUM_TASKS and
SLURM_LOCALID; the meeting place is the first host of SLURM_STEP_NODELIST, at a port made from the
job's number. Only srun sets SLURM_STEP_NUM_TASKS to more than one: the shells of `sbatch` and
`salloc` have SLURM_PROCID and SLURM_NTASKS too, and are one process.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from resnetc.diagnostics import UsageError

_FIRST_PORT, _PORTS = 10_000, 20_000
"""Ports for SLURM jobs lie below those that Linux gives to outgoing connections."""
_HIGHEST_PORT = 65_535


@dataclass(frozen=True)
class Launch:
    """One of several processes, and where they meet. `local_rank` counts on this host."""

    rank: int
    size: int
    local_rank: int
    address: str
    port: int


def launched(environ: Mapping[str, str] = os.environ) -> Launch | None:
    """This process among those it was started with, None where it is alone.

    RANK goes before SLURM's numbers, and MASTER_ADDR and MASTER_PORT before its hosts. Raises
    UsageError where variables are missing or contradict each other.
    """
    if "RANK" in environ:
        return _by_rank(environ)
    if "SLURM_STEP_NUM_TASKS" in environ:
        return _by_srun(environ)
    if _number(environ, "WORLD_SIZE", least=1, missing=1) > 1:
        raise UsageError(
            f"WORLD_SIZE is {environ['WORLD_SIZE']} but RANK is not set; start the processes with "
            "torchrun or srun, or unset WORLD_SIZE for one"
        )
    return None


def leads(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether this process speaks for all that were started with it."""
    launch = launched(environ)
    return launch is None or launch.rank == 0


def _by_rank(environ: Mapping[str, str]) -> Launch | None:
    size = _number(environ, "WORLD_SIZE", least=1, beside="RANK")
    rank = _below(environ, "RANK", size, "WORLD_SIZE")
    if size == 1:
        return None
    local = _below(environ, "LOCAL_RANK", size, "WORLD_SIZE")
    if "MASTER_ADDR" not in environ:
        raise UsageError("RANK is set but MASTER_ADDR is not: the host of process 0")
    return Launch(rank, size, local, environ["MASTER_ADDR"], _port(environ, beside="RANK"))


def _by_srun(environ: Mapping[str, str]) -> Launch | None:
    tasks = "SLURM_STEP_NUM_TASKS"
    size = _number(environ, tasks, least=1)
    if size == 1:
        return None
    if _number(environ, "WORLD_SIZE", least=1, missing=size) != size:
        raise UsageError(
            f"WORLD_SIZE is {environ['WORLD_SIZE']}, but srun started {size} tasks; unset it, or "
            "set RANK for each process too"
        )
    rank = _below(environ, "SLURM_PROCID", size, tasks)
    local = _below(environ, "SLURM_LOCALID", size, tasks)
    address = environ.get("MASTER_ADDR") or first_host(_hosts(environ))
    if "MASTER_PORT" in environ:
        return Launch(rank, size, local, address, _port(environ, beside="MASTER_ADDR"))
    job = _number(environ, "SLURM_JOB_ID", least=0, beside=tasks)
    # Steps of one job may run at the same time.
    step = _number(environ, "SLURM_STEP_ID", least=0, missing=0)
    return Launch(rank, size, local, address, _FIRST_PORT + (job + 97 * step) % _PORTS)


def _hosts(environ: Mapping[str, str]) -> str:
    for name in ("SLURM_STEP_NODELIST", "SLURM_JOB_NODELIST"):
        if environ.get(name):
            return environ[name]
    raise UsageError(
        "SLURM_STEP_NUM_TASKS is set but neither SLURM_STEP_NODELIST nor SLURM_JOB_NODELIST is; "
        "say with MASTER_ADDR where process 0 runs"
    )


def first_host(hosts: str) -> str:
    """The first of SLURM's list of hosts: `gpu[07-12,20],login1` begins with gpu07, and
    `rack[1-2]n[01-16]` with rack1n01. Raises UsageError for what is no such list."""
    first = re.match(r"(?:[\w.-]+|\[[^][]*\])+(?=,|$)", hosts)
    if first is None:
        raise UsageError(f"`{hosts}` is no list of SLURM's hosts, as gpu[01-08]")
    return re.sub(r"\[([^][]*)\]", lambda ranges: _first_number(ranges[1], hosts), first[0])


def _first_number(ranges: str, hosts: str) -> str:
    if not re.fullmatch(r"\d+(-\d+)?(,\d+(-\d+)?)*", ranges):
        raise UsageError(f"`{hosts}` is no list of SLURM's hosts: [{ranges}] holds no numbers")
    return re.split("[-,]", ranges)[0]


# ------------------------------------------------------------------------------- the variables


def _number(
    environ: Mapping[str, str],
    name: str,
    *,
    least: int,
    missing: int | None = None,
    beside: str = "",
) -> int:
    """A variable as a number; `missing` stands for one that is not set, else that is an error."""
    text = environ.get(name)
    if text is None:
        if missing is not None:
            return missing
        raise UsageError(f"{beside} is set but {name} is not")
    if not text.isdecimal() or int(text) < least:
        raise UsageError(f"{name} is `{text}`; it must be a whole number from {least} on")
    return int(text)


def _below(environ: Mapping[str, str], name: str, size: int, of: str) -> int:
    """A number of a process: from 0 up to, but not including, the number of processes."""
    number = _number(environ, name, least=0, beside=of)
    if number >= size:
        raise UsageError(f"{name} is {number}, but {of} is {size}: processes count from 0")
    return number


def _port(environ: Mapping[str, str], beside: str) -> int:
    port = _number(environ, "MASTER_PORT", least=1, beside=beside)
    if port > _HIGHEST_PORT:
        raise UsageError(f"MASTER_PORT is {port}; ports go up to {_HIGHEST_PORT}")
    return port
