"""Short runs on the digits, and what to ask of them."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file

from resnetc.train import TrainOptions
from resnetc.train.checkpoint import found

QUICK = TrainOptions(
    data="digits", threads=1, progress=False, deterministic=True, device="cpu", batch=32
)
"""A request to complete with `out` and `iterations`."""


def weights_of(run: Path) -> dict[str, torch.Tensor]:
    """The weights a run ended with."""
    return load_file(run / "weights.safetensors")


def equal(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> bool:
    """Whether two sets of weights are the same to the last bit."""
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def steps_of(run: Path) -> list[int]:
    """The steps of which a run keeps checkpoints, in order."""
    return [int(path.name.removeprefix("step-")) for path in reversed(found(run / "checkpoints"))]
