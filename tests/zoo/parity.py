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
_CHANCE = ("dropout", "drop_path")
_RANDOM = ("Dropout", "StochasticDepth", "DropPath")
"""Our ops and the reference's modules that draw random numbers in training."""


@functools.cache
def load(name: str, reference: Reference) -> resnetc.Network:
    """The network a reference stands for."""
    return resnetc.load(reference.network or name, dict(reference.settings))


def differences(network: resnetc.Network, reference: Reference) -> dict[str, float]:
    """Largest difference of each output and of the statistics after a step of training.

    Each is relative to the largest number of its tensor. "train" and "eval" are without dropout and
    stochastic depth; "chance" is training with them, on the same random numbers. Raises
    AssertionError where there is nothing to compare: weights that do not load, other outputs, a
    network that computes nothing.
    """
    graph = network.graph
    paths = {path: reference.path(path) for path in graph.parameters}
    theirs = _with_weights(reference)
    extra = theirs.state_dict().keys() - set(paths.values())
    assert not extra, f"{sorted(extra)} are missing"
    rates = _take_chance(theirs)
    ours = blank_module(_without_chance(graph))
    x = _images(graph, reference.side)

    def compare(mode: str) -> dict[str, float]:
        _share(theirs, ours, paths)
        results = []
        for module in (theirs, ours):
            torch.manual_seed(1)
            results.append(_named(module.train(mode != "eval")(x), graph, reference))
        expected, found = results
        assert list(found) == list(expected), f"{list(found)}, not {list(expected)}"
        return {f"{mode} {name}": _difference(found[name], expected[name]) for name in expected}

    with torch.no_grad():
        measured = _watch(theirs)
        found = compare("train")
        found["statistics"] = _statistics(ours, theirs, paths)
        _settle(theirs, measured)
        found |= compare("eval")
        if rates or any(node.op.name in _CHANCE and node.op.p > 0 for node in graph):
            for module, name, rate in rates:
                setattr(module, name, rate)
            ours = blank_module(graph)
            found |= compare("chance")
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


def _with_weights(reference: Reference) -> nn.Module:
    with torch.device("meta"):
        module = reference.build()
    state = random_state(module)
    module.load_state_dict(state, strict=True, assign=True)
    if any(buffer.is_meta for buffer in module.buffers()):
        # Some constants are not part of its state: they must really be made.
        module = reference.build().double()
        module.load_state_dict(state, strict=True, assign=True)
    return module


def _share(theirs: nn.Module, ours: nn.Module, paths: Mapping[str, str]) -> None:
    """Give ours the weights of theirs: the same tensors, for the memory of the largest networks.

    What training changes is copied.
    """
    state = theirs.state_dict()
    mine = {path: state[name] for path, name in paths.items()}
    copied = {path: tensor.clone() for path, tensor in mine.items() if tensor.ndim < 2}
    ours.load_state_dict(mine | copied, strict=True, assign=True)


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
        if node.op.name in _CHANCE
        else node
        for node in graph
    ]
    return Graph(graph.name, nodes, graph.outputs, graph.scopes, graph.aux)


def _take_chance(theirs: nn.Module) -> list[tuple[nn.Module, str, float]]:
    """Set the reference's rates to 0: which attribute of which module, and what it was."""
    rates = []
    for module in theirs.modules():
        attribute = "drop_rate"  # of timm's modules that call torch's function
        if type(module).__name__ in _RANDOM:
            attribute = "drop_prob" if hasattr(module, "drop_prob") else "p"
        if rate := getattr(module, attribute, 0.0):
            rates.append((module, attribute, rate))
            setattr(module, attribute, 0.0)
    return rates


# ------------------------------------------------------------------------------------ statistics


def _watch(theirs: nn.Module) -> dict[str, tuple[Tensor, Tensor]]:
    """Mean and variance of what comes in at each batch norm, by its name, as it runs."""
    moments: dict[str, tuple[Tensor, Tensor]] = {}

    def measure(name: str, x: Tensor) -> None:
        moments[name] = (x.mean((0, 2, 3)), x.var((0, 2, 3)))

    for name, module in theirs.named_modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.register_forward_pre_hook(
                lambda module, args, name=name: measure(name, *args) if module.training else None
            )
    return moments


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


def _settle(theirs: nn.Module, measured: Mapping[str, tuple[Tensor, Tensor]]) -> None:
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
