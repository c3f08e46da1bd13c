"""Where onnxruntime's optimizer makes something else of eight bits than the file says."""

from __future__ import annotations


def why_unoptimized(layers: str, weight_bits: int, *, saturates: bool) -> str | None:
    """Why a file is to be run on the CPU with the optimizer off, if it is to be judged by what it
    means; None for one that is computed as it says.

    `saturates` says that sums of two products are kept in 16 bits here.
    """
    if layers == "fp8":
        return (
            "run with onnxruntime's optimizer off, which takes float8 for an integer and drops "
            "ReLUs"
        )
    if layers == "int8" and weight_bits == 8 and saturates:
        return (
            "run with onnxruntime's optimizer off: on this processor its kernels add products of "
            "eight bits in 16, and saturate; to run it here, export it with --weight-bits 7"
        )
    return None
