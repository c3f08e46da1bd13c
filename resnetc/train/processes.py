"""One process or several: what torchrun started is joined, else this process is the world."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from resnetc.diagnostics import UsageError


@dataclass(frozen=True)
class World:
    """The processes of this run. `rank` 0 writes and speaks."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @property
    def leads(self) -> bool:
        return self.rank == 0

    def share(self, batch: int) -> int:
        """Images of a global batch that each process works on."""
        if batch % self.size:
            raise UsageError(
                f"a batch of {batch} cannot be shared equally by {self.size} processes; "
                f"choose a multiple of {self.size} with --batch"
            )
        return batch // self.size

    def sum(self, values: Tensor) -> Tensor:
        """The sum over all processes, in place."""
        if self.size > 1:
            dist.all_reduce(values)
        return values

    def any(self, flag: int) -> int:
        """The largest of the processes' flags."""
        if self.size == 1:
            return flag
        value = torch.tensor([flag])
        dist.all_reduce(value, dist.ReduceOp.MAX)
        return int(value)

    def agree(self, value: Any) -> Any:
        """Rank 0's value."""
        if self.size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0)
        return box[0]

    def gather(self, values: Tensor) -> list[Tensor]:
        """Every process's tensor, by rank; on the CPU and of one shape."""
        if self.size == 1:
            return [values]
        held = [torch.empty_like(values) for _ in range(self.size)]
        dist.all_gather(held, values)
        return held

    def spread_buffers(self, module: nn.Module) -> None:
        """Give every process rank 0's buffers.

        Batch norm's running statistics are each process's own during training, as on the paper's
        GPUs; rank 0's are the ones that are evaluated and saved.
        """
        if self.size > 1:
            for buffer in module.buffers():
                dist.broadcast(buffer, src=0)

    def wait(self) -> None:
        """Until every process is here."""
        if self.size > 1:
            dist.barrier()


@contextlib.contextmanager
def joined(device: str) -> Iterator[World]:
    """Join the processes torchrun started, for the length of the block."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1 or "RANK" not in os.environ:
        yield World()
        return
    local = int(os.environ.get("LOCAL_RANK", "0"))
    backend = "gloo"
    if device.startswith("cuda") or (device == "auto" and torch.cuda.is_available()):
        torch.cuda.set_device(local)
        backend = "cpu:gloo,cuda:nccl"
    dist.init_process_group(backend, timeout=timedelta(minutes=30))
    try:
        yield World(dist.get_rank(), size, local)
    finally:
        dist.destroy_process_group()
