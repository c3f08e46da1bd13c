"""A recipe, a request and a set of images become the exact plan of a run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from resnetc.diagnostics import UsageError, suggest
from resnetc.recipes import (
    PRESETS,
    BinaryCrossEntropy,
    Lamb,
    Optimizer,
    RandAugment,
    Recipe,
    Schedule,
    Sgd,
    Step,
    Transform,
    Warmup,
    default_recipe,
)
from resnetc.train.options import TrainOptions
from resnetc.train.overrides import apply_override, overridden_field

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
    for text in options.overrides:
        recipe = apply_override(recipe, text)
    changes: dict[str, Any] = {}
    if options.iterations is not None and options.epochs is not None:
        raise UsageError("--iterations and --epochs both say how long to train; give one")
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
    asked = replace(recipe, **changes)
    _check(asked, options)
    return asked


def _check(recipe: Recipe, options: TrainOptions) -> None:
    """Raise UsageError for numbers no run can have."""
    positive = {
        "iterations": recipe.iterations,
        "epochs": recipe.epochs,
        "batch": recipe.batch,
        "log-every": options.log_every,
        "checkpoint-every": options.checkpoint_every,
        "keep": options.keep,
        "threads": options.threads,
    }
    for name, value in positive.items():
        if value is not None and value < 1:
            raise UsageError(f"{name} is {value}; it must be at least 1")
    _check_optimizer(recipe.optimizer)
    if not 0 <= recipe.aux_weight < math.inf:
        raise UsageError(f"aux_weight is {recipe.aux_weight}; it must not be negative")
    _check_options_of_training(recipe)
    _check_augment((*recipe.augment, *recipe.evaluate))
    if options.seed < 0:
        raise UsageError(f"seed is {options.seed}; it must not be negative")


def _check_optimizer(optimizer: Optimizer) -> None:
    """Raise UsageError for numbers with which nothing is learnt."""
    above_zero = {"lr": optimizer.lr}
    shares: dict[str, float] = {}
    if isinstance(optimizer, Sgd):
        shares["momentum"] = optimizer.momentum
    else:
        above_zero["eps"] = optimizer.eps
        shares |= {"beta1": optimizer.beta1, "beta2": optimizer.beta2}
    if isinstance(optimizer, Lamb) and optimizer.clip_norm is not None:
        above_zero["clip_norm"] = optimizer.clip_norm
    for name, value in above_zero.items():
        if not 0 < value < math.inf:
            raise UsageError(f"{name} is {value}; it must be above 0")
    for name, value in shares.items():
        if not 0 <= value < 1:
            raise UsageError(f"{name} is {value}; it must lie in [0, 1)")
    if not 0 <= optimizer.weight_decay < math.inf:
        raise UsageError(f"weight_decay is {optimizer.weight_decay}; it must not be negative")


def _check_augment(transforms: Sequence[Transform]) -> None:
    """Raise UsageError for operations that no table lists."""
    for t in transforms:
        if isinstance(t, RandAugment):
            most = 10 if t.form == "timm" else 30
            if not 0 <= t.magnitude <= most:
                raise UsageError(
                    f"rand_augment's magnitude is {t.magnitude}; in {t.form}'s form it lies in "
                    f"[0, {most}]"
                )
            if t.ops < 1:
                raise UsageError(f"rand_augment's ops is {t.ops}; it must be at least 1")
            if t.std and t.form != "timm":
                raise UsageError("rand_augment's std is part of timm's form: give form=\"timm\"")
            if not 0 <= t.std < math.inf:
                raise UsageError(f"rand_augment's std is {t.std}; it must not be negative")


def _check_options_of_training(recipe: Recipe) -> None:
    """Raise UsageError for what no training can mean."""
    least_one = {
        "repeats": recipe.repeats,
        "norm_images": recipe.norm_images,
        "ema's every": recipe.ema.every if recipe.ema else None,
        "progressive's increment": recipe.resizing.increment if recipe.resizing else None,
    }
    for name, value in least_one.items():
        if value is not None and value < 1:
            raise UsageError(f"{name} is {value}; it must be at least 1")
    if recipe.precise_norm < 0:
        raise UsageError(f"precise_norm is {recipe.precise_norm}; it must not be negative")
    if not 0 <= recipe.label_smoothing < 1:
        raise UsageError(f"label_smoothing is {recipe.label_smoothing}; it must lie in [0, 1)")
    if isinstance(recipe.loss, BinaryCrossEntropy) and not 0 <= (recipe.loss.threshold or 0) < 1:
        raise UsageError(f"bce's threshold is {recipe.loss.threshold}; it must lie in [0, 1)")
    if recipe.ema and not 0 <= recipe.ema.decay < 1:
        raise UsageError(f"ema's decay is {recipe.ema.decay}; it must lie in [0, 1)")
    for mix in recipe.mix:
        if not 0 < mix.alpha < math.inf:
            raise UsageError(f"{mix.word}'s alpha is {mix.alpha}; it must be above 0")
    if (sizes := recipe.resizing) and not (
        0 < sizes.start <= 1 and sizes.delay >= 0 and 0 <= sizes.settle <= 1 - sizes.delay
    ):
        raise UsageError(
            f"progressive(start={sizes.start}, delay={sizes.delay}, settle={sizes.settle}) cannot "
            "be: start lies in (0, 1], and delay and settle together are at most 1"
        )


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
