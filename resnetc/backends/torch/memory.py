"""Memory of a training step of the live module, and what to recompute to make it fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from resnetc.analysis.footprint import Execution, Setting, input_bytes, pieces
from resnetc.analysis.recompute import Schedule, Segment, largest_batch
from resnetc.backends.torch.execution import execution
from resnetc.ir import Graph

if TYPE_CHECKING:
    from resnetc.backends.torch.recompute import Stretch


@dataclass(frozen=True)
class Copies:
    """What an optimizer keeps for every parameter, and takes besides while it updates, in tensors
    of the parameters' size; and whether an average of all weights is kept."""

    kept: int = 1
    passing: int = 0
    average: bool = False


@dataclass(frozen=True)
class Choice:
    """What is recomputed and what that comes to: bytes of the peak, FLOPs of one sample done twice
    and their share of a forward pass."""

    stretches: tuple[tuple[str, ...], ...]
    segments: tuple[Segment, ...]
    peak: int
    work: int
    share: float

    def named(self) -> list[str]:
        """The stretches for a reader: `layer1.0`, or `layer1.0 to layer1.2`."""
        return [p[0] if len(p) == 1 else f"{p[0]} to {p[-1]}" for p in self.stretches]


class StepMemory:
    """The memory of one training step of a graph's live module; needs no torch.

    Counted are weights, gradients, the optimizer's state, the average, the batch, and activations
    with all that is computed from them on the way. Not counted are Python and torch themselves,
    the data set, and the workspace of kernels. `copies` are the optimizer's, and
    `gradients_stay` says that gradients are never freed, as under DistributedDataParallel.
    """

    def __init__(
        self,
        graph: Graph,
        setting: Setting,
        copies: Copies | None = None,
        *,
        gradients_stay: bool = False,
        running: Execution | None = None,
    ) -> None:
        self.graph, self.setting, self.copies = graph, setting, copies or Copies()
        self._gradients_stay = gradients_stay
        self._running = running or execution(graph)

    @cached_property
    def schedule(self) -> Schedule:
        """The step, piece by piece."""
        trained = sum(p.type.bytes for p in self.graph.parameters.values() if p.role.trainable)
        held = sum(p.type.bytes for p in self.graph.parameters.values())
        copies = self.copies
        standing = held * (1 + copies.average) + trained * copies.kept
        return Schedule(
            pieces(self.graph, self._running, self.setting),
            standing + input_bytes(self.graph, self.setting),
            trained * copies.passing,
            gradients_stay=self._gradients_stay,
        )

    @property
    def peak(self) -> int:
        """Bytes at the peak when nothing is recomputed."""
        return self.schedule.peak()

    def choose(self, limit: int) -> Choice | None:
        """The least to recompute so that the step takes at most `limit` bytes; None if nothing
        does."""
        segments = self.schedule.choose(limit)
        return None if segments is None else self.choice(segments)

    def choice(self, segments: Sequence[Segment]) -> Choice:
        """What recomputing these segments comes to."""
        schedule = self.schedule
        paths = tuple(
            tuple(piece.place.path for piece in schedule.pieces[s.first : s.stop]) for s in segments
        )
        work = schedule.work(segments)
        whole = sum(piece.work for piece in schedule.pieces)
        return Choice(paths, tuple(segments), schedule.peak(segments), work, work / max(1, whole))

    def stretches(self, choice: Choice) -> list[Stretch]:
        """A choice as `recompute` applies it to the live module. Imports torch."""
        from resnetc.backends.torch.recompute import Stretch

        found = []
        for paths, segment in zip(choice.stretches, choice.segments, strict=True):
            run = self.schedule.pieces[segment.first : segment.stop]
            found.append(Stretch(paths, any(piece.draws for piece in run)))
        return found

    def largest_batch(self, limit: int) -> int:
        """The largest batch below this one for which some choice fits; 0 where none does."""
        return largest_batch(self._at, limit, self.setting.batch)

    def _at(self, batch: int) -> Schedule:
        setting = Setting(batch, self.setting.precision, self.setting.device)
        stay = self._gradients_stay
        return StepMemory(
            self.graph, setting, self.copies, gradients_stay=stay, running=self._running
        ).schedule


_UNITS = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}


def in_units(size: int) -> str:
    """Bytes for a reader: `832 MiB`, `10.6 GiB`."""
    unit = max((u for u, n in _UNITS.items() if size >= n), key=_UNITS.__getitem__, default="B")
    value = size / _UNITS[unit]
    return f"{value:.3g} {unit}" if value < 100 else f"{value:.0f} {unit}"
