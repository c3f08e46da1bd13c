"""The parts of a network that are named and costed beside its picture."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from resnetc.analysis.cost import Cost, node_costs
from resnetc.drawing.layout import Layout
from resnetc.drawing.picture import Vertex
from resnetc.ir import Graph

_MAIN_SHARE = 0.6
"""A label that holds more of the picture than this is no part of it: its own parts are."""


@dataclass
class Section:
    """A part under one label, or under several to the `last` that are drawn as one: the vertices
    that are drawn of it, what leaves it, what it costs."""

    label: str
    vertices: list[Vertex]
    output: str = ""
    last: str = ""
    cost: Cost = field(default_factory=Cost)

    @property
    def title(self) -> str:
        """The label, or the first and the last."""
        return f"{self.label} … {self.last.rpartition('.')[2]}" if self.last else self.label

    @property
    def aside(self) -> bool:
        """Whether it matters in training only."""
        return all(vertex.aside for vertex in self.vertices)


def sections(graph: Graph, layout: Layout) -> list[Section]:
    """The parts from top to bottom; what is not drawn is counted with what is above it."""
    split = _split(layout)
    drawn: dict[str, list[Vertex]] = {}
    for vertex in layout.picture.vertices:
        drawn.setdefault(_label(vertex.name, split), []).append(vertex)
    costs = node_costs(graph)
    repeated = {path for repeat in layout.picture.repeats for path in repeat.paths}
    found: dict[str, Section] = {}
    current: Section | None = None
    for node in graph:
        label = _label(node.name, split)
        if label in drawn and node.op.name != "input":
            current = found.setdefault(label, Section(label, drawn[label]))
        if current is not None:
            if label in repeated and label != current.label:
                current.last = label
            current.cost += costs[node.id]
            current.output = str(node.type)
    return sorted(found.values(), key=lambda section: layout.rows[section.vertices[0]])


def _split(layout: Layout) -> frozenset[str]:
    """Labels that are looked into because nearly everything is below them."""
    vertices, split = layout.picture.vertices, set[str]()
    while True:
        labels = Counter(_label(vertex.name, frozenset(split)) for vertex in vertices)
        label, count = labels.most_common(1)[0]
        below = any(vertex.name.startswith(f"{label}.") for vertex in vertices)
        if count <= max(3, _MAIN_SHARE * len(vertices)) or not below:
            return frozenset(split)
        split.add(label)


def _label(name: str, split: frozenset[str]) -> str:
    parts = name.split(".")
    length = 1
    while length < len(parts) and ".".join(parts[:length]) in split:
        length += 1
    return ".".join(parts[:length])
