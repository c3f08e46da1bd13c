"""Judging trained weights by a set's test images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from resnetc.backends.torch import build_module
from resnetc.backends.weights import fit_weights, read_weights
from resnetc.diagnostics import RunError, UsageError
from resnetc.recipes import WORDS, Transform
from resnetc.train.datasets import ImageData, Images, Wanted, open_data, split_reference
from resnetc.train.deterministic import torch_settings
from resnetc.train.evaluation import Evaluation, Mode
from resnetc.train.feed import View, Workers, measure, view
from resnetc.train.job import DEFAULT_DATA, bind_classes, choose_device, classes_of, input_shape
from resnetc.train.looks import Look, scale_look, ten_crop_look
from resnetc.train.peers import PATIENCE
from resnetc.train.plainly import said_plainly
from resnetc.train.plan import choose_recipe
from resnetc.train.pooling import pooled, scores_of, verdict
from resnetc.train.processes import World, joined
from resnetc.train.replay import recorded_network
from resnetc.train.run_folder import RunFolder
from resnetc.train.scorers import EngineScorer, ModuleScorer, OnnxScorer, Scorer
from resnetc.train.transforms import Statistics

if TYPE_CHECKING:
    from resnetc.driver import Network


@dataclass(frozen=True)
class EvaluateOptions:
    """A request to judge; what is None is taken from the run the weights belong to, else from
    the network's recipe. `data` is NAME or NAME:PATH, `recipe` a recipe's or preset's name,
    `peer_timeout` how many seconds processes wait for one that does not answer."""

    data: str | None = None
    recipe: str | None = None
    device: str = "auto"
    precision: Literal["fp32", "bf16"] = "fp32"
    channels_last: bool = True
    workers: int = 0
    threads: int | None = None
    ten_crop: bool = False
    scales: tuple[int, ...] = ()
    peer_timeout: float = PATIENCE


Weights = str | Path | Mapping[str, Any]


def evaluate(
    net: Network,
    weights: Weights | Sequence[Weights],
    options: EvaluateOptions | None = None,
) -> Evaluation:
    """Judge weights by the test images; of several, the ensemble: their probabilities' average.

    `weights` is a run's folder, a checkpoint's, a .safetensors or .pth file, an .onnx file, an
    .engine, or a mapping by parameter path. Weights of a run see images as the run's recipe says,
    with the run's mean; others as the network's recipe says, with the training set's. In an
    ensemble a run of another network brings its own. Under torchrun or srun each process judges
    its share of the images, and all return the same. Raises UsageError for weights that do not
    fit, MissingError without the data, RunError when the outputs are not finite or another process
    is lost.
    """
    options = options or EvaluateOptions()
    several = [weights] if isinstance(weights, str | Path | Mapping) else list(weights)
    if options.ten_crop and options.scales:
        raise UsageError("ten crops or several scales: give one of the two")
    settings = torch_settings(deterministic=False, threads=options.threads)
    with settings, joined(options.device, options.peer_timeout) as world, said_plainly():
        device = choose_device(options.device, world)
        nets = [net] if len(several) == 1 else [_network_of(net, each) for each in several]
        judged = [
            _judge(own, each, options, device, world)
            for own, each in zip(nets, several, strict=True)
        ]
        data = judged[0].sight.data
        if any(each.sight.data.fingerprint != data.fingerprint for each in judged):
            raise UsageError("an ensemble is judged by one set; give it with --data")
        if world.agree(data.fingerprint) != data.fingerprint:
            raise UsageError(f"process {world.rank} has another data set than process 0")
        scores = pooled([each.scores for each in judged])
        return verdict(scores, data.test.labels, data.classes, world)


@dataclass(frozen=True)
class _Judged:
    """What some weights of an ensemble give for this process's share of the images."""

    sight: Sight
    scores: Tensor


def _judge(
    net: Network, weights: Weights, options: EvaluateOptions, device: torch.device, world: World
) -> _Judged:
    sight = open_sight(net, None if isinstance(weights, Mapping) else Path(weights), options)
    mode = Mode(device, options.precision, options.channels_last)
    scorer, workers = make_scorer(sight.net, weights, mode), Workers(options.workers)
    classes = len(sight.data.classes)
    looks = _looks(sight, options)
    scores = pooled([scores_of(scorer, look, classes, workers, world) for look in looks])
    if world.any(int(not torch.isfinite(scores).all())):
        raise RunError(f"{net.name} with these weights gives outputs that are not finite")
    return _Judged(sight, scores)


def _network_of(net: Network, weights: Weights) -> Network:
    """The network that some weights of an ensemble are of: their run's, else the one given."""
    run = None if isinstance(weights, Mapping) else run_of(Path(weights))
    lock = (run.read_lock() if run else None) or {}
    if run is None or lock.get("network", {}).get("name", net.name) == net.name:
        return net
    return recorded_network(run.lock, lock)


def _looks(sight: Sight, options: EvaluateOptions) -> list[Look]:
    seen, wanted = sight.view(sight.data.test), input_shape(sight.net)
    if options.ten_crop:
        return [ten_crop_look(seen, (wanted[1], wanted[2]))]
    if small := [side for side in options.scales if side < min(wanted[1:])]:
        raise UsageError(
            f"a scale of {small[0]} is smaller than {sight.net.name}'s input, which is "
            f"{wanted[1]}x{wanted[2]}"
        )
    return [scale_look(seen, side) for side in options.scales] or [Look(seen)]


def make_scorer(net: Network, weights: Weights, mode: Mode) -> Scorer:
    """Whatever the weights are, made ready."""
    if not isinstance(weights, Mapping):
        path = Path(weights)
        if path.suffix == ".onnx":
            return OnnxScorer(path, net.graph)
        if path.suffix in (".engine", ".plan"):
            return EngineScorer(path, net.graph)
    held = weights if isinstance(weights, Mapping) else read_weights(Path(weights))
    module = build_module(net.graph)
    fitting = fit_weights(net.graph, held)
    state = {path: torch.from_numpy(fitting[path].copy()) for path in fitting}
    module.load_state_dict(state, strict=False)  # counters may be missing; nothing reads them
    return ModuleScorer(module, net.graph, mode)


@dataclass(frozen=True)
class Sight:
    """How a network sees a set: the network bound to it, the transforms of an evaluation and of
    training, and the statistics they need."""

    net: Network
    data: ImageData
    transforms: tuple[Transform, ...]
    augment: tuple[Transform, ...]
    statistics: Statistics

    def training_view(self, seed: int) -> View:
        """The training images as training sees them."""
        wanted = input_shape(self.net)
        return view(self.data.train, wanted, self.augment, self.statistics, seed)

    def view(self, images: Images) -> View:
        """Some of the set's images as the network takes them."""
        return view(images, input_shape(self.net), self.transforms, self.statistics)


def open_sight(
    net: Network,
    weights: Path | None,
    options: EvaluateOptions | None = None,
    *,
    judges: bool = True,
) -> Sight:
    """The set to judge weights by, or to calibrate on, and how its images are to be seen.

    Weights of a run see images as the run's recipe says, with the run's mean; others as the
    network's recipe says, with the training set's. Where nothing `judges` the answers by the set's
    labels, any network of one input can be fed, and none is bound to the set's classes. Raises as
    :func:`evaluate` does.
    """
    options = options or EvaluateOptions()
    run = None if weights is None else run_of(weights)
    lock = (run.read_lock() if run else None) or {}
    data, bound, transforms, augment = _request(net, options, lock, judges=judges)
    same_data = data.name == lock.get("data_set", {}).get("name")
    kept = run.read_statistics() if run and same_data else None
    workers = Workers(options.workers)
    statistics = kept or measure(data.train, input_shape(bound), transforms, workers)
    return Sight(bound, data, tuple(transforms), tuple(augment), statistics)


def _request(
    net: Network, options: EvaluateOptions, lock: Mapping[str, Any], *, judges: bool
) -> tuple[ImageData, Network, Sequence[Transform], Sequence[Transform]]:
    """The data, the network bound to it, and how its images are to be seen: judging, training."""
    recipe, _ = choose_recipe(net, options.recipe, min(input_shape(net)[1:]), None)
    own = recipe.data.name if recipe.data else DEFAULT_DATA
    reference = options.data or lock.get("data_set", {}).get("reference") or own
    data = open_data(reference, Wanted(input_shape(net), classes_of(net) if judges else 1))
    bound = bind_classes(net, data) if judges else net
    if options.recipe is None and lock:
        judging, training = (recorded_transforms(lock, key) for key in ("evaluate", "augment"))
        return data, bound, judging, training
    recipe, _ = choose_recipe(
        net, options.recipe, min(input_shape(net)[1:]), split_reference(reference)[0]
    )
    return data, bound, recipe.evaluate, recipe.augment


def recorded_transforms(lock: Mapping[str, Any], key: str = "evaluate") -> tuple[Transform, ...]:
    """The transforms under a key of the recipe that a run's lock.json records. Raises RunError
    where it is none."""
    try:
        records = [dict(record) for record in lock["recipe"][key]]
        made = [WORDS[record.pop("word")](**_tuples(record)) for record in records]
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"lock.json: not the recipe of a run: {error}") from error
    return tuple(made)


def _tuples(record: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(v) if isinstance(v, list) else v for name, v in record.items()}


def run_of(weights: Path) -> RunFolder | None:
    """The run that weights belong to: its folder, a file in it, or one of its checkpoints."""
    inside = [weights, *weights.resolve().parents[:3]]
    return next((RunFolder(path) for path in inside if RunFolder(path).lock.is_file()), None)
