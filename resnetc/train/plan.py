"""A recipe, a request and a set of images become the exact plan of a run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from resnetc.bounds import faults
from resnetc.diagnostics import UsageError, suggest
from resnetc.recipes import (
    PRESETS,
    Recipe,
    Schedule,
    Step,
    Warmup,
    default_recipe,
)
from resnetc.train.options import TrainOptions
from resnetc.train.overrides import apply_override, overridden, overridden_field

_MOST_READINGS = 200
_SPARSEST_READING = 100


class HasRecipes(Protocol):
    """The part of a compiled network that says how to train it."""

    @property
    def name(self) -> str: ...
    @property
    def recipe(self) -> Recipe | None: ...
    @property
    def recipes(self) -> dict[str, Recipe]: ...


@dataclass(frozen=True)
class Plan:
    """What a run does: the recipe with all its numbers settled.

    `eval_every`, `log_every` and `test_every` are in iterations; the last is how often a warm-up's
    condition is tested, and no option changes it. `notes` say in sentences what was chosen or
    changed and why.
    """

    recipe: Recipe
    iterations: int
    eval_every: int
    log_every: int
    test_every: int
    notes: tuple[str, ...]


def choose_recipe(
    net: HasRecipes, name: str | None, size: int, data: str | None
) -> tuple[Recipe, str]:
    """The recipe to train by and, in words, whose it is.

    The named one, else the network's own, else the preset for inputs of `size` pixels.
    """
    if name is not None:
        if name in net.recipes:
            return net.recipes[name], f"recipe {name} of the network's file"
        if name in PRESETS:
            return PRESETS[name](size), f"preset {name}"
        known = dict.fromkeys([*net.recipes, *PRESETS])
        close = suggest(name, known)
        meant = f"; did you mean `{close}`?" if close else "."
        raise UsageError(f"there is no recipe `{name}`{meant} There are {', '.join(known)}.")
    if net.recipe is not None:
        return net.recipe, "the network's own recipe"
    return default_recipe(size, data), f"the preset for inputs of {size} pixels"


def make_plan(recipe: Recipe, options: TrainOptions, images: int) -> Plan:
    """Settle a recipe for a training set of so many images.

    When the run is made longer or shorter than the recipe says, everything the recipe counts in
    iterations is scaled in proportion, unless it is overridden itself.
    """
    own_length = _length(recipe, images)
    overridden = {overridden_field(text) for text in options.overrides}
    asked = _in_iterations(with_options(recipe, options), recipe, images, overridden)
    length = _length(asked, images)
    if length is None:
        raise UsageError("the recipe does not say how long to train; give --iterations or --epochs")
    notes: list[str] = []
    if own_length is not None and length != own_length:
        asked, said = _scaled(asked, length / own_length, overridden)
        notes.append(f"{length:,} iterations instead of the recipe's {own_length:,}{said}")
    final = replace(asked, iterations=length, epochs=None)
    epoch = math.ceil(images / final.batch)
    notes += _warnings(final, length)
    usual = min(max(length // _MOST_READINGS, 1), _SPARSEST_READING)
    return Plan(
        final,
        length,
        eval_every=min(final.eval_every or epoch, length),
        log_every=options.log_every or usual,
        test_every=usual,
        notes=tuple(notes),
    )


def _length(recipe: Recipe, images: int) -> int | None:
    """Iterations a recipe asks for; an epoch ends with the batch that holds its last image."""
    if recipe.iterations is not None:
        return recipe.iterations
    return None if recipe.epochs is None else math.ceil(recipe.epochs * images / recipe.batch)


def _in_iterations(asked: Recipe, own: Recipe, images: int, overridden: set[str]) -> Recipe:
    """The recipe with warm-ups told in iterations: of its own batch, for they are scaled with its
    length, or of the request's where the schedule is the request's."""
    batch = asked.batch if "schedule" in overridden else own.batch
    schedule = tuple(
        replace(part, epochs=None, iterations=max(1, math.ceil(part.epochs * images / batch)))
        if isinstance(part, Warmup) and part.epochs is not None
        else part
        for part in asked.schedule
    )
    return replace(asked, schedule=schedule)


def with_options(recipe: Recipe, options: TrainOptions) -> Recipe:
    """The recipe with everything the request changes in it. Raises UsageError and CompileError."""
    if options.iterations is not None and options.epochs is not None:
        raise UsageError("--iterations and --epochs both say how long to train; give one")
    _check_run(options)
    asked: dict[str, list[str]] = {}
    for text in options.overrides:
        recipe = apply_override(recipe, text)
        flag = f"--override {overridden(text)}"
        asked.setdefault(overridden_field(text), []).append(flag)
    changes: dict[str, Any] = {}
    if options.epochs is not None:
        changes.update(iterations=None, epochs=options.epochs)
    if options.iterations is not None:
        changes.update(iterations=options.iterations, epochs=None)
    if options.batch is not None:
        changes["batch"] = options.batch
    if options.precision is not None:
        changes["precision"] = options.precision
    if options.lr is not None:
        changes["optimizer"] = replace(recipe.optimizer, lr=options.lr)
    for name in ("iterations", "epochs", "batch", "precision", "lr"):
        if getattr(options, name) is not None:
            asked.setdefault("optimizer" if name == "lr" else name, []).append(f"--{name}")
    recipe = replace(recipe, **changes)
    _check(recipe, asked)
    return recipe


def _check_run(options: TrainOptions) -> None:
    """Raise UsageError for numbers of a request, beside its recipe, that no run can have."""
    positive = {
        "log-every": options.log_every,
        "checkpoint-every": options.checkpoint_every,
        "keep": options.keep,
        "threads": options.threads,
    }
    for name, value in positive.items():
        if value is not None and value < 1:
            raise UsageError(f"{name} is {value}; it must be at least 1")
    if options.seed < 0:
        raise UsageError(f"seed is {options.seed}; it must not be negative")


def _check(recipe: Recipe, asked: Mapping[str, list[str]]) -> None:
    """Raise UsageError for a recipe that is out of bounds; `asked` are the flags that have changed
    it, by its fields. What has no effect is refused where a flag asks for it."""
    for fault in faults(recipe):
        flags = asked.get(fault.field)
        if flags or not fault.idle:
            raise UsageError(f"{', '.join(flags)}: {fault.why}" if flags else fault.why)


def _scaled(recipe: Recipe, factor: float, overridden: set[str]) -> tuple[Recipe, str]:
    """The recipe with what it counts in iterations scaled, and what was done in words."""
    changes: dict[str, Any] = {}
    said: list[str] = []
    if "schedule" not in overridden and recipe.schedule:
        schedule = tuple(_scaled_part(part, factor) for part in recipe.schedule)
        changes["schedule"] = schedule
        said += _milestones(recipe.schedule, schedule)
    if "eval_every" not in overridden and recipe.eval_every:
        changes["eval_every"] = max(1, round(recipe.eval_every * factor))
        said.append(f"evaluated every {changes['eval_every']:,}")
    return replace(recipe, **changes), "; ".join(["", *said])


def _scaled_part(part: Schedule, factor: float) -> Schedule:
    if isinstance(part, Step):
        return replace(part, at=tuple(max(1, round(at * factor)) for at in part.at))
    if isinstance(part, Warmup) and part.iterations is not None:
        return replace(part, iterations=max(1, round(part.iterations * factor)))
    return part


def _milestones(before: Sequence[Schedule], after: Sequence[Schedule]) -> list[str]:
    said = []
    for old, new in zip(before, after, strict=True):
        if isinstance(old, Step) and isinstance(new, Step) and old.at:
            said.append(f"drops at {_list(new.at)} instead of {_list(old.at)}")
        elif isinstance(old, Warmup) and isinstance(new, Warmup) and old.iterations:
            said.append(f"warm-up of {new.iterations:,} instead of {old.iterations:,}")
    return said


def _warnings(recipe: Recipe, length: int) -> list[str]:
    late = [at for part in recipe.schedule if isinstance(part, Step) for at in part.at]
    late = [at for at in late if at >= length]
    if late:
        return [f"the drops at {_list(late)} lie behind the end and never happen"]
    return []


def _list(numbers: Sequence[int]) -> str:
    return " and ".join(f"{number:,}" for number in numbers)
