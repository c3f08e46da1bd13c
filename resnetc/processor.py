"""What the processor here can do, where that decides what is computed or how it is told."""

from __future__ import annotations

import platform
from pathlib import Path

_TELLING = (
    "avx2",
    "avx512f",
    "avx512_vnni",
    "avx_vnni",
    "avx512_bf16",
    "amx_bf16",
    "amx_int8",
    "asimd",
)
"""Instruction sets that decide which kernels a framework picks."""
_SUMS_IN_32_BITS = {"avx512_vnni", "avx_vnni", "amx_int8"}
"""Instructions that add up products of eight bits in 32; x86 had 16 before, and they saturate."""


def facts() -> dict[str, str]:
    """The first processor's lines in /proc/cpuinfo; empty where there is none."""
    try:
        first = Path("/proc/cpuinfo").read_text().split("\n\n")[0]
    except OSError:
        return {}
    pairs = (line.partition(":") for line in first.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


def instruction_sets() -> list[str]:
    """Those of the telling instruction sets that are here."""
    told = facts()
    flags = told.get("flags", told.get("Features", "")).split()
    return [flag for flag in _TELLING if flag in flags]


def sums_saturate() -> bool:
    """Whether a sum of two products of unsigned and signed eight bits is kept in 16 bits here."""
    x86 = platform.machine().lower() in ("x86_64", "amd64", "i386", "i686")
    return x86 and _SUMS_IN_32_BITS.isdisjoint(instruction_sets())
