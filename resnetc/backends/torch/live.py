"""The emitted source, compiled: a live module."""

from __future__ import annotations

import linecache
import math
from collections.abc import Callable
from types import ModuleType
from typing import Any, cast

import torch
from torch import nn

from resnetc.backends.capacity import require_memory
from resnetc.backends.torch.source import emit_source, factory_name
from resnetc.diagnostics import InternalError
from resnetc.ir import Graph, Node, Parameter
from resnetc.ops import Role
from resnetc.recipes import HeNormal

_EMITTED = "resnetc.emitted."


def build_module(graph: Graph, init: HeNormal | None = None, seed: int | None = None) -> nn.Module:
    """The network as a live module in training mode, made from the source `emit_source` writes.

    Its state_dict has the graph's parameters, in shape and order; but what a module holds itself,
    such as a `channel_scale`, comes in torch before what its children hold. Weights are set by
    :func:`initialise`. Tracebacks and `inspect.getsource` show the source, which no file holds.
    Raises RunError where the weights are larger than the memory.
    """
    require_memory(graph, at_once=True)
    return initialise(blank_module(graph, init).to_empty(device="cpu"), graph, init, seed)


def blank_module(graph: Graph, init: HeNormal | None = None) -> nn.Module:
    """The same module without weights: its tensors are on torch's `meta` device.

    `load_state_dict(state, assign=True)` gives it weights without a copy.
    """
    namespace = _compiled(graph, emit_source(graph, init))
    # Weights are set afterwards, by the graph's roles and the seed.
    namespace["initialise"] = lambda network: None
    with torch.device("meta"):
        module = cast("nn.Module", namespace[factory_name(graph)]())
    _check(graph, module)
    if graph.left_out:
        keep = _passing_over(graph.left_out)
        module.register_load_state_dict_pre_hook(keep)  # type: ignore[no-untyped-call]
    return module


def is_emitted(module: nn.Module) -> bool:
    """Whether a module's class stands in emitted source: a network, or a block of one."""
    return type(module).__module__.startswith(_EMITTED)


def _passing_over(left_out: frozenset[str]) -> Callable[..., None]:
    """Let a part of a network load the weights of the whole, strictly otherwise."""

    def leave_out(module: nn.Module, state_dict: dict[str, Any], prefix: str, *_: object) -> None:
        for path in [path for path in state_dict if path.removeprefix(prefix) in left_out]:
            del state_dict[path]  # of a copy: load_state_dict makes one

    return leave_out


def _compiled(graph: Graph, source: str) -> dict[str, Any]:
    """The source's names. `linecache` keeps the text for tracebacks."""
    name = f"{_EMITTED}{graph.hash[:16]}"
    file = f"<{name}>"
    module = ModuleType(name)
    # A size without a time of change is what linecache never drops.
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    # As a file of its own would be: without the `__future__` of this one.
    exec(compile(source, file, "exec", dont_inherit=True), module.__dict__)
    return module.__dict__


def _check(graph: Graph, module: nn.Module) -> None:
    found = {path: tuple(tensor.shape) for path, tensor in module.state_dict().items()}
    expected = {path: parameter.type.shape for path, parameter in graph.parameters.items()}
    for path in {**expected, **found}:
        if found.get(path) != expected.get(path):
            raise InternalError(
                f"{path} of {graph.name} is {found.get(path)} in the emitted module "
                f"and {expected.get(path)} in the graph"
            )


def initialise(
    module: nn.Module, graph: Graph, init: HeNormal | None = None, seed: int | None = None
) -> nn.Module:
    """Set every parameter and buffer by its role in the graph; returns the module.

    Weights of convolutions are N(0, 2 / fan), fan in unless `init` says out; those of linear
    layers always by fan in, as fan out has no meaning for a layer that nothing follows. Biases
    are 0, scales of norms what the spec says (1 unless told), running statistics 0 and 1. One
    seed gives the same weights on every device; without one they come from torch's generator.
    """
    generator = torch.Generator()
    generator.manual_seed(
        int(torch.empty((), dtype=torch.int64).random_()) if seed is None else seed
    )
    tensors = module.state_dict()
    for node in graph:
        for parameter in node.parameters:
            held = tensors.pop(parameter.path, None)
            if held is None:  # of a layer that is reused, and set already
                continue
            if parameter.role is Role.WEIGHT:
                deviation = math.sqrt(2 / _fan(node, parameter, init or HeNormal()))
                _draw(held, deviation, generator)
            else:
                held.fill_(_start(node, parameter))
    return module


def _draw(held: torch.Tensor, deviation: float, generator: torch.Generator) -> None:
    """Fill with N(0, deviation^2): the same numbers in every layout, precision and device."""
    plain = held.dtype is torch.float32 and held.is_contiguous() and held.device.type == "cpu"
    drawn = held if plain else torch.empty(held.shape)
    drawn.normal_(0, deviation, generator=generator)
    if not plain:
        held.copy_(drawn)


def _fan(node: Node, weight: Parameter, init: HeNormal) -> float:
    """Inputs, or outputs, that one number of the layer's output, or input, is connected to."""
    return node.op.fan(weight.type, out=init.fan == "out")


def _start(node: Node, parameter: Parameter) -> float:
    if parameter.role is Role.SCALE:
        return node.op.initial_scale
    return 1.0 if parameter.role is Role.VARIANCE else 0.0
