"""What a caller may ask of a training run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from resnetc.train.peers import PATIENCE

RUNS = Path("runs")
"""Where runs go that are not given a place: runs/NETWORK/RUN-ID."""


@dataclass(frozen=True)
class TrainOptions:
    """A request to train; what is None or empty is left to the recipe or the machine.

    `data` is NAME or NAME:PATH, `recipe` the name of one of the file's recipes or of a preset,
    `overrides` are KEY=VALUE of the recipe. `batch` is the global batch. `device` is "auto",
    "cpu", "cuda" or "cuda:N". `workers` and `threads` are numbers of processes that read images
    and of CPU threads that compute. `log_every` and `checkpoint_every` are in iterations; None is
    for two hundred readings a run, at most a hundred iterations apart, and for a checkpoint at
    every evaluation. The newest `keep` checkpoints and the best are kept. `replays` is the lock of
    a run that is to be had once more: its recipe is taken as it stands there. `peer_timeout` is how
    many seconds the processes of a run wait for one that does not answer. `accumulate` is in how
    many parts a process's share of a batch goes through the network, `compile` whether its repeated
    blocks are compiled, `cuda_graph` whether a whole step is recorded as a CUDA graph, where
    that is possible. `memory_limit` are bytes that a process's step may take; parts of the
    network then run twice to hold less. With `tensorboard` the metrics are written as
    TensorBoard's events, too.
    """

    data: str | None = None
    recipe: str | None = None
    overrides: tuple[str, ...] = ()
    iterations: int | None = None
    epochs: int | None = None
    batch: int | None = None
    lr: float | None = None
    precision: Literal["fp32", "bf16"] | None = None
    seed: int = 0
    device: str = "auto"
    out: Path | None = None
    resume: bool = False
    channels_last: bool = True
    deterministic: bool = False
    accumulate: int | None = None
    compile: bool = False
    cuda_graph: bool = False
    memory_limit: int | None = None
    workers: int | None = None
    threads: int | None = None
    log_every: int | None = None
    checkpoint_every: int | None = None
    keep: int = 3
    progress: bool = True
    tensorboard: bool = False
    replays: Mapping[str, Any] | None = None
    peer_timeout: float = PATIENCE

    @property
    def parts(self) -> int:
        """Parts that a process's share of a batch is accumulated in."""
        return 1 if self.accumulate is None else self.accumulate
