"""Cells of an experiment: a depth, a shortcut option, a seed. Each is an ordinary run.

All cells have the same number of iterations, so that they can be compared. Runs lie in one folder
by their cell's name, where every study finds them; what is there is not trained again.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from resnetc.atomic import write_text
from resnetc.diagnostics import RunError, UsageError
from resnetc.driver import Network, load
from resnetc.recipes import Recipe
from resnetc.reproduce.measured import Measured, measured
from resnetc.train.options import TrainOptions
from resnetc.train.plan import with_options
from resnetc.train.runs import train
from resnetc.train.stop import StoppedError

if TYPE_CHECKING:
    from resnetc.train import TrainResult

EVALUATIONS = 12
"""Of a run: points of the test curves."""
_READINGS = 60
_PROBE = 6
"""Iterations that tell how fast a network trains."""
_USED = 0.9
"""Of the budget is planned with; the rest is for what turns out slower than its probe."""
_DEEP = 110
"""From this many layers on the paper warms up."""

Option = Literal["plain", "A", "B", "C"]
Say = Callable[[str], None]


@dataclass(frozen=True)
class Cell:
    """A network of 6n + 2 layers and a seed."""

    depth: int
    option: Option
    seed: int = 0

    @property
    def label(self) -> str:
        """As the paper calls it; option A, which all its CIFAR networks have, goes unsaid."""
        letter = f" {self.option}" if self.option in "BC" else ""
        return f"plain-{self.depth}" if self.option == "plain" else f"ResNet-{self.depth}{letter}"

    @property
    def slug(self) -> str:
        """The network as a name for files: plain20, resnet20-a."""
        if self.option == "plain":
            return f"plain{self.depth}"
        return f"resnet{self.depth}-{self.option.lower()}"


@dataclass(frozen=True)
class Request:
    """How cells are trained. `budget` is in minutes for all of them together, `iterations` of each;
    without both nothing is trained. `depths` are the paper's where None."""

    data: str = "cifar10"
    seeds: tuple[int, ...] = (0,)
    depths: tuple[int, ...] | None = None
    budget: float | None = None
    iterations: int | None = None
    runs: Path = Path("runs/reproduce")
    batch: int | None = None
    precision: Literal["fp32", "bf16"] | None = None
    channels_last: bool = True
    device: str = "auto"
    threads: int | None = None

    def __post_init__(self) -> None:
        if self.budget is not None and not self.budget > 0:
            raise UsageError(f"budget is {self.budget}; it must be above 0 minutes")
        if self.iterations is not None and self.iterations < 1:
            raise UsageError(f"iterations is {self.iterations}; it must be at least 1")

    @property
    def family(self) -> str:
        """The template whose networks are trained: the paper's, or that for 8x8 digits."""
        return "digits_net" if self.data.partition(":")[0] == "digits" else "cifar_resnet"

    def network(self, cell: Cell) -> Network:
        return load(self.family, {"depth": str(cell.depth), "shortcut": cell.option})

    def options(self, cell: Cell, iterations: int | None, out: Path) -> TrainOptions:
        """The cell as a request to train. None is for the recipe's own length."""
        deep = cell.depth >= _DEEP and self.family == "cifar_resnet"
        every = (f"eval_every={max(1, iterations // EVALUATIONS)}",) if iterations else ()
        return TrainOptions(
            data=self.data,
            recipe="cifar_warmup" if deep else None,
            overrides=every,
            iterations=iterations,
            batch=self.batch,
            precision=self.precision,
            seed=cell.seed,
            device=self.device,
            out=out,
            resume=True,
            channels_last=self.channels_last,
            deterministic=True,
            threads=self.threads,
            log_every=max(1, iterations // _READINGS) if iterations else None,
            keep=1,
            progress=False,
        )

    def recipe(self, cell: Cell) -> Recipe:
        """The recipe of a cell with what the request changes; its length is the recipe's own."""
        options = self.options(cell, None, self.runs)
        net = self.network(cell)
        own = net.recipes[options.recipe] if options.recipe else net.recipe
        assert own is not None  # both families bring recipes
        return with_options(own, options)


@dataclass(frozen=True)
class Outcome:
    """What came of a cell: its measurements, or why there are none ("not run", a divergence)."""

    cell: Cell
    found: Measured | None
    why: str = ""


@dataclass(frozen=True)
class _Speed:
    """Seconds of one step, of one evaluation, and of what a run needs beside them."""

    step: float
    evaluation: float
    beside: float

    def run(self, iterations: int) -> float:
        return iterations * self.step + EVALUATIONS * self.evaluation + self.beside


@dataclass
class Workshop:
    """Trains cells of a request, as many as the budget holds."""

    request: Request
    say: Say
    notes: list[str] = field(default_factory=list)
    """What a reader of the outcomes has to know of how they came about, in sentences."""

    def outcomes(self, cells: Iterable[Cell]) -> dict[Cell, Outcome]:
        """Every cell's outcome. Raises StoppedError when asked to stop; what ran is kept."""
        began, wanted = time.monotonic(), list(dict.fromkeys(cells))
        there = [cell for cell in wanted if self._summary(cell).is_file()]
        spent = sum(json.loads(self._summary(cell).read_text())["seconds"] for cell in there)
        asked = self.request
        iterations = asked.iterations or self._kept_iterations(wanted)
        if asked.budget is not None and asked.iterations is None and iterations is not None:
            self.notes.append(
                f"The budget of {asked.budget:g} minutes did not choose the length: runs of "
                f"{iterations:,} iterations lie in {asked.runs} already, and all are to be as "
                "long. For runs that fill the budget, give another --runs."
            )
        missing = [cell for cell in wanted if cell not in there]
        if asked.budget is None and asked.iterations is None:
            missing = []
        if missing and iterations is None:
            iterations = self._affordable(wanted, began)
        if missing:
            self.say(
                f"{len(missing)} of {len(wanted)} runs to train, {iterations:,} iterations each"
            )
        outcomes = {cell: Outcome(cell, None, "not run") for cell in wanted}
        for cell in [*there, *missing]:
            passed = spent + time.monotonic() - began
            if cell not in there and not self._fits(cell, iterations or 1, passed):
                self.say(f"the budget ends before {cell.label}, seed {cell.seed}")
                break
            outcomes[cell] = self._outcome(cell, iterations)
            self.say(_line(outcomes[cell]))
        return outcomes

    # ----------------------------------------------------------------------------- one cell

    def folder(self, cell: Cell) -> Path:
        return self.request.runs / f"{cell.slug}-seed{cell.seed}"

    def _summary(self, cell: Cell) -> Path:
        return self.folder(cell) / "report" / "summary.json"

    def _kept_iterations(self, cells: Sequence[Cell]) -> int | None:
        """Of a run that was begun here before, so that others go as long."""
        locks = [self.folder(cell) / "lock.json" for cell in cells]
        kept = {json.loads(lock.read_text())["iterations"] for lock in locks if lock.is_file()}
        if len(kept) > 1:
            raise UsageError(
                f"{self.request.runs}: runs of several lengths lie here; use another --runs"
            )
        return kept.pop() if kept else None

    def _outcome(self, cell: Cell, iterations: int | None) -> Outcome:
        out = self.folder(cell)
        try:
            result = train(self.request.network(cell), self.request.options(cell, iterations, out))
        except StoppedError as error:
            raise StoppedError(
                f"stopped in the run of {cell.label}, which is kept; go on with the same command"
            ) from error
        except RunError as error:
            return Outcome(cell, None, str(error))
        return Outcome(cell, measured(result))

    # ----------------------------------------------------------------------------- the budget

    def _fits(self, cell: Cell, iterations: int, spent: float) -> bool:
        """Whether a run would end within the budget; without one, every run does."""
        if self.request.budget is None:
            return True
        return spent + self._speeds([cell])[cell.slug].run(iterations) <= 60 * self.request.budget

    def _affordable(self, cells: Sequence[Cell], began: float) -> int:
        """The iterations each cell can have, in two digits; never more than the recipe's."""
        assert self.request.budget is not None  # asked for only where there is no length
        speeds = self._speeds(cells)
        seconds = _USED * 60 * self.request.budget - (time.monotonic() - began)
        fixed = sum(speeds[cell.slug].run(0) for cell in cells)
        per_iteration = sum(speeds[cell.slug].step for cell in cells)
        own: int | None = self.request.recipe(cells[0]).iterations
        count = max(EVALUATIONS, int((seconds - fixed) / per_iteration))
        return min(_two_digits(count), own or count)

    def _speeds(self, cells: Iterable[Cell]) -> dict[str, _Speed]:
        """Of each network; measured once, then kept beside the runs."""
        for cell in cells:
            if cell.slug not in self._known:
                self._known[cell.slug] = self._probe(cell)
                kept = {slug: vars(speed) for slug, speed in self._known.items()}
                write_text(self._speed_file, json.dumps(kept, indent=1) + "\n")
        return self._known

    @property
    def _speed_file(self) -> Path:
        return self.request.runs / "speed.json"

    @cached_property
    def _known(self) -> dict[str, _Speed]:
        if not self._speed_file.is_file():
            return {}
        kept: dict[str, Any] = json.loads(self._speed_file.read_text())
        return {slug: _Speed(**speed) for slug, speed in kept.items()}

    def _probe(self, cell: Cell) -> _Speed:
        with tempfile.TemporaryDirectory() as folder:
            options = replace(
                self.request.options(cell, _PROBE, Path(folder) / "probe"),
                overrides=(f"eval_every={_PROBE}",),
            )
            began = time.monotonic()
            result: TrainResult = train(self.request.network(cell), options)
            whole = time.monotonic() - began
            found = measured(result)
        batch = found.lock["recipe"]["batch"]
        # The first step is slower: memory is laid out, kernels are chosen.
        step = batch / statistics.median(r.images_per_second or 1.0 for r in found.rows[1:_PROBE])
        self.say(f"{cell.label}: {step:.3g} s a step")
        # A forward pass is a third of a step's work.
        return _Speed(step, step / 3 * result.test.images / batch, whole - result.seconds)


def _two_digits(count: int) -> int:
    """The count with zeros behind its first two digits."""
    unit = int(10 ** max(0, len(str(count)) - 2))
    return count // unit * unit


def _line(outcome: Outcome) -> str:
    name = f"{outcome.cell.label}, seed {outcome.cell.seed}"
    if outcome.found is None:
        return f"{name}: {outcome.why}"
    return f"{name}: test error {outcome.found.test_error:.2%}"
