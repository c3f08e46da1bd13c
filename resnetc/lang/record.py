"""The elaborated network: every layer placed, named, typed. What `lower` makes a graph of.

This is the checked form of a network: it can only be had from `elaborate`, which has reported
every mistake before it hands one out.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from resnetc.diagnostics import Label, Span
from resnetc.lang.budget import COPY, MORE, OPEN, PLACE, Budget
from resnetc.lang.expectations import Expectation
from resnetc.lang.mending import relabelled
from resnetc.lang.mistake import Abandon, Mistake
from resnetc.lang.site import Opened
from resnetc.lang.values import Tensor
from resnetc.ops import Op, OpError
from resnetc.shapes import TensorType

MAX_NODES = 70_000
"""Layers and blocks together; ResNet-1202 has 4,809."""
MAX_PARAMETERS = 110_000


_T = TypeVar("_T")
_Place = tuple[Span, Opened | None]
"""Where a layer is written, and the block it stands in."""


@dataclass(frozen=True, slots=True)
class PlacedOp:
    """An op in its place. `prefix` is the path its parameters hang from."""

    name: str
    op: Op
    inputs: tuple[int, ...]
    type: TensorType
    prefix: str
    scope: int
    span: Span


@dataclass(frozen=True, slots=True)
class PlacedBlock:
    """A block in its place: a module of the tree. `parent` is None for the network itself.

    `repeats` is the block that this one is once more, with the same parameters.
    """

    parent: int | None
    path: str
    block: str
    span: Span
    repeats: int | None = None


@dataclass(frozen=True, slots=True)
class PlacedCopy:
    """A block that was placed as a copy of the block `of`, or that one itself: `length` ops from
    position `start` on, under `path`, which read the tensor `door` and one another."""

    of: int
    start: int
    length: int
    path: str
    door: int


@dataclass(frozen=True)
class CheckedNetwork:
    """A network whose every mistake would have been reported: ops in topological order (a tensor's
    id is its op's position), blocks by id, outputs and those of training only (`aux`) by name. What
    it expects of itself is to be proven on the graph; a network with values from outside its file
    expects nothing. `shared` are the parameters, by path, that layers have in common by `reuse`.
    `features` are labels whose values are given too, with where each is asked for. `copies` are the
    blocks that were placed as copies, each block before its first copy, those in a copied one not
    told again."""

    name: str
    ops: tuple[PlacedOp, ...]
    blocks: tuple[PlacedBlock, ...]
    outputs: dict[str, int]
    aux: dict[str, int]
    meta: dict[str, object]
    expectations: tuple[Expectation, ...] = ()
    shared: frozenset[str] = frozenset()
    features: tuple[tuple[str, Span], ...] = ()
    copies: tuple[PlacedCopy, ...] = ()


@dataclass(frozen=True, slots=True)
class Mark:
    """How far a recording has come."""

    ops: int
    blocks: int
    owners: int
    names: int


@dataclass(frozen=True, slots=True)
class Placed:
    """A stretch of a recording: ops and blocks, owners by parameter path, counts by name."""

    ops: Collection[PlacedOp]
    blocks: Collection[PlacedBlock]
    owners: Collection[tuple[str, _Place]]
    names: Collection[tuple[str, int]]


def needed(ops: Sequence[PlacedOp], outputs: Iterable[int]) -> set[int]:
    """Positions of the ops that an output depends on, and of the inputs; the others are dropped."""
    alive = set(outputs)
    for i in range(len(ops) - 1, -1, -1):
        if i in alive:
            alive.update(ops[i].inputs)
        elif ops[i].op.name == "input":
            alive.add(i)
    return alive


def join(path: str, component: str) -> str:
    """A path one component longer; the path itself where there is none."""
    return f"{path}.{component}" if path and component else path or component


@dataclass
class Recorder:
    """Collects what is placed; owns names, parameter paths and the budget of nodes."""

    budget: Budget
    ops: list[PlacedOp] = field(default_factory=list)
    blocks: list[PlacedBlock] = field(default_factory=list)
    shared: set[str] = field(default_factory=set)
    copies: list[PlacedCopy] = field(default_factory=list)
    rows: dict[int, Span] = field(default_factory=dict)
    """The rows at whose end a tensor was given a name, by its id."""
    _owners: dict[str, _Place] = field(default_factory=dict)
    _names: dict[str, int] = field(default_factory=dict)

    @property
    def most_nodes(self) -> int:
        """Layers and blocks that there may be together."""
        return self.budget.times * MAX_NODES

    @property
    def _most_parameters(self) -> int:
        return self.budget.times * MAX_PARAMETERS

    def open_block(self, parent: int | None, path: str, block: str, span: Span) -> int:
        """Record a block; returns its id."""
        self._spend(span, OPEN)
        self.blocks.append(PlacedBlock(parent, path, block, span))
        return len(self.blocks) - 1

    def place(
        self,
        op: Op,
        operands: tuple[Tensor, ...],
        *,
        path: str,
        component: str | None,
        scope: int,
        span: Span,
        opened: Opened | None = None,
    ) -> Tensor:
        """Record an op and return its output. Raises OpError when the operands do not fit and
        Mistake when a parameter path is taken."""
        self._spend(span, PLACE + 2 * len(op.parameters()))
        type_ = op.result(*(operand.type for operand in operands))
        prefix = path if component is None else join(path, component)
        if component is None and any(not spec.name for spec in op.parameters()):
            message = f"`{op.name}` needs a label: its one parameter is called by it"
            raise OpError(message, code="E0418", advice=f"`scale: {op.name}(...)`")
        self._own(op, prefix, span, opened)
        name = self._unique(join(path, op.name) if component is None else prefix)
        inputs = tuple(operand.id for operand in operands)
        self.ops.append(PlacedOp(name, op, inputs, type_, prefix, scope, span))
        return Tensor(len(self.ops) - 1, type_)

    def reopen_block(self, number: int, parent: int, span: Span) -> int:
        """Record a block once more, with the same parameters; returns the new one's id."""
        self._spend(span, OPEN)
        block = self.blocks[number]
        first = number if block.repeats is None else block.repeats
        self.blocks.append(PlacedBlock(parent, block.path, block.block, span, first))
        return len(self.blocks) - 1

    def place_again(
        self, placed: PlacedOp, operands: tuple[Tensor, ...], scope: int, span: Span
    ) -> Tensor:
        """Record an op once more, with the same parameters. Raises OpError as `place` does."""
        self._spend(span, PLACE)
        op, prefix = placed.op, placed.prefix
        type_ = op.result(*(operand.type for operand in operands))
        self.shared.update(join(prefix, spec.name) for spec in op.parameters())
        inputs = tuple(operand.id for operand in operands)
        name = self._unique(placed.name)
        self.ops.append(PlacedOp(name, op, inputs, type_, prefix, scope, span))
        return Tensor(len(self.ops) - 1, type_)

    def made(self, tensor: Tensor) -> Span:
        """The row that a tensor comes from."""
        return self.rows.get(tensor.id, self.ops[tensor.id].span)

    def mark(self) -> Mark:
        """Where the recording stands."""
        return Mark(len(self.ops), len(self.blocks), len(self._owners), len(self._names))

    def since(self, mark: Mark) -> Placed:
        """What has been recorded since a mark."""
        return Placed(
            tuple(self.ops[mark.ops :]),
            tuple(self.blocks[mark.blocks :]),
            _latest(self._owners, len(self._owners) - mark.owners),
            _latest(self._names, len(self._names) - mark.names),
        )

    def has_room(self, owners: Mapping[str, object], names: Mapping[str, int], nodes: int) -> bool:
        """Whether paths and names are free, and the budget is not spent by so many nodes."""
        return (
            len(self.ops) + len(self.blocks) + nodes < self.most_nodes
            and self.budget.steps + COPY * nodes < self.budget.most_steps
            and len(self._owners) + len(owners) < self._most_parameters
            and self._owners.keys().isdisjoint(owners)
            and self._names.keys().isdisjoint(names)
        )

    def add(self, placed: Placed) -> None:
        """Record a stretch whose paths and names are free."""
        self.budget.steps += COPY * (len(placed.ops) + len(placed.blocks))
        self.ops += placed.ops
        self.blocks += placed.blocks
        self._owners.update(placed.owners)
        self._names.update(placed.names)

    def _own(self, op: Op, prefix: str, span: Span, opened: Opened | None) -> None:
        for spec in op.parameters():
            path = join(prefix, spec.name)
            if path in self._owners:
                raise _owned_twice(path, self._owners[path], (span, opened))
            self._owners[path] = span, opened
        if len(self._owners) > self._most_parameters:
            said = f"stopped at {self._most_parameters:,} parameters"
            raise Abandon("E0602", said, span, help=MORE)

    def clash(self) -> Mistake | None:
        """What is wrong where a parameter has the path of a module that holds others."""
        kinds = {id(placed.op): placed.op for placed in self.ops}
        nameless = {
            each for each, op in kinds.items() if any(not spec.name for spec in op.parameters())
        }
        bare = {placed.prefix for placed in self.ops if id(placed.op) in nameless}
        if not bare:
            return None
        for path, place in self._owners.items():
            for above in _above(path):
                if above in bare:
                    return _parameter_and_module(above, self._owners[above], place)
        return None

    def _unique(self, name: str) -> str:
        """The name itself the first time, then `name_1`, `name_2`."""
        count = self._names.get(name, 0)
        self._names[name] = count + 1
        return self._unique(f"{name}_{count}") if count else name

    def _spend(self, span: Span, steps: int) -> None:
        self.budget.spend(span, steps)
        if len(self.ops) + len(self.blocks) >= self.most_nodes:
            note = "the largest network of torchvision has under 2,000, ResNet-1202 has 4,809"
            said = f"stopped after {self.most_nodes:,} layers"
            raise Abandon("E0601", said, span, notes=(note,), help=MORE)


def _above(path: str) -> Iterator[str]:
    """The modules a parameter lies in, innermost first."""
    while (end := path.rfind(".")) >= 0:
        path = path[:end]
        yield path


def _latest(table: dict[str, _T], count: int) -> tuple[tuple[str, _T], ...]:
    """The entries of a dictionary that were made last."""
    return tuple(itertools.islice(reversed(table.items()), count))[::-1]


def _parameter_and_module(path: str, parameter: _Place, held: _Place) -> Mistake:
    message = f"`{path}` would be a parameter and a module that holds others"
    other = Label(held[0], "lies in the module")
    advice = "give one of them another label"
    return Mistake("E0404", message, parameter[0], "the parameter", secondary=(other,), help=advice)


def _owned_twice(path: str, first: _Place, second: _Place) -> Mistake:
    """Blame the two placements that differ: of the layers, or of the blocks around them."""
    message = f"two layers would both own `{path}`"
    advice = "give each its own label, or place them in a `seq`"
    (span, opened), (other, around) = second, first
    while span == other and opened is not None and around is not None:
        span, opened, other, around = opened.span, opened.outer, around.span, around.outer
    if span == other:
        repeated = "placed more than once, by a repeat or a loop"
        return Mistake("E0404", message, span, repeated, help=advice)
    labels = (Label(other, "first"),)
    mended = relabelled(span, advice)
    return Mistake("E0404", message, span, "second", secondary=labels, help=mended)
