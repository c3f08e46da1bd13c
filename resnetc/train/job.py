"""Everything a run needs, made ready before the first step."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from resnetc.diagnostics import MissingError, UsageError
from resnetc.recipes import DataSet, Plateau, Recipe
from resnetc.train.datasets import ImageData, Images, Wanted, open_data, split_reference
from resnetc.train.draws import SPLIT, permutation
from resnetc.train.evaluation import BATCH, Mode
from resnetc.train.feed import View, Workers, measure, needs_statistics, view
from resnetc.train.memory import MemoryPlan, plan_memory
from resnetc.train.mixing import require_partners
from resnetc.train.options import TrainOptions
from resnetc.train.overruns import overrunning_layer
from resnetc.train.plan import Plan, choose_recipe, make_plan, with_options
from resnetc.train.processes import World
from resnetc.train.recorded import recorded_recipe
from resnetc.train.resizing import require_size, size_at
from resnetc.train.run_folder import describe_device, record, sha256, versions
from resnetc.train.transforms import Statistics, size_made

if TYPE_CHECKING:
    from resnetc.driver import Network

DEFAULT_DATA = "digits"


@dataclass(frozen=True)
class Job:
    """A network bound to a set, the plan, and the images as the network sees them.

    `judge` are the images that steer the run: the validation part where the recipe splits one
    off, else the test images. `kind` says which.
    """

    net: Network
    data: ImageData
    plan: Plan
    train: View
    judge: View
    test: View
    kind: str
    statistics: Statistics
    mode: Mode
    workers: Workers
    origin: str
    reference: str
    memory: MemoryPlan | None = None
    overrun: str | None = None
    """The layer for whose sake images do not lie channels last."""

    @property
    def judged_at_once(self) -> int:
        """Images of a batch of an evaluation."""
        return self.memory.judged_at_once if self.memory else BATCH

    @property
    def recipe(self) -> Recipe:
        return self.plan.recipe

    def headline(self, world: World, seed: int) -> list[str]:
        """What is about to happen, in sentences."""
        data, recipe = self.data, self.recipe
        seen = "of differing sizes" if data.train.shape is None else str(self.train.adapt)
        each = f", {world.share(recipe.batch):,} each"
        shared = f" over {world.size} processes{each}" if world.size > 1 else ""
        epochs = self.plan.iterations * recipe.batch / len(self.train.images)
        lines = [
            f"{self.net.name} on {data.name} ({data.where}): {len(self.train.images):,} images to "
            f"train, {len(data.test):,} to test, {len(data.classes)} classes; images "
            f"{seen}",
            f"{self.origin}: {self.plan.iterations:,} iterations of {recipe.batch}{shared} "
            f"({epochs:.1f} epochs), {recipe.precision} on {self.mode.device}, seed {seed}",
        ]
        if not data.real:
            lines.append("the images are made up: accuracy and loss mean nothing")
        return [*lines, *self.notes]

    @property
    def notes(self) -> tuple[str, ...]:
        """What was chosen or changed and why, in sentences."""
        said = list(self.plan.notes)
        if self.kind == "test" and any(isinstance(p, Plateau) for p in self.recipe.schedule):
            said.append(
                "the plateau is found by the test images, for the recipe splits no validation "
                "images off: their error is no unbiased one"
            )
        if self.overrun is not None:
            said.append(
                f"images lie contiguous: channels last, PyTorch's kernel for {self.overrun} "
                "overruns an array"
            )
        return (*said, *(self.memory.notes if self.memory else ()))


def prepare(
    net: Network,
    options: TrainOptions,
    world: World,
    device: torch.device,
    kept: Statistics | None = None,
) -> Job:
    """Load the data, bind the network to its classes, settle the plan.

    `kept` are the statistics of the run that is gone on with, if there is one. Raises
    MissingError without the data, UsageError where network, recipe and data do not fit.
    """
    wanted = input_shape(net)
    named = split_reference(options.data)[0] if options.data else None
    if options.replays is None:
        recipe, origin = choose_recipe(net, options.recipe, min(wanted[1:]), named)
    else:
        recipe, origin = recorded_recipe(options.replays), "the recipe of the lock file"
    asked = with_options(recipe, options)
    reference = options.data or (asked.data.name if asked.data else DEFAULT_DATA)
    data = open_data(reference, Wanted(wanted, classes_of(net)))
    net = bind_classes(net, data)
    train, judge, kind = split(data, asked.data)
    plan = make_plan(recipe, options, len(train))
    require_parts(world.share(plan.recipe.batch), options.parts)
    require_partners(plan.recipe, world.share(plan.recipe.batch))
    require_sizes(net, plan, wanted)
    memory = plan_memory(net, plan.recipe, device, options, world)
    workers = Workers(_worker_count(options, world), pinned=device.type == "cuda")
    evaluate = plan.recipe.evaluate
    statistics = kept or shared_statistics(train, wanted, plan.recipe, workers, world)
    overrun = overrunning_layer(net.graph) if device.type == "cpu" else None
    tested = view(data.test, wanted, evaluate, statistics).on(device)
    return Job(
        net=net,
        data=data,
        plan=plan,
        train=view(train, wanted, plan.recipe.augment, statistics, options.seed).on(device),
        judge=tested if kind == "test" else view(judge, wanted, evaluate, statistics).on(device),
        test=tested,
        kind=kind,
        statistics=statistics,
        mode=Mode(device, plan.recipe.precision, options.channels_last and overrun is None),
        workers=workers,
        origin=origin,
        reference=reference,
        memory=memory,
        overrun=overrun if options.channels_last else None,
    )


def require_sizes(net: Network, plan: Plan, wanted: tuple[int, ...]) -> None:
    """Raise UsageError where the recipe trains on images of a size the network cannot take."""
    size = size_made(plan.recipe.augment, wanted)
    require_size(net.graph, size)
    if plan.recipe.resizing is not None:
        require_size(net.graph, size_at(plan.recipe.resizing, size, 0, plan.iterations))


def require_parts(share: int, parts: int) -> None:
    """Raise UsageError unless a process's share of a batch can be cut into so many equal parts."""
    if parts < 1:
        raise UsageError(f"accumulate is {parts}; it must be at least 1")
    if share % parts:
        raise UsageError(
            f"{share} images in each process cannot be accumulated in {parts} equal parts; choose "
            f"a multiple of {parts} for each process with --batch"
        )


def identity(job: Job, options: TrainOptions, world: World) -> dict[str, Any]:
    """What makes two runs the same run; a checkpoint carries it."""
    recipe = {k: v for k, v in record(job.recipe).items() if k != "data"}
    return {
        "graph": job.net.graph.hash,
        "data": job.data.fingerprint + (job.kind if job.kind == "val" else ""),
        "split": _split_of(job),
        "seed": options.seed,
        "recipe": recipe,
        "versions": versions(),
        "world_size": world.size,
        "device": describe_device(job.mode.device),
        "channels_last": options.channels_last,
        "accumulate": options.parts,
        "compile": options.compile,
        "deterministic": options.deterministic,
        "about": {"graph": _describe(job.net), "data": _describe_data(job)},
    }


def _split_of(job: Job) -> str:
    """How many images are trained on, and how many of the training set steer the run."""
    val = len(job.judge.images) if job.kind == "val" else 0
    return f"{len(job.train.images):,} images to train on, {val:,} for validation"


def _describe_data(job: Job) -> str:
    """A set for those who wonder whether it is the same."""
    steered = ", with validation images" if job.kind == "val" else ""
    return f"{job.data.name} ({job.data.where}){steered}"


def _describe(net: Network) -> str:
    """A network for those who wonder whether it is the same."""
    settings = ", ".join(f"{name}={value}" for name, value in net.settings.items())
    return f"{net.name}{f' with {settings}' if settings else ''}, {net.cost.params:,} parameters"


def lock(job: Job, options: TrainOptions, world: World) -> dict[str, Any]:
    """What lock.json holds: the request resolved, with hashes and versions."""
    net, data = job.net, job.data
    return {
        **identity(job, options, world),
        "network": {
            "name": net.name,
            "reference": net.reference,
            "settings": net.settings,
            "spec_sha256": sha256(net.source_text),
        },
        "data_set": {
            "name": data.name,
            "reference": job.reference,
            "where": data.where,
            "train": len(job.train.images),
            "val": len(job.judge.images) if job.kind == "val" else 0,
            "test": len(data.test),
            "classes": list(data.classes),
            "adaptation": str(job.train.adapt),
            "real": data.real,
        },
        "iterations": job.plan.iterations,
        "threads": torch.get_num_threads() if job.mode.device.type == "cpu" else None,
        "eval_every": job.plan.eval_every,
        "log_every": job.plan.log_every,
        "recipe_origin": job.origin,
        "notes": list(job.notes),
    }


# ------------------------------------------------------------------------------- network and data


def input_shape(net: Network) -> tuple[int, ...]:
    """The network's declared input (C, H, W). Raises UsageError where it has several."""
    if len(net.graph.inputs) != 1:
        raise UsageError(
            f"{net.name} has {len(net.graph.inputs)} inputs; one image is what we have"
        )
    return net.graph.inputs[0].type.shape


def classes_of(net: Network) -> int:
    """How many classes a network tells apart: the length of its output."""
    outputs = tuple(net.graph.outputs.values())
    if len(outputs) != 1:
        raise UsageError(f"{net.name} has {len(outputs)} outputs; a classifier has one")
    shape = net.graph[outputs[0]].type.shape
    if len(shape) != 1:
        raise UsageError(f"{net.name} is no classifier: its output is {'x'.join(map(str, shape))}")
    for name, node_id in net.graph.aux.items():
        if (found := net.graph[node_id].type).shape != shape:
            raise UsageError(
                f"the auxiliary output {name} of {net.name} is {found}; to be trained by the same "
                f"labels it must be {shape[0]}, as the output is"
            )
    return shape[0]


def bind_classes(net: Network, data: ImageData) -> Network:
    """The network with as many outputs as the set has classes."""
    has, needs = classes_of(net), len(data.classes)
    if has == needs:
        return net
    if "classes" not in net.parameters:
        raise UsageError(
            f"{net.name} tells {has} classes apart, {data.name} has {needs}, and the network has "
            "no parameter `classes` to bind"
        )
    return net.bind(classes=needs)


def split(data: ImageData, asked: DataSet | None) -> tuple[Images, Images, str]:
    """Images to train on, images that steer the run, and whether these are "val" or "test".

    A recipe's split holds for its own set. It is fixed: it does not depend on the seed.
    """
    if asked is None or asked.name != data.name or (asked.train is None and asked.val is None):
        return data.train, data.test, "test"
    images, val = len(data.train), asked.val or 0
    train = images - val if asked.train is None else asked.train
    if train < 1 or val < 0 or train + val > images:
        raise UsageError(
            f"{data.name} has {images:,} images to train on; they cannot be split into "
            f"{train:,} and {val:,}"
        )
    order = permutation(images, seed=0, epoch=0, slot=SPLIT)
    kept = data.train.part(order[:train].sort().values)
    if not val:
        return kept, data.test, "test"
    return kept, data.train.part(order[images - val :].sort().values), "val"


def shared_statistics(
    train: Images, wanted: tuple[int, ...], recipe: Recipe, workers: Workers, world: World
) -> Statistics:
    """The training set's statistics, measured once for all processes."""
    if train.shape is None and not needs_statistics((*recipe.augment, *recipe.evaluate)):
        channels = wanted[0]
        return Statistics(torch.zeros(wanted), torch.zeros(channels), torch.ones(channels))
    found = measure(train, wanted, recipe.evaluate, workers).tensors() if world.leads else None
    return Statistics(**world.agree(found))


def choose_device(name: str, world: World) -> torch.device:
    """The device a name means, of this process. Raises MissingError where there is none."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UsageError(f"no device `{name}`: give auto, cpu, cuda or cuda:N") from error
    if device.type not in ("cpu", "cuda"):
        raise UsageError(f"no device `{name}`: give auto, cpu, cuda or cuda:N")
    if device.type == "cuda":
        if not torch.cuda.is_available():
            raise MissingError("there is no CUDA device here", "train on the CPU: --device cpu")
        index = device.index if device.index is not None else world.local_rank
        if index >= torch.cuda.device_count():
            count = torch.cuda.device_count()
            raise MissingError(
                f"there is no cuda:{index}; this machine has {count}",
                f"give one of cuda:0 to cuda:{count - 1}",
            )
        device = torch.device("cuda", index)
    return device


def _worker_count(options: TrainOptions, world: World) -> int:
    if options.workers is not None:
        if options.workers < 0:
            raise UsageError(f"workers is {options.workers}; it must not be negative")
        return options.workers
    return min(8, max(1, (os.cpu_count() or 1) // world.size))
