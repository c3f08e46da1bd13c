"""Settings of torch that hold for the length of a run."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import torch


@contextlib.contextmanager
def torch_settings(*, deterministic: bool, threads: int | None) -> Iterator[None]:
    """Deterministic algorithms, or the fastest ones found by trying; and the number of threads.

    What stood before is put back.
    """
    fill: Any = torch.utils.deterministic
    before = (
        torch.are_deterministic_algorithms_enabled(),
        fill.fill_uninitialized_memory,
        torch.backends.cudnn.benchmark,
        torch.get_num_threads(),
    )
    try:
        if deterministic:
            # cuBLAS reads it when it starts; without it torch refuses to be deterministic.
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
            torch.use_deterministic_algorithms(True)
            fill.fill_uninitialized_memory = False
        torch.backends.cudnn.benchmark = not deterministic
        if threads is not None:
            torch.set_num_threads(threads)
        yield
    finally:
        torch.use_deterministic_algorithms(before[0])
        fill.fill_uninitialized_memory = before[1]
        torch.backends.cudnn.benchmark = before[2]
        torch.set_num_threads(before[3])
