"""What is drawn of a graph: boxes for layers, joints where branches meet, lines between them.

As in the paper's figures, norms and activations stand in no box of their own, and a shortcut that
projects is a dotted line that says how.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum

from resnetc.analysis.wording import describe
from resnetc.ir import Graph, Node, NodeId
from resnetc.ops import Role

_POOLS = ("maxpool", "avgpool", "adaptive_avgpool", "gap", "blur_pool")
_RESIZES = ("upsample", "resize", "channel_shuffle", "softmax", "radix_softmax")
_PROJECTS = ("subsample", "pad_channels")
"""What shortcut option A is made of: its lines are dotted."""
_PROJECTION_LENGTH = 2
"""Boxes that a shortcut has at most: a convolution, and a pool before it."""


class Form(Enum):
    """How a vertex is drawn."""

    IMAGE = "image"
    BOX = "box"
    JOINT = "joint"
    BAR = "bar"


@dataclass(eq=False)
class Vertex:
    """Something drawn. `quiet` are layers that follow it and are not drawn; `outputs` are names
    of the network's outputs that it gives; what is `aside` matters in training only."""

    node: Node
    form: Form
    text: str
    aside: bool = False
    quiet: list[Node] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.node.name


@dataclass(eq=False)
class Edge:
    """A line. A dotted one changes the shape on its way; the caption says how."""

    source: Vertex
    target: Vertex
    dotted: bool = False
    caption: str = ""


@dataclass(eq=False)
class Repeat:
    """Vertices that stand for several blocks one after the other, and the paths of all."""

    vertices: list[Vertex]
    paths: tuple[str, ...]


@dataclass
class Picture:
    """Vertices in topological order, edges in the order of their targets' operands."""

    vertices: list[Vertex]
    edges: list[Edge]
    repeats: list[Repeat] = field(default_factory=list)

    def into(self) -> dict[Vertex, list[Edge]]:
        """The edges that end at each vertex."""
        found: dict[Vertex, list[Edge]] = {vertex: [] for vertex in self.vertices}
        for edge in self.edges:
            found[edge.target].append(edge)
        return found

    def out(self) -> dict[Vertex, list[Edge]]:
        """The edges that start at each vertex."""
        found: dict[Vertex, list[Edge]] = {vertex: [] for vertex in self.vertices}
        for edge in self.edges:
            found[edge.source].append(edge)
        return found

    def rows(self) -> dict[Vertex, int]:
        """Edges on the longest way to each vertex."""
        rows: dict[Vertex, int] = {}
        for vertex, edges in self.into().items():
            rows[vertex] = 1 + max((rows[edge.source] for edge in edges), default=-1)
        return rows

    def without(self, gone: Iterable[Vertex], edges: list[Edge]) -> Picture:
        """The picture with some vertices taken out and these edges instead of all."""
        dropped = set(gone)
        kept = [vertex for vertex in self.vertices if vertex not in dropped]
        return Picture(kept, edges, self.repeats)


def picture(graph: Graph) -> Picture:
    """Everything that is drawn of a graph, nothing collapsed. Linear."""
    shown: dict[NodeId, Vertex] = {}
    dotted: defaultdict[NodeId, bool] = defaultdict(bool)
    found = Picture([], [])
    for node in graph:
        form = _form(node)
        if form is None:
            (operand,) = node.inputs
            shown[node.id] = shown[operand]
            dotted[node.id] = dotted[operand] or node.op.name in _PROJECTS
            shown[operand].quiet.append(node)
            continue
        vertex = shown[node.id] = Vertex(
            node, form, _text(node, form), node.id in graph.training_only
        )
        found.vertices.append(vertex)
        found.edges += [Edge(shown[i], vertex, dotted[i]) for i in node.inputs]
    for name, node_id in graph.results.items():
        shown[node_id].outputs.append(name)
    return _with_projections(found)


def _form(node: Node) -> Form | None:
    """How a node is drawn; None for what is not."""
    if not node.inputs:
        return Form.IMAGE
    if node.op.name in ("add", "mul"):
        return Form.JOINT
    if len(node.inputs) > 1:
        return Form.BAR
    weighted = any(parameter.role is Role.WEIGHT for parameter in node.parameters)
    return Form.BOX if weighted or node.op.name in (*_POOLS, *_RESIZES) else None


def _text(node: Node, form: Form) -> str:
    if form is Form.JOINT:
        return "+" if node.op.name == "add" else "\N{MULTIPLICATION SIGN}"
    return describe(node.op)


def _with_projections(found: Picture) -> Picture:
    """Projections of shortcuts as dotted lines instead of boxes."""
    into, out, rows = found.into(), found.out(), found.rows()
    gone: set[Vertex] = set()
    edges = {id(edge): edge for edge in found.edges}
    for vertex in found.vertices:
        if vertex.text != "+" or len(into[vertex]) < 2:
            continue
        for edge in into[vertex]:
            arm = _arm(edge, into, out)
            if not _is_projection(arm):
                continue
            (start,) = into[arm[-1]]
            if len(arm) >= rows[vertex] - rows[start.source] - 1:
                continue  # no other way is longer: this is the body
            gone.update(arm)
            removed = [edge, *(e for box in arm for e in into[box])]
            caption = " → ".join(box.text for box in reversed(arm))
            for old in removed:
                del edges[id(old)]
            line = Edge(start.source, vertex, True, caption)
            edges[id(line)] = line
    return found.without(gone, list(edges.values()))


def _arm(edge: Edge, into: dict[Vertex, list[Edge]], out: dict[Vertex, list[Edge]]) -> list[Vertex]:
    """The boxes on a line's way back to where it parts from the others, last box first."""
    arm: list[Vertex] = []
    vertex = edge.source
    while len(out[vertex]) == 1 and len(into[vertex]) == 1 and vertex.form is Form.BOX:
        arm.append(vertex)
        vertex = into[vertex][0].source
    return arm


def _is_projection(arm: list[Vertex]) -> bool:
    if not 0 < len(arm) <= _PROJECTION_LENGTH:
        return False
    convolutions = [box for box in arm if box.node.op.name not in _POOLS]
    return len(convolutions) == 1
