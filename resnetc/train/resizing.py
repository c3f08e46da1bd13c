"""Progressive resizing: smaller images first."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as images_of

from resnetc.backends.torch import blank_module
from resnetc.diagnostics import UsageError
from resnetc.ir import Graph
from resnetc.recipes import Progressive


def scale_at(rule: Progressive, step: int, iterations: int) -> float:
    """The factor on the images' side at a step, from 0."""
    done = step / iterations
    growing = 1.0 - rule.delay - rule.settle
    if done >= 1.0 - rule.settle:
        return 1.0
    grown = 0.0 if done < rule.delay else min(1.0, (done - rule.delay) / growing)
    return rule.start + (1.0 - rule.start) * grown


def size_at(
    rule: Progressive, size: tuple[int, int], step: int, iterations: int
) -> tuple[int, int]:
    """Height and width at a step: multiples of the increment, except for the images' own."""
    scale = scale_at(rule, step, iterations)
    height, width = (_rounded(extent, scale, rule.increment) for extent in size)
    return height, width


def _rounded(extent: int, scale: float, increment: int) -> int:
    if scale == 1.0:
        return extent
    return min(extent, max(increment, round(extent * scale / increment) * increment))


def resized(images: Tensor, size: tuple[int, int]) -> Tensor:
    """A batch of floats [B, C, H, W] in another size, bilinear and antialiased."""
    if images.shape[-2:] == size:
        return images
    bilinear = v2.InterpolationMode.BILINEAR
    other: Tensor = images_of.resize(images, list(size), interpolation=bilinear, antialias=True)
    return other


def require_size(graph: Graph, size: tuple[int, int]) -> None:
    """Raise UsageError unless the network, declared for one size, can be run on another.

    It can where everything in it is local up to a global pool. This is found by running it
    without numbers.
    """
    channels, *declared = graph.inputs[0].type.shape
    if tuple(declared) == size:
        return
    module: nn.Module = blank_module(graph).eval()
    try:
        with torch.no_grad():
            module(torch.empty(1, channels, *size, device="meta"))
    except (RuntimeError, ValueError, IndexError) as error:
        raise UsageError(
            f"{graph.name} is declared for images of {declared[0]}x{declared[1]} and cannot be run "
            f"on {size[0]}x{size[1]}: that needs a global pool before its linear layers, and maps "
            "that do not shrink to nothing"
        ) from error
