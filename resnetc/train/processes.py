"""Several processes, as torchrun or srun started them, or this one alone."""

from __future__ import annotations

import contextlib
import gc
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from resnetc.diagnostics import UsageError
from resnetc.train.launch import launched
from resnetc.train.peers import PATIENCE, Peers, of_a_peer


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
        self.any(0)


@contextlib.contextmanager
def joined(device: str, patience: float = PATIENCE) -> Iterator[World]:
    """Join the processes this one was started with, for the length of the block.

    Raises UsageError where the environment contradicts itself, and RunError, which names the
    process, when one does not come, goes, or does not answer for `patience` seconds.
    """
    launch = launched()
    if launch is None:
        yield World()
        return
    peers = Peers(launch, patience)
    peers.arrive()
    backend = "gloo"
    if device.startswith("cuda") or (device == "auto" and torch.cuda.is_available()):
        torch.cuda.set_device(launch.local_rank)
        backend = "cpu:gloo,cuda:nccl"
    try:
        dist.init_process_group(
            backend,
            store=peers.store,
            rank=launch.rank,
            world_size=launch.size,
            timeout=timedelta(seconds=patience),
        )
        yield World(launch.rank, launch.size, launch.local_rank)
    except BaseException as error:
        lost = peers.account_for(error) if of_a_peer(error) else None
        if lost is None:
            peers.leave(str(error) or type(error).__name__)
        _break_off(error)
        peers.see_off()
        if lost is not None:
            raise lost from error
        raise
    dist.destroy_process_group()


def _break_off(error: BaseException) -> None:
    """Close the connections to the other processes, so that none waits for this one."""
    if dist.is_initialized():
        dist.destroy_process_group()
    # They stay open for as long as a traceback holds the parallel module.
    held: BaseException | None = error
    while held is not None:
        traceback.clear_frames(held.__traceback__)
        held = held.__cause__ or held.__context__
    gc.collect()
