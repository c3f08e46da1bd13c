"""What became of every layer: from the spec's line to the network's layer, and the engine's.

The network as parsed tells types and shapes, on any machine. The engine, opened on a GPU, tells
what was fused, in which precision and by which tactic; how long each layer takes is told by
:func:`timed`, from what a profiler of the library has heard.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from resnetc.backends.tensorrt.precision import layer_tensors, precision_of, words_of
from resnetc.ir import Graph

_ONNX_LAYER = re.compile(r"\[ONNX Layer: ([^\]]*)\]")
"""How TensorRT notes, in a layer's metadata, which nodes of the ONNX file it comes from."""


@dataclass(frozen=True)
class LayerRow:
    """One layer.

    `kind` is the library's word; `nodes` are the graph's nodes in it, more than one where they were
    fused, none where the library added it; `places` are their lines in the spec. `precision` and
    `shape` are the output's. `tactic` and `microseconds` are known of engines on a GPU only.
    """

    name: str
    kind: str
    nodes: tuple[str, ...]
    places: tuple[str, ...]
    precision: str
    shape: tuple[int, ...]
    tactic: str | None = None
    microseconds: float | None = None

    def to_json(self) -> dict[str, Any]:
        """The fields; what is not known is left out."""
        fields = {
            "name": self.name,
            "kind": self.kind,
            "nodes": list(self.nodes),
            "spec": list(self.places),
            "precision": self.precision,
            "shape": list(self.shape),
            "tactic": self.tactic,
            "microseconds": self.microseconds,
        }
        return {key: value for key, value in fields.items() if value is not None}


def spec_places(graph: Graph) -> dict[str, str]:
    """Where each node of a lowered graph stands in the spec, as `file:line`."""
    return {
        node.name: f"{node.span.source.name}:{node.span.line}" if node.span is not None else ""
        for node in graph
    }


def network_rows(network: Any, places: Mapping[str, str]) -> tuple[LayerRow, ...]:
    """The layers of a parsed network, in its order."""
    return tuple(
        _network_row(network.get_layer(index), places) for index in range(network.num_layers)
    )


def _network_row(layer: Any, places: Mapping[str, str]) -> LayerRow:
    nodes = _nodes(layer.name, getattr(layer, "metadata", ""), places)
    shape = tuple(int(extent) for extent in layer.get_output(0).shape)
    types = precision_of(layer_tensors(layer))
    return LayerRow(layer.name, layer.type.name.lower(), nodes, _lines(nodes, places), types, shape)


def engine_rows(information: str, places: Mapping[str, str]) -> tuple[LayerRow, ...]:
    """The layers in an engine inspector's JSON; of a layer that is told by its name only, that."""
    return tuple(_engine_rows(json.loads(information).get("Layers", []), places))


def _engine_rows(layers: Sequence[Any], places: Mapping[str, str]) -> Iterator[LayerRow]:
    for layer in layers:
        told: Mapping[str, Any] = layer if isinstance(layer, Mapping) else {"Name": str(layer)}
        name = str(told.get("Name"))
        nodes = _nodes(name, str(told.get("Metadata", "")), places)
        outputs: list[Mapping[str, Any]] = told.get("Outputs") or [{}]
        shape = tuple(int(e) for e in outputs[0].get("Dimensions", ()))
        words = sorted({w for o in outputs for w in words_of(str(o.get("Format/Datatype", "")))})
        tactic = told.get("TacticName") or told.get("TacticValue")
        yield LayerRow(
            name,
            str(told.get("LayerType", "")),
            nodes,
            _lines(nodes, places),
            "+".join(words),
            shape,
            None if tactic is None else str(tactic),
        )


def timed(rows: Sequence[LayerRow], milliseconds: Mapping[str, Sequence[float]]) -> list[LayerRow]:
    """The rows with the median of what a profiler reported of each layer, by its name."""
    found = []
    for row in rows:
        heard = sorted(milliseconds.get(row.name, ()))
        found.append(replace(row, microseconds=heard[len(heard) // 2] * 1e3) if heard else row)
    return found


def _nodes(name: str, metadata: str, places: Mapping[str, str]) -> tuple[str, ...]:
    """The graph's nodes a layer comes from: by its metadata, else by its name.

    A step on the way to a node is called `<node>.<step>`; a fused layer has its parts' names
    joined by ` + `.
    """
    told = _ONNX_LAYER.findall(metadata) or [part.strip() for part in name.split("+")]
    owners = (_owner(part, places) for part in told)
    return tuple(dict.fromkeys(owner for owner in owners if owner is not None))


def _owner(name: str, places: Mapping[str, str]) -> str | None:
    while name not in places:
        name, dot, _ = name.rpartition(".")
        if not dot:
            return None
    return name


def _lines(nodes: Sequence[str], places: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(places[node] for node in nodes if places[node]))
