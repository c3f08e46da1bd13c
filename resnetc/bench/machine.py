"""What a figure was measured on: processor, cores, versions. Never host names or paths."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Iterable
from importlib import metadata
from typing import Any

from resnetc.processor import facts, instruction_sets


def cores() -> int:
    """Processor cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def machine() -> dict[str, Any]:
    """The machine, as far as it explains a timing."""
    return {
        "cpu": facts().get("model name") or platform.processor() or platform.machine(),
        "architecture": platform.machine(),
        "cores": cores(),
        "instruction_sets": instruction_sets(),
        "memory_gib": _memory_gib(),
        "system": platform.system(),
        "python": platform.python_version(),
    }


def load_average() -> float | None:
    """Processes that wanted a core in the last minute, ours included; None where it is not told."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Installed versions, by distribution name; what is not installed is left out."""
    found = {}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def gpus() -> list[dict[str, str]]:
    """The NVIDIA GPUs with driver, clocks and limits, as nvidia-smi tells; none without it."""
    asked = (
        "name",
        "driver_version",
        "clocks.sm",
        "clocks.max.sm",
        "power.limit",
        "mig.mode.current",
    )
    command = ["nvidia-smi", f"--query-gpu={','.join(asked)}", "--format=csv,noheader"]
    try:
        told = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    rows = [line.split(", ") for line in told.stdout.splitlines()]
    return [dict(zip(asked, row, strict=False)) for row in rows]


def _memory_gib() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (OSError, ValueError):
        return None
