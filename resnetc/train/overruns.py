"""A kernel of PyTorch that overruns an array, and the layers that would call it.

oneDNN's for the gradient of the weight of a strided 1x1 convolution of fewer than eight channels,
where images lie channels last and the processor has no AVX-512 (oneDNN 3.12, PyTorch 2.14). What
it overruns is the heap, so that the process dies sooner or later, somewhere else.
"""

from __future__ import annotations

from torch import nn

from resnetc.ir import Graph
from resnetc.ops import Conv2d


def overrunning_layer(graph: Graph) -> str | None:
    """The first layer of a network that is trained contiguous for this reason, if there is one."""
    convs = ((node.name, node.op) for node in graph if isinstance(node.op, Conv2d))
    found = (name for name, op in convs if _overruns(op.kernel, op.stride, op.in_channels))
    return next(found, None)


def has_overrunning_layer(module: nn.Module) -> bool:
    """The same of a module: whether there is one."""
    return any(
        _overruns(layer.kernel_size, layer.stride, layer.in_channels)
        for layer in module.modules()
        if isinstance(layer, nn.Conv2d)
    )


def _overruns(kernel: tuple[int, ...], stride: tuple[int, ...], channels: int) -> bool:
    return kernel == (1, 1) and stride != (1, 1) and channels < 8
