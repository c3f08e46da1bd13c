"""What stands in a file's graph node by node: messages of nodes, initializers, types of tensors.

Deep networks are copies of few blocks, and what is written for a copy differs from what is written
for another in names alone. So of a run of copies three are lowered and emitted (see
`resnetc.ir.runs`), and the others are written as the middle one is, under other names.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import NamedTuple

from resnetc.backends.onnx import wire
from resnetc.backends.onnx.emission import Emission, Group, Initializer
from resnetc.backends.onnx.wire import Message, Messages, Name, Which
from resnetc.ir.runs import Run
from resnetc.shapes import TensorType


@dataclass(frozen=True, slots=True)
class Stretch:
    """Initializers in a row: those of the block at `path`, once for each of `paths`, under whose
    names they then stand. Where nothing is copied the block is the network."""

    initializers: tuple[Initializer, ...]
    path: str = ""
    paths: tuple[str, ...] = ("",)

    def named(self) -> Iterator[tuple[Initializer, str]]:
        """Every initializer with its name, in order."""
        cut = len(self.path)
        block = [(each, each.parameter.path[cut:]) for each in self.initializers]
        for path in self.paths:
            for each, rest in block:
                yield each, path + rest


class Body(NamedTuple):
    """Fields of a GraphProto, but for the initializers, which are bytes once there are arrays."""

    nodes: bytes
    initializers: tuple[Stretch, ...]
    types: bytes


def body(emission: Emission, runs: Sequence[Run] = ()) -> Body | None:
    """All that was emitted, and every copy in `runs`, of which the emitted graph has three each.
    None where not all copies of a run come out alike."""
    parts: list[Body] = []
    plain: list[Group] = []
    end = 0
    for run in runs:
        found = _copies(emission, run)
        if found is None:
            return None
        copies, place = found
        before = emission.groups[end : place.start]
        plain += before
        parts += _plain(emission, before), copies
        end = place.stop
    plain += emission.groups[end:]
    parts.append(_plain(emission, emission.groups[end:]))
    if not _names(plain).isdisjoint(path for run in runs for path in run.paths[2:-1]):
        return None
    nodes, held, types = zip(*parts, strict=True)
    return Body(b"".join(nodes), tuple(chain.from_iterable(held)), b"".join(types))


def _names(groups: Sequence[Group]) -> set[str]:
    """All names that were given, and the paths that they lie under."""
    names = {
        name for group in groups for node in group.nodes for name in (node.name, *node.outputs)
    }
    names |= {each.parameter.path for group in groups for each in group.initializers}
    return {
        ".".join(parts[: i + 1])
        for name in names
        for parts in (name.split("."),)
        for i in range(len(parts))
    }


def _plain(emission: Emission, groups: Sequence[Group]) -> Body:
    held = tuple([each for group in groups for each in group.initializers])
    types = [emission.value_info(*told) for told in _told(emission, groups)]
    return Body(
        wire.fields(wire.GRAPH_NODE, [node.content for group in groups for node in group.nodes]),
        (Stretch(held),) if held else (),
        wire.fields(wire.GRAPH_VALUE_INFO, types),
    )


def _told(emission: Emission, groups: Sequence[Group]) -> list[tuple[str, TensorType]]:
    """The tensors between inputs and outputs, each of which carries the type our graph gives it."""
    return [
        (group.tensor, group.node.type)
        for group in groups
        if group.tensor is not None and group.tensor not in emission.graph.outputs
    ]


def _copies(emission: Emission, run: Run) -> tuple[Body, range] | None:
    """All copies of a run but the first, and where the two stand that were emitted of them."""
    middle, last = (_place(emission, run.nodes(copy)) for copy in (1, -1))
    if not middle or middle.stop != last.start:
        return None
    paths = run.paths
    one = _Copy.of(emission, middle, paths[1], paths[0])
    if one is None or one != _Copy.of(emission, last, paths[-1], paths[1]):
        return None
    held = [i for group in emission.groups[middle.start : middle.stop] for i in group.initializers]
    nodes, types = Messages(one.nodes), Messages(one.types)
    places = [path.encode() for path in paths]
    copies = Body(
        b"".join([nodes.of(own, before) for before, own in pairwise(places)]),
        (Stretch(tuple(held), paths[1], paths[1:]),) if held else (),
        b"".join([types.of(own, before) for before, own in pairwise(places)]),
    )
    return copies, range(middle.start, last.stop)


def _place(emission: Emission, nodes: range) -> range:
    """Where the groups of these nodes stand, with what a pass has put between."""
    found = [i for i, group in enumerate(emission.groups) if group.node.id in nodes]
    return range(found[0], found[-1] + 1) if found else range(0)


class _Copy(NamedTuple):
    """What was emitted for a copy, in a form that is equal for copies that come out alike."""

    nodes: list[Message]
    types: list[Message]
    initializers: list[tuple[object, ...]]

    @staticmethod
    def of(emission: Emission, place: range, own: str, before: str) -> _Copy | None:
        """The copy at the path `own` behind the one at `before`. None for what is not told by its
        own nodes and weights alone."""
        groups = emission.groups[place.start : place.stop]
        held = [each.parameter for group in groups for each in group.initializers]
        sources = [path for parameter in held for path in parameter.value.sources()]
        if not all(_is_in(own, path) for path in (*sources, *(each.path for each in held))):
            return None
        if any(group.constants for group in groups):
            return None

        def name(tag: bytes, name: str) -> Name:
            for which, path in ((Which.OWN, own), (Which.BEFORE, before)):
                if _is_in(path, name):
                    return Name(tag, which, name[len(path) :].encode())
            return Name(tag, Which.NEITHER, name.encode())

        return _Copy(
            [
                Message(
                    wire.GRAPH_NODE,
                    (
                        *(name(wire.NODE_INPUT, each) for each in node.inputs),
                        *(name(wire.NODE_OUTPUT, each) for each in node.outputs),
                        name(wire.NODE_NAME, node.name),
                    ),
                    node.kind,
                )
                for group in groups
                for node in group.nodes
            ],
            [
                Message(
                    wire.GRAPH_VALUE_INFO,
                    (name(wire.VALUE_NAME, tensor),),
                    emission.type_bytes(type_),
                )
                for tensor, type_ in _told(emission, groups)
            ],
            [
                (
                    each.parameter.path[len(own) :],
                    each.dims,
                    each.parameter.type,
                    repr(each.parameter.value).replace(f"'{own}.", "'."),
                )
                for group in groups
                for each in group.initializers
            ],
        )


def _is_in(path: str, name: str) -> bool:
    return name.startswith(f"{path}.")
