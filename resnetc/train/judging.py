"""Judging trained weights by a set's test images."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch

from resnetc.backends.torch import build_module
from resnetc.backends.weights import fit_weights, read_weights
from resnetc.diagnostics import RunError
from resnetc.recipes import WORDS, Transform
from resnetc.train.datasets import ImageData, Images, Wanted, open_data, split_reference
from resnetc.train.deterministic import torch_settings
from resnetc.train.evaluation import Evaluation, Mode, evaluate_module
from resnetc.train.feed import View, Workers, measure, view
from resnetc.train.job import DEFAULT_DATA, bind_classes, choose_device, classes_of, input_shape
from resnetc.train.plainly import said_plainly
from resnetc.train.plan import choose_recipe
from resnetc.train.processes import World
from resnetc.train.run_folder import RunFolder
from resnetc.train.transforms import Statistics

if TYPE_CHECKING:
    from resnetc.driver import Network


@dataclass(frozen=True)
class EvaluateOptions:
    """A request to judge; what is None is taken from the run the weights belong to, else from
    the network's recipe. `data` is NAME or NAME:PATH, `recipe` a recipe's or preset's name."""

    data: str | None = None
    recipe: str | None = None
    device: str = "auto"
    precision: Literal["fp32", "bf16"] = "fp32"
    channels_last: bool = False
    workers: int = 0
    threads: int | None = None


def evaluate(
    net: Network,
    weights: str | Path | Mapping[str, Any],
    options: EvaluateOptions | None = None,
) -> Evaluation:
    """Judge weights by the test images.

    `weights` is a run's folder, a checkpoint's, a .safetensors or .pth file, or a mapping by
    parameter path. Weights of a run see images as the run's recipe says, with the run's mean;
    others as the network's recipe says, with the training set's. Raises UsageError for weights
    that do not fit, MissingError without the data, RunError when the outputs are not finite.
    """
    options = options or EvaluateOptions()
    device = choose_device(options.device, World())
    held = weights if isinstance(weights, Mapping) else read_weights(Path(weights))
    run = None if isinstance(weights, Mapping) else Path(weights)
    with said_plainly(), torch_settings(deterministic=False, threads=options.threads):
        sight = open_sight(net, run, options)
        net = sight.net
        module = build_module(net.graph)
        fitting = fit_weights(net.graph, held)
        state = {path: torch.from_numpy(fitting[path].copy()) for path in fitting}
        module.load_state_dict(state, strict=False)  # counters may be missing; nothing reads them
        mode = Mode(device, options.precision, options.channels_last)
        module = module.to(device)
        workers = Workers(options.workers)
        seen = sight.view(sight.data.test)
        judged = evaluate_module(module, seen, sight.data.classes, mode, workers=workers)
    if not math.isfinite(judged.loss):
        raise RunError(f"{net.name} with these weights gives outputs that are not finite")
    return judged


@dataclass(frozen=True)
class Sight:
    """How a network that is not being trained sees a set: the network bound to it, the transforms
    and the statistics they need."""

    net: Network
    data: ImageData
    transforms: tuple[Transform, ...]
    statistics: Statistics

    def view(self, images: Images) -> View:
        """Some of the set's images as the network takes them."""
        return view(images, input_shape(self.net), self.transforms, self.statistics)


def open_sight(net: Network, weights: Path | None, options: EvaluateOptions | None = None) -> Sight:
    """The set to judge weights by, or to calibrate on, and how its images are to be seen.

    Weights of a run see images as the run's recipe says, with the run's mean; others as the
    network's recipe says, with the training set's. Raises as :func:`evaluate` does.
    """
    options = options or EvaluateOptions()
    run = None if weights is None else _run_of(weights)
    lock = (run.read_lock() if run else None) or {}
    data, bound, transforms = _request(net, options, lock)
    same_data = data.name == lock.get("data_set", {}).get("name")
    kept = run.read_statistics() if run and same_data else None
    workers = Workers(options.workers)
    statistics = kept or measure(data.train, input_shape(bound), transforms, workers)
    return Sight(bound, data, tuple(transforms), statistics)


def _request(
    net: Network, options: EvaluateOptions, lock: Mapping[str, Any]
) -> tuple[ImageData, Network, Sequence[Transform]]:
    """The data, the network bound to it, and how its images are to be seen."""
    recipe, _ = choose_recipe(net, options.recipe, min(input_shape(net)[1:]), None)
    own = recipe.data.name if recipe.data else DEFAULT_DATA
    reference = options.data or lock.get("data_set", {}).get("reference") or own
    data = open_data(reference, Wanted(input_shape(net), classes_of(net)))
    if options.recipe is None and lock:
        return data, bind_classes(net, data), recorded_transforms(lock)
    recipe, _ = choose_recipe(
        net, options.recipe, min(input_shape(net)[1:]), split_reference(reference)[0]
    )
    return data, bind_classes(net, data), recipe.evaluate


def recorded_transforms(lock: Mapping[str, Any]) -> tuple[Transform, ...]:
    """The evaluation transforms a run's lock.json records. Raises RunError where it is none."""
    try:
        records = [dict(record) for record in lock["recipe"]["evaluate"]]
        made = [WORDS[record.pop("word")](**_tuples(record)) for record in records]
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"lock.json: not the recipe of a run: {error}") from error
    return tuple(made)


def _tuples(record: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(v) if isinstance(v, list) else v for name, v in record.items()}


def _run_of(weights: Path) -> RunFolder | None:
    """The run that weights belong to: its folder, a file in it, or one of its checkpoints."""
    inside = [weights, *weights.resolve().parents[:3]]
    return next((RunFolder(path) for path in inside if RunFolder(path).lock.is_file()), None)
