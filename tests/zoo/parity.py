"""Runs a network and its reference on the same weights and images, and says how far apart they are.

Weights are drawn, none left at 0 or 1: a swapped eps, gate, pad or shift shows. Everything is in
float64, where two right networks differ by rounding alone.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import zlib
from collections.abc import Mapping

import torch
from torch import Tensor, nn

import resnetc
from resnetc.backends.torch import blank_module
from resnetc.ir import Graph
from zoo.reference import Reference

TOLERANCE = 1e-9
"""Largest relative difference of two equal networks."""

_BATCH = 2
_RANDOM = ("Dropout", "StochasticDepth", "DropPath")
"""Reference modules that draw random numbers in training."""


@functools.cache
def load(name: str, reference: Reference) -> resnetc.Network:
    """The network a reference stands for."""
    return resnetc.load(reference.network or name, dict(reference.settings))


def differences(network: resnetc.Network, reference: Reference) -> dict[str, float]:
    """Largest difference of each output, in both modes, and of the statistics after a step.

    Each is relative to the largest number of its tensor. Dropout and stochastic depth are off, but
    their rates must agree. Raises AssertionError where there is nothing to compare: weights that
    do not load, other outputs, a network that computes nothing.
    """
    ours, theirs = blank_module(_without_chance(network.graph)), _blank(reference)
    paths = {path: reference.path(path) for path in network.graph.parameters}
    state = random_state(theirs)
    theirs = _with_weights(theirs, state, reference)
    mine = {path: state[theirs_path] for path, theirs_path in paths.items()}
    # Weights are shared, for the memory of the largest networks; what training changes is not.
    ours.load_state_dict(
        {path: mine[path].clone() if mine[path].ndim < 2 else mine[path] for path in mine},
        strict=True,
        assign=True,
    )
    assert len(mine) == len(state), f"{sorted(state.keys() - set(paths.values()))} are missing"

    x = _images(network.graph, reference.side)
    found = {}
    with torch.no_grad():
        measured, rates = _watch(theirs)
        for mode in ("train", "eval"):
            ours.train(mode == "train")
            theirs.train(mode == "train")
            expected = _named(theirs(x), network.graph, reference)
            result = _named(ours(x), network.graph, reference)
            assert list(result) == list(expected), f"{list(result)}, not {list(expected)}"
            for name, tensor in expected.items():
                found[f"{mode} {name}"] = _difference(result[name], tensor)
            if mode == "train":
                assert rates == _rates(network.graph), "other rates of what is dropped"
                found["statistics"] = _statistics(ours, theirs, paths)
                _settle(ours, theirs, paths, measured)
    return found


def random_state(module: nn.Module) -> dict[str, Tensor]:
    """A float64 state for the module: He-normal weights, and everything else off its default."""
    # Kept as torch makes it: some modules look at the version that it carries.
    state = module.state_dict()
    for path, tensor in state.items():
        state[path] = _draw(path, tensor)
    return state


def _draw(path: str, like: Tensor) -> Tensor:
    generator = torch.Generator().manual_seed(zlib.crc32(path.encode()))
    shape, name = like.shape, path.rpartition(".")[2]
    if name == "num_batches_tracked":
        return torch.tensor(3)
    fan_in = math.prod(shape[1:])
    if len(shape) > 1 and fan_in > 1:
        # Drawn in float32: three times as fast, and as random.
        drawn = torch.randn(shape, generator=generator)
        return drawn.double().mul_(math.sqrt(2 / fan_in))
    drawn = torch.rand(shape, generator=generator, dtype=torch.float64)
    return 0.6 * (drawn - 0.5) if name in ("bias", "running_mean") else 0.5 + drawn


def _blank(reference: Reference) -> nn.Module:
    with torch.device("meta"):
        return reference.build()


def _with_weights(
    module: nn.Module, state: Mapping[str, Tensor], reference: Reference
) -> nn.Module:
    module.load_state_dict(state, strict=True, assign=True)
    if any(buffer.is_meta for buffer in module.buffers()):
        # Some constants are not part of its state: they must really be made.
        module = reference.build().double()
        module.load_state_dict(state, strict=True, assign=True)
    return module


def _images(graph: Graph, side: int) -> Tensor:
    (image,) = graph.inputs
    generator = torch.Generator().manual_seed(0)
    shape = (_BATCH, image.type.shape[0], side, side)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def _named(result: object, graph: Graph, reference: Reference) -> dict[str, Tensor]:
    """What a module returned, by our names of it."""
    if isinstance(result, dict):
        return result
    if isinstance(result, Tensor):
        (name,) = graph.outputs
        return {name: result}
    return {name: getattr(result, field) for name, field in reference.returns.items()}


def _difference(found: Tensor, expected: Tensor) -> float:
    assert found.shape == expected.shape, f"{tuple(found.shape)}, not {tuple(expected.shape)}"
    scale = expected.abs().max().item()
    assert math.isfinite(scale), "the reference overflows"
    assert (expected[0] - expected[1]).abs().max() > 1e-3 * scale, "the images make no difference"
    return (found - expected).abs().max().item() / scale


# ---------------------------------------------------------------------------------------- chance


def _without_chance(graph: Graph) -> Graph:
    """The graph with every rate 0."""
    nodes = [
        dataclasses.replace(node, op=dataclasses.replace(node.op, p=0.0))
        if node.op.name in ("dropout", "drop_path")
        else node
        for node in graph
    ]
    return Graph(graph.name, nodes, graph.outputs, graph.scopes, graph.aux)


def _rates(graph: Graph) -> list[float]:
    rates = [node.op.p for node in graph if node.op.name in ("dropout", "drop_path")]
    return sorted(round(rate, 12) for rate in rates if rate > 0)


def _watch(theirs: nn.Module) -> tuple[dict[str, tuple[Tensor, Tensor]], list[float]]:
    """What comes in at each batch norm, and the rates of what is dropped, as modules run.

    The rates themselves are set to 0.
    """
    moments: dict[str, tuple[Tensor, Tensor]] = {}
    rates: list[float] = []

    def measure(name: str, x: Tensor) -> None:
        moments[name] = (x.mean((0, 2, 3)), x.var((0, 2, 3)))

    def note(rate: float) -> None:
        rates.append(round(rate, 12))
        rates.sort()

    for name, module in theirs.named_modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.register_forward_pre_hook(
                lambda module, args, name=name: measure(name, *args) if module.training else None
            )
        elif type(module).__name__ in _RANDOM:
            attribute = "drop_prob" if hasattr(module, "drop_prob") else "p"
            rate = getattr(module, attribute) or 0.0
            setattr(module, attribute, 0.0)
            if rate > 0:
                module.register_forward_pre_hook(
                    lambda module, args, rate=rate: note(rate) if module.training else None
                )
    return moments, rates


# ------------------------------------------------------------------------------------ statistics


def _statistics(ours: nn.Module, theirs: nn.Module, paths: Mapping[str, str]) -> float:
    """How far apart the running statistics are, of the worst layer."""
    buffers = dict(theirs.named_buffers())
    largest = 0.0
    for path, tensor in ours.named_buffers():
        if path in paths:
            expected = buffers[paths[path]].double()
            scale = expected.abs().max().item() or 1.0
            largest = max(largest, (tensor - expected).abs().max().item() / scale)
    return largest


def _settle(
    ours: nn.Module,
    theirs: nn.Module,
    paths: Mapping[str, str],
    measured: Mapping[str, tuple[Tensor, Tensor]],
) -> None:
    """Set running statistics near what the layers really see, as training leaves them.

    A deep network keeps its signal under them, and its gates their slope.
    """
    buffers = dict(theirs.named_buffers())
    for name, (mean, variance) in measured.items():
        held = f"{name}." if name else ""
        off = _draw(f"{held}off", mean)
        variance = variance + 1e-3 * variance.mean()
        buffers[f"{held}running_var"].copy_(variance * off)
        buffers[f"{held}running_mean"].copy_(mean + 0.3 * (off - 1) * variance.sqrt())
    for path, tensor in ours.named_buffers():
        if path in paths:
            tensor.copy_(buffers[paths[path]])
