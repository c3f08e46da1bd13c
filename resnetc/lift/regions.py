"""A network's layers as chains and forks: the series and parallel parts of its graph.

A fork is a merge together with its branches, which all begin at one tensor, the merge's immediate
dominator, and share nothing after it. Where branches do share something, the layers between are a
tangle: they keep their order and name the tensors they read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from resnetc.lift.network import Layer, Network


@dataclass(frozen=True)
class Leaf:
    """One layer behind the one before it."""

    layer: Layer


@dataclass(frozen=True)
class Fork:
    """A merge and its branches, in the order of its operands; an empty one is the tensor itself."""

    layer: Layer
    branches: tuple[tuple[Item, ...], ...]


@dataclass(frozen=True)
class Tangle:
    """Layers, the last of them a merge, that are neither a chain nor a fork behind `start`."""

    start: int
    layers: tuple[Layer, ...]


Item = Leaf | Fork | Tangle


def regions(network: Network) -> tuple[Item, ...]:
    """The chain from a network's input to its output."""
    return _Parser(network).chain(network.output.id, 0)


class _Parser:
    def __init__(self, network: Network) -> None:
        self.layers = network.layers
        self.dominator = _dominators(network.layers)

    def chain(self, end: int, start: int) -> tuple[Item, ...]:
        """What lies behind `start`, a dominator of `end`, up to and with `end`."""
        items: list[Item] = []
        while end != start:
            layer = self.layers[end]
            if len(layer.inputs) == 1:
                items.append(Leaf(layer))
                end = layer.inputs[0]
            else:
                end = self.dominator[end]
                items.append(self._merge(layer, end))
        return tuple(reversed(items))

    def _merge(self, merge: Layer, start: int) -> Item:
        inside = [self._between(start, operand) for operand in merge.inputs]
        together = set[int]().union(*inside)
        if len(together) < sum(map(len, inside)):
            return Tangle(start, (*(self.layers[i] for i in sorted(together)), merge))
        return Fork(merge, tuple(self.chain(operand, start) for operand in merge.inputs))

    def _between(self, start: int, end: int) -> set[int]:
        """All that `end` depends on behind `start`, itself included."""
        found: set[int] = set()
        waiting = [end]
        while waiting:
            number = waiting.pop()
            if number != start and number not in found:
                found.add(number)
                waiting += self.layers[number].inputs
        return found


def _dominators(layers: Sequence[Layer]) -> list[int]:
    """The immediate dominator of every layer: the last one that all ways to it lead through."""
    dominator, depth = [0], [0]
    for layer in layers[1:]:
        common = layer.inputs[0]
        for other in layer.inputs[1:]:
            while common != other:
                if depth[common] < depth[other]:
                    common, other = other, common
                common = dominator[common]
        dominator.append(common)
        depth.append(depth[common] + 1)
    return dominator


def nest_concats(network: Network) -> Network:
    """A concat whose first operands another one has joined before reads that one instead.

    DenseNet is traced with a concat over all that a block has made so far before every layer:
    `[x]`, `[x, a]`, `[x, a, b]`. The same bytes grow one from the other.
    """
    joined: dict[tuple[int, ...], int] = {}
    layers = []
    for layer in network.layers:
        if layer.op.name == "concat":
            operands = layer.inputs
            whole = (n for n in range(len(operands) - 1, 1, -1) if operands[:n] in joined)
            if length := next(whole, 0):
                layer = replace(layer, inputs=(joined[operands[:length]], *operands[length:]))
            joined[operands] = layer.id
        layers.append(layer)
    return replace(network, layers=tuple(layers))
