"""Blocks placed again: what a block placed once is copied where it is called in the same way.

A block sees nothing but its parameters, the tensor at its door and the ambients. Called again with
the same of these it places the same layers, under another path. So the first call is elaborated
and remembered and the others are copied, which takes a fraction of the time. What comes out is the
same: a block with a mistake in it has no end to copy, or has told of it the first time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from resnetc.lang import syntax as s
from resnetc.lang.record import Mark, Placed, PlacedBlock, PlacedCopy, PlacedOp, Recorder, join
from resnetc.lang.site import Flowing, Opened, Site
from resnetc.lang.values import Tensor, frozen

Key = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Take:
    """What one call of a block placed under `path`, in the module `scope`, since `mark`, from the
    tensor `door` on.

    `calls` are the call sites that were active in it, by identity. `held` is what the key knows by
    identity: as long as it is held, no other value has the same.
    """

    path: str
    scope: int
    opened: Opened | None
    mark: Mark
    placed: Placed
    door: Tensor
    result: Tensor
    calls: set[int]
    held: object


@dataclass
class _Recording:
    """A block that is being elaborated; `whole` if all it does is to place layers."""

    calls: set[int] = field(default_factory=set)
    whole: bool = True


@dataclass
class Replay:
    """Remembers the blocks placed so far, and copies them."""

    record: Recorder
    enabled: bool = True
    _takes: dict[Key, Take] = field(default_factory=dict)
    _open: list[_Recording] = field(default_factory=list)

    def entered(self, call: s.Call) -> None:
        """A call site is active inside the block that is being recorded."""
        if self._open:
            self._open[-1].calls.add(id(call))

    def acted(self) -> None:
        """The block that is being recorded did what a copy of its layers would not do."""
        if self._open:
            self._open[-1].whole = False

    def copied(self, key: Key | None, site: Site, active: Sequence[s.Call]) -> bool:
        """Place a copy at `site` if there is one to be had; says whether it did.

        There is none where a call site of the block is active already: elaborating it finds that.
        """
        take = self._takes.get(key) if key is not None else None
        if take is None or not take.calls.isdisjoint(map(id, active)):
            return False
        result = _copy(take, self.record, site)
        if result is None:
            return False
        site.here = result
        if self._open:
            self._open[-1].calls |= take.calls
        return True

    @contextmanager
    def recording(self, key: Key | None, held: object, site: Site) -> Iterator[None]:
        """Remember what is placed meanwhile at `site`."""
        door, mark = site.here, self.record.mark()
        recording = _Recording()
        self._open.append(recording)
        try:
            yield
        finally:
            self._open.pop()
            if self._open:
                self._open[-1].calls |= recording.calls
                self._open[-1].whole &= recording.whole
        if key is None or not recording.whole:
            return
        if isinstance(door, Tensor) and isinstance(site.here, Tensor):
            placed = self.record.since(mark)
            take = Take(
                site.path,
                site.scope,
                site.opened,
                mark,
                placed,
                door,
                site.here,
                recording.calls,
                held,
            )
            if _has_own_names(take):
                self._takes[key] = take


def _has_own_names(take: Take) -> bool:
    """Whether nothing before it had a name that its layers have."""
    names = {name for name, _ in take.placed.names}
    return all(op.prefix in names or join(op.prefix, op.op.name) in names for op in take.placed.ops)


def _copy(take: Take, record: Recorder, site: Site) -> Tensor | None:
    """The take's layers once more at `site`; None where its names or the room are taken."""
    cut, path, door = len(take.path), site.path, site.here
    assert isinstance(door, Tensor)
    opened = _moved(take.opened, site.opened)
    placed = take.placed
    owners = {path + p[cut:]: (span, opened(o)) for p, (span, o) in placed.owners}
    names = {path + name[cut:]: count for name, count in placed.names}
    if not record.has_room(owners, names, len(placed.ops) + len(placed.blocks)):
        return None
    later, deeper = len(record.ops) - take.mark.ops, len(record.blocks) - take.mark.blocks
    position = {take.door.id: door.id}

    def moved(i: int) -> int:
        return position[i] if i in position else i + later

    def module(scope: int) -> int:
        return site.scope if scope == take.scope else scope + deeper

    ops = [
        PlacedOp(
            path + op.name[cut:],
            op.op,
            tuple(map(moved, op.inputs)),
            op.type,
            path + op.prefix[cut:],
            module(op.scope),
            op.span,
        )
        for op in placed.ops
    ]
    blocks = [
        PlacedBlock(module(b.parent), path + b.path[cut:], b.block, b.span)
        for b in placed.blocks
        if b.parent is not None
    ]
    if not record.copies or record.copies[-1].of != take.scope:
        first = PlacedCopy(take.scope, take.mark.ops, len(ops), take.path, take.door.id)
        record.copies.append(first)
    record.copies.append(PlacedCopy(take.scope, len(record.ops), len(ops), path, door.id))
    record.add(Placed(ops, blocks, owners.items(), names.items()))
    return Tensor(moved(take.result.id), take.result.type)


def _moved(root: Opened | None, to: Opened | None) -> Callable[[Opened | None], Opened | None]:
    """From the chain of opened blocks around a layer of a take to the one around its copy."""
    chains = {id(root): to}

    def moved(opened: Opened | None) -> Opened | None:
        if id(opened) not in chains:
            assert opened is not None
            chains[id(opened)] = replace(opened, outer=moved(opened.outer))
        return chains[id(opened)]

    return moved


def key_of(
    decl: s.Block, values: Mapping[str, object], door: Flowing, ambients: Mapping[str, object]
) -> Key | None:
    """What a block's layers depend on: its parameters, the type of the tensor at its door, the
    ambients. None where that cannot be told."""
    if not isinstance(door, Tensor):
        return None
    try:
        known = tuple(map(frozen, values.values()))
    except TypeError:
        return None
    rebound = tuple((name, id(value)) for name, value in ambients.items())
    return id(decl), known, door.type, rebound
