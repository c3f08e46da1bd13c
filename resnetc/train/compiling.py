"""Compiled blocks: what a network repeats is compiled once, however often it stands there.

Compiling a whole network takes as long as the network is deep, and most of that is spent on the
same block again. torch keeps compiled code by a function's code and by what it was compiled for:
shapes, strides and whatever else a block reads. Blocks that are one class in the emitted source and
agree in these are one piece of compiled code; what stands between the blocks is left plain.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from types import MethodType
from typing import Any

import torch
from torch import fx, nn
from torch._dynamo import config as dynamo_config
from torch._dynamo.exc import TorchDynamoException
from torch._functorch.partitioners import default_partition
from torch._inductor.custom_graph_pass import CustomPartitionerFn

from resnetc.backends.torch import is_emitted
from resnetc.train.overruns import has_overrunning_layer

Backend = str | Callable[..., Any]


def compile_blocks(
    module: nn.Module, say: Callable[[str], None], backend: Backend = "inductor"
) -> int:
    """Let an emitted module's repeated blocks run as compiled code in training; how many they are.

    They are compiled when they first run, and in evaluation they stay what they are. Where
    compiling fails, `say` is told why, and all blocks run as they are from then on.
    """
    units: defaultdict[type[nn.Module], list[nn.Module]] = defaultdict(list)
    for unit in repeated_blocks(module):
        units[type(unit)].append(unit)
    on_cpu = all(parameter.device.type == "cpu" for parameter in module.parameters())
    options: dict[str, Any] | None = None
    if on_cpu and backend == "inductor":
        options = {"custom_partitioner_fn": _AsEager()}
        if has_overrunning_layer(module):
            options["layout_optimization"] = False
    attempt = _Attempt(say, backend, options)
    for kind, alike in units.items():
        forward = attempt.at(kind.forward)
        for unit in alike:
            unit.forward = MethodType(forward, unit)
    # Each width and stride of a block is code of its own; by default torch gives up at the ninth.
    most = max([len(alike) for alike in units.values()], default=0)
    dynamo_config.recompile_limit = max(dynamo_config.recompile_limit, most)
    return sum(len(alike) for alike in units.values())


def repeated_blocks(module: nn.Module) -> Iterator[nn.Module]:
    """The outermost modules whose class stands more than once in an emitted module."""
    counts = Counter(type(part) for part in module.modules() if is_emitted(part))
    ahead = list(module.children())
    while ahead:
        part = ahead.pop(0)
        if counts[type(part)] > 1:
            yield part
        else:
            ahead = [*part.children(), *ahead]


class _AsEager(CustomPartitionerFn):
    """Keeps for the backward pass what PyTorch keeps that does not compile.

    The compiler's own choice keeps a mask of a block's last ReLU, being smaller, in the place of
    the output, which the next block keeps anyway. On a CPU, writing and reading masks took as long
    as everything else in a block of ResNet-20.
    """

    def __call__(
        self, gm: fx.GraphModule, joint_inputs: Sequence[object], **facts: Any
    ) -> tuple[fx.GraphModule, fx.GraphModule]:
        facts.pop("compiler", None)
        return default_partition(gm, joint_inputs, **facts)

    def uuid(self) -> str:
        return "resnetc: as eager"


class _Attempt:
    """Compiled code for as long as compiling works."""

    def __init__(
        self, say: Callable[[str], None], backend: Backend, options: dict[str, Any] | None
    ) -> None:
        self._say = say
        self._compile = partial(torch.compile, dynamic=False, backend=backend, options=options)
        self._works = True

    def at(self, plain: Callable[..., Any]) -> Callable[..., Any]:
        """A `forward` by compiled code of a plain one."""
        compiled = self._compile(plain)

        def forward(block: nn.Module, *given: Any) -> Any:
            if block.training and self._works:
                try:
                    return compiled(block, *given)
                except TorchDynamoException as error:
                    self._works = False
                    # The first line says which compiler, the second what befell it.
                    self._say(f"not compiled: {' '.join(str(error).strip().splitlines()[:2])}")
            return plain(block, *given)

        return forward
