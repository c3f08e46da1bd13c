"""What a CUDA graph does, on the CPU: operations are recorded, and replayed on the same tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

Work = Callable[[], object]

_WAITS = {
    torch.ops.aten._local_scalar_dense,
    torch.ops.aten.nonzero,
    torch.ops.aten.is_nonzero,
    torch.ops.aten.equal,
}
"""Operations whose result the host needs."""


class Tape(TorchDispatchMode):
    """Records every operation below autograd with its tensors; numbers in it are fixed for ever.

    Raises RuntimeError, as capturing does, at an operation that the host waits for.
    """

    def __init__(self) -> None:
        super().__init__()
        self._calls: list[tuple[Any, Any, Any, Any]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.overloadpacket in _WAITS:
            raise RuntimeError(f"{func} would wait for the device")
        made = func(*args, **(kwargs or {}))
        if not _is_view(func):
            self._calls.append((func, args, kwargs or {}, made))
        return made

    def replay(self) -> None:
        with torch.no_grad():
            for func, args, kwargs, made in self._calls:
                again = func(*args, **kwargs)
                for old, new in zip(tree_leaves(made), tree_leaves(again), strict=True):
                    if isinstance(old, Tensor) and old is not new:
                        old.detach().copy_(new)


def _is_view(func: Any) -> bool:
    """Whether what it returns lies where an argument lies, and is none that it writes to."""
    aliases = [made.alias_info for made in func._schema.returns]
    return any(alias is not None and not alias.is_write for alias in aliases)


class Replays:
    """A recorder for steps on the CPU; counts what it is asked for."""

    def __init__(self, spoil: Work | None = None) -> None:
        self.warmed = self.recorded = self.replayed = 0
        self._spoil = spoil

    def warm(self, work: Work) -> None:
        self.warmed += 1
        work()

    def record(self, work: Work) -> Work:
        self.recorded += 1
        with Tape() as tape:
            work()

        def replay() -> None:
            self.replayed += 1
            tape.replay()
            if self._spoil is not None:
                self._spoil()

        return replay
