"""Training a network: the function everything else calls."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from resnetc.atomic import write_text
from resnetc.backends.weights import write_weights
from resnetc.diagnostics import UsageError
from resnetc.train import checkpoint as checkpoints
from resnetc.train.board import Board, require_tensorboard
from resnetc.train.curves import draw_curves
from resnetc.train.deterministic import torch_settings
from resnetc.train.endings import ending_recorded, said_with_what_is_left
from resnetc.train.evaluation import Evaluation
from resnetc.train.job import Job, choose_device, identity, lock, prepare
from resnetc.train.memory import freed_at_once
from resnetc.train.metrics import Metrics
from resnetc.train.options import TrainOptions
from resnetc.train.plainly import said_plainly
from resnetc.train.processes import World, joined
from resnetc.train.progress import make_reporter
from resnetc.train.run_folder import RunFolder, choose_folder, compare
from resnetc.train.state import State, initial_state, restore
from resnetc.train.stop import StopRequest, stop_requests
from resnetc.train.trainer import Trainer
from resnetc.version import __version__

if TYPE_CHECKING:
    from resnetc.driver import Network


@dataclass(frozen=True)
class TrainResult:
    """A finished run.

    `network` is bound to the set's classes; `weights` is the file of its trained weights, by
    parameter path. `test` judges these weights, the last ones; `best_error` is the lowest error
    of any evaluation, in [0, 1]; `real` is false for made-up images.
    """

    run: Path
    weights: Path
    network: Network
    iterations: int
    test: Evaluation
    best_error: float
    train_error: float
    seconds: float
    images_per_second: float
    data: str
    real: bool

    def to_json(self) -> dict[str, Any]:
        return {
            "network": self.network.name,
            "data": self.data,
            "real_data": self.real,
            "iterations": self.iterations,
            "test": self.test.to_json(),
            "test_error": self.test.error,
            "best_error": self.best_error,
            "train_error": self.train_error,
            "seconds": self.seconds,
            "images_per_second": self.images_per_second,
            "run": str(self.run),
            "weights": str(self.weights),
        }


def train(net: Network, options: TrainOptions | None = None) -> TrainResult:
    """Train a network by its recipe; every file goes into the run's folder.

    Under torchrun or srun each process works on its share of the batch, and rank 0 writes. Raises
    MissingError without data or device, UsageError for a request that makes no sense, RunError
    when the training diverges, the disk is full or another process is lost, StoppedError or
    KeyboardInterrupt when asked to stop.
    """
    options = options or TrainOptions()
    if options.tensorboard:
        require_tensorboard()
    settings = torch_settings(deterministic=options.deterministic, threads=options.threads)
    freeing = freed_at_once(options.memory_limit)
    all_together = joined(options.device, options.peer_timeout)
    with stop_requests() as stop, settings, freeing, all_together as world, said_plainly():
        device = choose_device(options.device, world)
        chosen = choose_folder(options.out, net.name, options.resume) if world.leads else None
        run: RunFolder = world.agree(chosen)
        return _train(net, options, world, device, run, stop)


def _train(
    net: Network,
    options: TrainOptions,
    world: World,
    device: torch.device,
    run: RunFolder,
    stop: StopRequest,
) -> TrainResult:
    said: list[str] = []
    saved = checkpoints.newest(run.checkpoints, said.append) if options.resume else None
    _require_one_start(world, saved.step if saved else None)
    job = prepare(net, options, world, device, run.read_statistics() if saved else None)
    same = identity(job, options, world)
    _require_one_run(world, same)
    if options.replays is not None:
        compare(options.replays, same, said.append, "this is not the run of the lock file", _AS_WAS)
    state = initial_state(job, options.seed, world, options.parts)
    if saved is not None:
        compare(saved.state["identity"], same, said.append, advice=_advice(run, net))
        restore(state, saved, world, device)
        said.append(f"going on from iteration {state.step:,}")
    elif world.leads:
        run.write_start(job.net, lock(job, options, world), job.statistics)
    with ending_recorded(run.ending, state) if world.leads else contextlib.nullcontext():
        start = [*job.headline(world, options.seed), *said, f"run: {run.path}"]
        return _go_on(job, state, world, options, run, same, start, stop)


def _go_on(
    job: Job,
    state: State,
    world: World,
    options: TrainOptions,
    run: RunFolder,
    same: dict[str, Any],
    start: list[str],
    stop: StopRequest,
) -> TrainResult:
    """From a step boundary to the end of the plan; `start` is said before."""
    reporter = make_reporter(
        job.plan.iterations, speaks=world.leads, shows_progress=options.progress
    )
    metrics: Metrics | None = None
    try:
        for line in start:
            reporter.note(line)
        if world.leads:
            board = Board(run.board, state.step) if options.tensorboard else None
            metrics = Metrics(run.path, state.step, board, reporter.note)
        trainer = Trainer(job, state, world, options, run, reporter, same, metrics)
        with said_with_what_is_left(run.checkpoints):
            with stop.at_boundaries():
                trainer.train(stop)
            return _finish(trainer)
    finally:
        reporter.close()
        if metrics is not None:
            metrics.close()


def _require_one_start(world: World, step: int | None) -> None:
    """Raise UsageError where this process finds another checkpoint to go on from than process 0."""
    first = world.agree(step)
    if step != first:
        found, its = (
            "no checkpoint" if at is None else f"that of iteration {at:,}" for at in (step, first)
        )
        raise UsageError(
            f"to go on from, process {world.rank} finds {found} and process 0 {its}; --out must "
            "lie on a disk that all hosts share"
        )


def _require_one_run(world: World, same: dict[str, Any]) -> None:
    """Raise UsageError where this process is about to do something else than process 0."""
    trouble = f"process {world.rank} would not do what process 0 does"
    advice = "all hosts need the same spec, data and command line"
    compare(world.agree(same), same, lambda _: None, trouble, advice)


_AS_WAS = "bring back what was there, or train anew by the network's name"


def _advice(run: RunFolder, net: Network) -> str:
    kept = f"{run.path / 'spec.rnet'}:{net.reference.rpartition(':')[2]}"
    return (
        "give the same request again, or start a new run with another --out; how networks "
        f"differ is shown by: resnetc diff {kept} {net.reference}"
    )


def _finish(trainer: Trainer) -> TrainResult:
    """Judge the last weights by the test images, and write them, the curves and the summary."""
    job, state, run = trainer.job, trainer.state, trainer.run
    test, weights = trainer.conclude()
    rows = trainer.metrics.rows if trainer.metrics else []
    seconds = state.watch.total
    result = TrainResult(
        run=run.path,
        weights=run.weights,
        network=job.net,
        iterations=state.step,
        test=test,
        best_error=min([row.error for row in rows if row.kind == job.kind] or [test.error]),
        train_error=state.train_error if state.train_error is not None else 1.0,
        seconds=seconds,
        images_per_second=state.step * job.recipe.batch / seconds if seconds else 0.0,
        data=job.data.name,
        real=job.data.real,
    )
    if trainer.world.leads:
        facts = {"network": job.net.name, "graph_hash": job.net.graph.hash, "version": __version__}
        write_weights(run.weights, weights, facts)
        made_up = "" if job.data.real else " (made-up images)"
        draw_curves({job.net.name: rows}, run.curves, f"{job.net.name} on {job.data.name}{made_up}")
        write_text(run.summary, json.dumps(result.to_json(), indent=2) + "\n")
    trainer.world.wait()
    return result
