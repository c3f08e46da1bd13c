"""Draws blocks that repeat once: a count stands for the rest."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from resnetc.drawing.picture import Edge, Form, Picture, Repeat, Vertex


@dataclass(eq=False)
class _Block:
    """Vertices of one module, with the only vertex they read and the only one that is read,
    and by whom."""

    path: str
    vertices: list[Vertex]
    entry: Vertex
    leaving: Vertex
    readers: frozenset[Vertex]
    signature: tuple[object, ...]


def collapse(found: Picture) -> Picture:
    """The picture with every run of equal blocks, one behind the other, drawn once."""
    depth = 1
    while True:
        paths = {_prefix(vertex, depth) for vertex in found.vertices} - {None}
        if not paths:
            return found
        found = _collapse_level(found, depth)
        depth += 1


def _collapse_level(found: Picture, depth: int) -> Picture:
    """Collapse blocks whose paths have `depth` parts."""
    gone: set[Vertex] = set()
    instead: dict[Vertex, Vertex] = {}
    blocks = list(_blocks(found, depth))
    for run in _runs(blocks):
        first, *others = run
        gone.update(vertex for block in others for vertex in block.vertices)
        instead[others[-1].leaving] = first.leaving
        first.leaving.outputs += others[-1].leaving.outputs
        found.repeats.append(Repeat(first.vertices, tuple(block.path for block in run)))
    edges = [
        Edge(instead.get(edge.source, edge.source), edge.target, edge.dotted, edge.caption)
        for edge in found.edges
        if edge.target not in gone
    ]
    return found.without(gone, edges) if gone else found


def _prefix(vertex: Vertex, depth: int) -> str | None:
    """The path of the block around a vertex at that depth."""
    parts = vertex.name.split(".")
    return ".".join(parts[:depth]) if len(parts) > depth else None


def _blocks(found: Picture, depth: int) -> Iterator[_Block | None]:
    """Blocks in order; None where one is no simple one: several entries or ends."""
    members: dict[str, list[Vertex]] = {}
    for vertex in found.vertices:
        path = _prefix(vertex, depth)
        if path is not None:
            members.setdefault(path, []).append(vertex)
    into, out = found.into(), found.out()
    for path, vertices in members.items():
        inside = set(vertices)
        arriving = [e for v in vertices for e in into[v] if e.source not in inside]
        entries = {edge.source for edge in arriving}
        ends = {v for v in vertices if any(e.target not in inside for e in out[v]) or v.outputs}
        if len(entries) != 1 or len(ends) != 1:
            yield None
            continue
        number = {vertex: i for i, vertex in enumerate(vertices)}
        signature = tuple(
            (v.text, *((number.get(e.source, -1), e.dotted, e.caption) for e in into[v]))
            for v in vertices
        )
        leaving = ends.pop()
        readers = frozenset(edge.target for edge in out[leaving]) - inside
        yield _Block(path, vertices, entries.pop(), leaving, readers, signature)


def _runs(blocks: list[_Block | None]) -> Iterator[list[_Block]]:
    run: list[_Block] = []
    for block in [*blocks, None]:
        if block is not None and run and _follows(run[-1], block):
            run.append(block)
            continue
        if len(run) > 1:
            yield run
        run = [] if block is None else [block]


def _follows(block: _Block, after: _Block) -> bool:
    """Whether a block is the same as the one before it, reads nothing else and is all that reads
    that one.

    A block of a single layer is not worth a bracket.
    """
    if after.entry is not block.leaving or after.signature != block.signature:
        return False
    if block.leaving.outputs or not block.readers <= set(after.vertices):
        return False
    return sum(vertex.form is Form.BOX for vertex in block.vertices) > 1
