"""The learning rate as a small state machine whose state is saved with every checkpoint.

Warm-ups come first, one after the other, each at its own rate until its condition holds or its
iterations are over; a condition is tested at an interval that the length of the run decides, so
that how often something is shown changes no weight. Then the rate is the optimizer's, times the
factor of every milestone passed, times the factor of every plateau met. Milestones count from the
first iteration of the run, warm-up included ("The rest of the learning schedule is as done
previously", section 4.2). A cosine goes from the end of the warm-ups to the end of the run.
"""

from __future__ import annotations

import math
import operator
from dataclasses import asdict, dataclass
from itertools import chain
from typing import Any

from resnetc.bounds import clashes
from resnetc.diagnostics import UsageError
from resnetc.recipes import Condition, Cosine, Plateau, Recipe, Step, Warmup

_RELATIONS = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}


@dataclass
class ScheduleState:
    """What has happened so far: warm-ups over, drops on plateaus, the plateau's bookkeeping."""

    warmups_done: int = 0
    warmup_began: int = 0
    drops: int = 0
    best: float | None = None
    evaluations_since: int = 0


class Schedule:
    """The learning rate of each step. Raises UsageError for a schedule that cannot be run."""

    def __init__(self, recipe: Recipe, state: ScheduleState | None = None) -> None:
        self._base = recipe.optimizer.lr
        self._warmups = [part for part in recipe.schedule if isinstance(part, Warmup)]
        self._steps = [part for part in recipe.schedule if isinstance(part, Step)]
        plateaus = [part for part in recipe.schedule if isinstance(part, Plateau)]
        cosines = [part for part in recipe.schedule if isinstance(part, Cosine)]
        for clash in chain.from_iterable(map(clashes, (recipe, *self._warmups))):
            if not clash.idle:
                raise UsageError(clash.why)
        if cosines and recipe.iterations is None:
            raise UsageError("a cosine needs to know where the run ends: give `iterations`")
        self._cosine = cosines[0] if cosines else None
        self._iterations = recipe.iterations or 0
        self._plateau = plateaus[0] if plateaus else None
        self.state = state or ScheduleState()

    @property
    def phase(self) -> str:
        """Where the schedule stands, in words."""
        if self._warmup is not None:
            return f"warm-up {self.state.warmups_done + 1} of {len(self._warmups)}"
        return f"main, {self.state.drops} drops on plateaus" if self._plateau else "main"

    @property
    def _warmup(self) -> Warmup | None:
        done = self.state.warmups_done
        return self._warmups[done] if done < len(self._warmups) else None

    def lr(self, step: int) -> float:
        """The rate of a step, from 0. Ends a warm-up whose iterations are over."""
        while (warmup := self._warmup) and self._is_over(warmup, step):
            self._end_warmup(step)
        if warmup is not None:
            return self._warm(warmup, step)
        if self._cosine is not None:
            return self._along(self._cosine, step)
        lr = self._base
        for part in self._steps:
            lr *= part.factor ** sum(step >= milestone for milestone in part.at)
        return self._dropped(lr)

    @property
    def warming(self) -> bool:
        """Whether the step whose rate was asked for last belongs to a warm-up."""
        return self._warmup is not None

    @property
    def awaits_error(self) -> bool:
        """Whether a warm-up that is not over yet depends on the training error."""
        return any(w.until is not None for w in self._warmups[self.state.warmups_done :])

    def after_training(self, step: int, train_error: float) -> None:
        """Told the running mean of the training error, in [0, 1], before step `step`."""
        warmup = self._warmup
        if warmup is not None and warmup.until is not None and _holds(warmup.until, train_error):
            self._end_warmup(step)

    def after_evaluation(self, error: float) -> bool:
        """Told an evaluation's error, in [0, 1]; says whether the rate was dropped."""
        if self._plateau is None or self._warmup is not None:
            return False
        state, rule = self.state, self._plateau
        if state.best is None or error < state.best - rule.threshold:
            state.best, state.evaluations_since = error, 0
            return False
        state.evaluations_since += 1
        if state.evaluations_since < rule.patience or self._dropped(self._base) <= rule.min_lr:
            return False
        state.drops, state.evaluations_since = state.drops + 1, 0
        return True

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self.state), "phase": self.phase}

    def restore(self, saved: dict[str, Any]) -> None:
        """Go on from what `to_json` gave."""
        known = {name: saved[name] for name in asdict(self.state)}
        self.state = ScheduleState(**known)

    def _warm(self, warmup: Warmup, step: int) -> float:
        if not warmup.ramp or warmup.iterations is None:
            return warmup.lr
        done = (step - self.state.warmup_began) / warmup.iterations
        return warmup.lr + (self._base - warmup.lr) * done

    def _along(self, cosine: Cosine, step: int) -> float:
        began = self.state.warmup_began
        done = (step - began) / max(1, self._iterations - began)
        return cosine.end + (self._base - cosine.end) * (1 + math.cos(math.pi * done)) / 2

    def _is_over(self, warmup: Warmup, step: int) -> bool:
        return warmup.iterations is not None and step - self.state.warmup_began >= warmup.iterations

    def _end_warmup(self, step: int) -> None:
        self.state.warmups_done += 1
        self.state.warmup_began = step

    def _dropped(self, lr: float) -> float:
        if self._plateau is None or not self.state.drops:
            return lr
        return max(lr * self._plateau.factor**self.state.drops, min(lr, self._plateau.min_lr))


def _holds(condition: Condition, train_error: float) -> bool:
    return bool(_RELATIONS[condition.relation](train_error, condition.number))
