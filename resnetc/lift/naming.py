"""A module path for every layer that has parameters: the file's own names, else made-up ones."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

from resnetc.lift.network import Layer, Network
from resnetc.lift.regions import Fork, Item, Leaf, Tangle, regions

_FOREIGN = re.compile(r"[^\w-]", re.ASCII)
"""What no part of a path may hold."""
_STEMS = {"conv2d": "conv", "batchnorm": "bn", "linear": "fc", "layernorm": "ln"}


def name_layers(network: Network) -> Network:
    """Paths for all layers with parameters, no two the same, of parts that labels can be."""
    made_up = _invented(network)
    taken: set[str] = set()
    layers = []
    for layer in network.layers:
        if layer.arrays:
            path = _clean(layer.path) if layer.path else made_up[layer.id]
            layer = replace(layer, path=_unique(path, taken))
        layers.append(layer)
    return replace(network, layers=tuple(layers))


def _clean(path: str) -> str:
    return ".".join(_FOREIGN.sub("_", part) for part in path.split(".") if part) or "layer"


def _unique(path: str, taken: set[str]) -> str:
    number, chosen = 1, path
    while chosen in taken:
        number += 1
        chosen = f"{path}_{number}"
    taken.add(chosen)
    return chosen


# ------------------------------------------------------------------------------ made-up paths


def _invented(network: Network) -> dict[int, str]:
    """Paths by structure for layers that have none: stages of forks of one kind and shape.

    `conv1` stands for a layer of the main chain, `layer2.0.conv1` for one in the first fork of the
    second stage, `layer2.0.downsample.0` for its shortcut's.
    """
    if all(layer.path for layer in network.layers if layer.arrays):
        return {}
    found: dict[int, str] = {}
    main: Counter[str] = Counter()
    stage, unit, before = 0, 0, None
    for item in regions(network):
        if isinstance(item, Leaf):
            found |= _in_order([item.layer], "", main)
            continue
        kind = _kind(item)
        stage, unit = (stage, unit + 1) if kind == before else (stage + 1, 0)
        before = kind
        found |= _inside(item, f"layer{stage}.{unit}.")
    return found


def _kind(item: Fork | Tangle) -> object:
    last = item.layer if isinstance(item, Fork) else item.layers[-1]
    main = max(item.branches, key=len) if isinstance(item, Fork) else ()
    return last.op.name, last.type, tuple(layer.op.name for layer in _all(main))


def _inside(item: Fork | Tangle, prefix: str) -> dict[int, str]:
    if isinstance(item, Tangle):
        return _in_order(item.layers, prefix, Counter())
    found: dict[int, str] = {}
    longest = max(item.branches, key=len)
    own: Counter[str] = Counter()
    for branch in item.branches:
        layers = [layer for layer in _all(branch) if layer.arrays]
        if branch is not longest and item.layer.op.name == "add" and len(layers) <= 2:
            found |= {x.id: f"{prefix}downsample.{i}" for i, x in enumerate(layers)}
        else:
            found |= _in_order(layers, prefix, own)
    return found


def _in_order(layers: Sequence[Layer], prefix: str, counts: Counter[str]) -> dict[int, str]:
    found = {}
    for layer in layers:
        if layer.arrays:
            stem = _STEMS.get(layer.op.name, layer.op.name)
            counts[stem] += 1
            found[layer.id] = f"{prefix}{stem}{counts[stem]}"
    return found


def _all(items: Sequence[Item]) -> Iterator[Layer]:
    for item in items:
        if isinstance(item, Leaf):
            yield item.layer
        elif isinstance(item, Tangle):
            yield from item.layers
        else:
            for branch in item.branches:
                yield from _all(branch)
            yield item.layer
