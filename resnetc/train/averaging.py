"""An exponential moving average of the weights, beside the weights that are trained."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from resnetc.recipes import Ema

Due = Literal["nothing", "copy", "blend"]
"""What an average does after a step."""


class Average:
    """The average of a module's parameters and buffers, by path.

    Counters, which have no mean, are the module's own. The module must stay where it is: its
    tensors are looked up once.
    """

    def __init__(self, module: nn.Module, rule: Ema) -> None:
        self._module, self._rule = module, rule
        state = {name: tensor.detach() for name, tensor in module.state_dict().items()}
        self.tensors = {name: tensor.clone() for name, tensor in state.items()}
        pairs = [(self.tensors[name], tensor) for name, tensor in state.items()]
        self._means = [pair for pair in pairs if pair[0].is_floating_point()]
        self._counters = [pair for pair in pairs if not pair[0].is_floating_point()]

    def due(self, step: int, *, warming: bool) -> Due:
        """What follows step `step`, from 1; in a warm-up the average is a copy."""
        if step % self._rule.every:
            return "nothing"
        return "copy" if warming else "blend"

    @torch.no_grad()
    def take(self, due: Due) -> None:
        """Do what is due, on the device."""
        if due == "nothing":
            return
        copied = [*self._means, *self._counters] if due == "copy" else self._counters
        if copied:
            ours, theirs = zip(*copied, strict=True)
            torch._foreach_copy_(ours, theirs)
        if due == "blend":
            averages, weights = zip(*self._means, strict=True)
            torch._foreach_lerp_(averages, weights, 1.0 - self._rule.decay)

    @torch.no_grad()
    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on from a checkpoint's tensors."""
        for name, held in self.tensors.items():
            held.copy_(tensors[name])

    @contextlib.contextmanager
    def shown(self) -> Iterator[None]:
        """Let the module hold the average for the length of a block."""
        own = {name: t.detach().clone() for name, t in self._module.state_dict().items()}
        self._module.load_state_dict(self.tensors)
        try:
            yield
        finally:
            self._module.load_state_dict(own)
