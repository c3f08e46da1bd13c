"""Parts of a live module that run again in the backward pass instead of holding activations.

Modules keep their places, names and hooks: only their class changes, to one whose `forward` goes
through `torch.utils.checkpoint`. In evaluation, and where no gradient is wanted, they are what they
were. Running again changes nothing: random numbers are drawn anew from the same state, and buffers
such as running statistics are put back to what the first run left.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from resnetc.diagnostics import InternalError


@dataclass(frozen=True)
class Stretch:
    """What is recomputed together: one module, or neighbours in one `nn.Sequential`.

    `paths` are theirs; `features.3-5` are children 3 to 5. `draws` says whether random numbers are
    drawn in it.
    """

    paths: tuple[str, ...]
    draws: bool = False


def recompute(module: nn.Module, stretches: Sequence[Stretch]) -> None:
    """Make stretches of a module hold nothing but what comes in. In place.

    The module's `state_dict` stays as it is, and so do its results, bit for bit where its ops are
    deterministic.
    """
    for stretch in stretches:
        parents = {path.rpartition(".")[0] for path in stretch.paths}
        parent = module.get_submodule(parents.pop())
        if isinstance(parent, nn.Sequential) and not parents:
            _recompute_children(parent, stretch)
        elif len(stretch.paths) == 1:
            _recompute_module(module.get_submodule(stretch.paths[0]), stretch)
        else:
            raise InternalError(f"{stretch.paths} do not stand in one sequence")


class RecomputedSequential(nn.Sequential):
    """A sequence of which some runs of children are recomputed, each by itself.

    `runs` are first child, stop and whether random numbers are drawn, in order.
    """

    runs: tuple[tuple[int, int, bool], ...] = ()

    def forward(self, input: Any) -> Any:
        if not _records(self):
            return super().forward(input)  # type: ignore[no-untyped-call]
        children, place = list(self), 0
        for first, stop, draws in self.runs:
            for child in children[place:first]:
                input = child(input)
            input = _checkpointed(_Chain(children[first:stop]), (input,), draws)
            place = stop
        for child in children[place:]:
            input = child(input)
        return input


class _Chain:
    """Some modules, one after the other."""

    def __init__(self, parts: Sequence[nn.Module]) -> None:
        self.parts = parts

    def __call__(self, value: Any) -> Any:
        for part in self.parts:
            value = part(value)
        return value

    def buffers(self) -> list[Tensor]:
        return [buffer for part in self.parts for buffer in part.buffers()]


def _recompute_children(sequence: nn.Sequential, stretch: Stretch) -> None:
    labels = [label for path in stretch.paths for label in _children(path.rpartition(".")[2])]
    names = list(sequence._modules)
    first = names.index(labels[0])
    stop = first + len(labels)
    if names[first:stop] != labels:
        raise InternalError(f"{', '.join(labels)} are no neighbours")
    sequence.__class__ = RecomputedSequential
    recomputed = cast("RecomputedSequential", sequence)
    recomputed.runs = tuple(sorted((*recomputed.runs, (first, stop, stretch.draws))))


def _children(label: str) -> list[str]:
    """`3` is child 3, `3-5` are children 3 to 5."""
    ends = re.fullmatch(r"(\d+)-(\d+)", label)
    if ends is None:
        return [label]
    return [str(number) for number in range(int(ends[1]), int(ends[2]) + 1)]


def _recompute_module(module: nn.Module, stretch: Stretch) -> None:
    """Give a module a class of its own, with the forward of its class under a checkpoint."""
    plain: Any = type(module)

    class Recomputed(plain):  # type: ignore[misc]
        def forward(self, *given: Any) -> Any:
            if not _records(self):
                return super().forward(*given)
            return _checkpointed(_Whole(self, super().forward), given, stretch.draws)

    Recomputed.__name__ = Recomputed.__qualname__ = f"Recomputed{plain.__name__}"
    module.__class__ = Recomputed


class _Whole:
    """A module by the forward of its own class."""

    def __init__(self, module: nn.Module, forward: Callable[..., Any]) -> None:
        self.module, self.forward = module, forward

    def __call__(self, *given: Any) -> Any:
        return self.forward(*given)

    def buffers(self) -> list[Tensor]:
        return list(self.module.buffers())


def _records(module: nn.Module) -> bool:
    """Whether a forward pass holds activations."""
    return module.training and torch.is_grad_enabled()


def _checkpointed(part: _Chain | _Whole, given: tuple[Any, ...], draws: bool) -> Any:
    if torch.compiler.is_compiling():  # the compiler runs only what gradients need once more
        return checkpoint(part, *given, use_reentrant=False)
    return checkpoint(
        part,
        *given,
        use_reentrant=False,
        # Reading a generator's state waits for the device, and cannot stand in a CUDA graph.
        preserve_rng_state=draws,
        context_fn=lambda: (contextlib.nullcontext(), _unchanged(part.buffers())),
    )


@contextlib.contextmanager
def _unchanged(buffers: Sequence[Tensor]) -> Iterator[None]:
    """Put back what buffers hold now."""
    before = [buffer.clone() for buffer in buffers]
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, held in zip(buffers, before, strict=True):
                buffer.copy_(held)
