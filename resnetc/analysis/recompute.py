"""Which parts of a network to compute twice so that a training step fits into memory.

A recomputed stretch of places holds only what comes in; its backward pass begins by running it
forward once more (activation checkpointing: Chen et al., arXiv 1604.06174). `Schedule.peak` says
what a choice takes, `choose` makes the choice that fits with the least work done twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

from resnetc.analysis.footprint import Piece

_DEEP = 64
"""A network of more places than this is deep."""

_GRAINS = 1024
"""Its work is counted in so many parts."""

_Front = dict[int, tuple[int, int, int]]
"""Choices for the places so far by their work done twice: bytes held, the place where the last
segment or kept place began, and the work of the choice there."""


@dataclass(frozen=True, order=True)
class Segment:
    """Places `first` up to, not including, `stop`, recomputed together."""

    first: int
    stop: int


class Schedule:
    """The pieces of a step in their order, and what running them takes.

    `standing` are bytes that are there all through the step: weights, optimizer state, the batch,
    and with `gradients_stay` the parameters' gradients too, which else appear one by one in the
    backward pass. `update` are bytes that the optimizer takes besides, when activations are gone;
    `floor` is what the update takes in all.
    """

    def __init__(
        self,
        pieces: Sequence[Piece],
        standing: int = 0,
        update: int = 0,
        *,
        gradients_stay: bool = False,
    ) -> None:
        self.pieces = tuple(pieces)
        gradients = [piece.gradients for piece in self.pieces]
        total = sum(gradients)
        self._standing = standing + total * gradients_stay
        self.floor = standing + total + update
        # What has appeared before the backward pass of each piece, its own included, and the last.
        later = [0] * len(gradients) if gradients_stay else list(accumulate(reversed(gradients)))
        self._appeared = [0, *later][::-1]

    # ---------------------------------------------------------------------------- what it takes

    def peak(self, segments: Iterable[Segment] = ()) -> int:
        """The most bytes at any time of a step that recomputes these segments."""
        most, held = 0, 0
        for first, stop, recomputed in self._runs(segments):
            if recomputed:
                held += self.pieces[first].entry
                most = max(most, held + self._needs(first, stop))
                held += self.pieces[stop - 1].edge
            else:
                most = max(most, held + self._needs_kept(first))
                held += self.pieces[first].kept
        return max(self._standing + most, self.floor)

    def work(self, segments: Iterable[Segment]) -> int:
        """FLOPs of one sample that are done twice."""
        return sum(piece.work for s in segments for piece in self.pieces[s.first : s.stop])

    def _runs(self, segments: Iterable[Segment]) -> Iterator[tuple[int, int, bool]]:
        place = 0
        for segment in sorted(segments):
            yield from ((i, i + 1, False) for i in range(place, segment.first))
            yield segment.first, segment.stop, True
            place = segment.stop
        yield from ((i, i + 1, False) for i in range(place, len(self.pieces)))

    def _needs_kept(self, place: int) -> int:
        """Bytes on top of what earlier pieces hold while a piece runs, forward or backward."""
        piece = self.pieces[place]
        return max(piece.forward, piece.backward + self._appeared[place])

    def _needs(self, first: int, stop: int) -> int:
        """The same of a segment: run forward again, then backward."""
        return next(need for s, _, need in self._growing(first) if s == stop)

    def _growing(self, first: int) -> Iterator[tuple[int, int, int]]:
        """The segments that begin at a place: where each stops, what its backward pass needs at
        least, and what all of it needs. The second never falls."""
        chain = self.pieces[first].place.chain
        held = forward = backward = 0
        for place in range(first, len(self.pieces) if chain else first):
            piece = self.pieces[place]
            if piece.place.chain != chain:
                return
            forward = max(forward, held + piece.forward)
            backward = max(backward, held + piece.backward + self._appeared[place])
            again = forward + piece.arriving + self._appeared[place + 1]
            held += piece.kept
            yield place + 1, backward, max(backward, again)

    # ----------------------------------------------------------------------------- what to choose

    def choose(self, limit: int) -> tuple[Segment, ...] | None:
        """The segments to recompute so that the step takes at most `limit` bytes, with the least
        work done twice; None where no choice fits.

        Dynamic programming from the first place on. Of the choices for the places so far, one is
        worse than another when it neither holds less nor does less work twice; the rest, the Pareto
        front, are kept. In a deep network work is counted in grains and long segments grow in
        steps, so that the work may be a little more than the least; what is found fits exactly.
        """
        if limit < self.floor:
            return None
        room = limit - self._standing
        fronts: list[_Front] = [{} for _ in range(len(self.pieces) + 1)]
        fronts[0] = {0: (0, 0, 0)}
        works, spare = self._works(), self._spare(room)
        for place, piece in enumerate(self.pieces):
            fronts[place] = _pareto(fronts[place], spare[place])
            if not fronts[place]:
                continue
            front = [(held, work) for work, (held, _, _) in fronts[place].items()]
            kept = (piece.kept, 0, room - self._needs_kept(place))
            _go_on(front, fronts[place + 1], place, *kept)
            work = 0
            for stop, least, need in self._growing(place):
                if front[0][0] + piece.entry + least > room:
                    break
                last = self.pieces[stop - 1]
                work += works[stop - 1]
                if self._stops(stop - place):
                    taken = (piece.entry + last.edge, work)
                    _go_on(front, fronts[stop], place, *taken, room - piece.entry - need)
        return _traced(fronts) if fronts[-1] else None

    @property
    def _deep(self) -> bool:
        return len(self.pieces) > _DEEP

    def _works(self) -> list[int]:
        """The work of each piece: in FLOPs, and in grains in a deep network."""
        grain = max(1, sum(p.work for p in self.pieces) // _GRAINS) if self._deep else 1
        return [max(1, round(piece.work / grain)) for piece in self.pieces]

    def _spare(self, room: int) -> list[float]:
        """Bytes that may be held before each piece so that no later one need be recomputed."""
        spare = [float("inf")] * (len(self.pieces) + 1)
        for place in reversed(range(len(self.pieces))):
            after = spare[place + 1] - self.pieces[place].kept
            spare[place] = min(room - self._needs_kept(place), after)
        return spare

    def _stops(self, length: int) -> bool:
        """Whether segments of a length are tried: all in a shallow network; in a deep one lengths
        of two leading binary digits, 1, 2, 3, 4, 6, 8, 12 and so on."""
        digits = length.bit_length()
        return not self._deep or digits < 3 or not length % (1 << (digits - 2))

    def least(self) -> int:
        """The least peak that any choice has."""
        low, high = self.floor, self.peak()
        while low < high:
            middle = (low + high) // 2
            if self.fits(middle):
                high = middle
            else:
                low = middle + 1
        return low

    def fits(self, limit: int) -> bool:
        """Whether any choice takes at most `limit` bytes; here whatever holds least is best."""
        room = limit - self._standing
        held: list[float] = [0.0] + [float("inf")] * len(self.pieces)
        for place, piece in enumerate(self.pieces):
            before = held[place]
            if before + self._needs_kept(place) <= room:
                held[place + 1] = min(held[place + 1], before + piece.kept)
            before += piece.entry
            for stop, least, need in self._growing(place):
                if before + least > room:
                    break
                if before + need <= room:
                    held[stop] = min(held[stop], before + self.pieces[stop - 1].edge)
        return limit >= self.floor and held[-1] < float("inf")


def largest_batch(schedule: Callable[[int], Schedule], limit: int, batch: int) -> int:
    """The largest batch below `batch` whose least peak is at most `limit`, 0 where there is none.

    `schedule` makes the schedule of a batch; larger batches take more.
    """
    low, high = 0, batch
    while high - low > 1:
        middle = (low + high) // 2
        if schedule(middle).fits(limit):
            low = middle
        else:
            high = middle
    return low


def _pareto(front: _Front, spare: float) -> _Front:
    """The choices that no other is better than, by rising bytes and falling work. Of those that
    hold no more than there is to spare, the one with the least work is enough."""
    kept: _Front = {}
    least = None
    for work, choice in sorted(front.items(), key=lambda item: (item[1][0], item[0])):
        if least is None or work < least:
            if choice[0] <= spare:
                kept.clear()
            kept[work] = choice
            least = work
    return kept


def _go_on(
    front: Sequence[tuple[int, int]],
    into: _Front,
    place: int,
    holds: int,
    again: int,
    room: int,
) -> None:
    """Add to a later front the choices of one at `place` that hold at most `room`: each holds more
    then and does more work again."""
    for held, work in front:
        if held > room:
            return
        total = work + again
        known = into.get(total)
        if known is None or held + holds < known[0]:
            into[total] = held + holds, place, work


def _traced(fronts: Sequence[_Front]) -> tuple[Segment, ...]:
    """The segments of the choice with the least work in the last front."""
    found = []
    place, work = len(fronts) - 1, min(fronts[-1])
    while place:
        _, first, before = fronts[place][work]
        if work > before:
            found.append(Segment(first, place))
        place, work = first, before
    return tuple(reversed(found))
