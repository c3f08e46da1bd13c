"""The loop: steps, readings, evaluations, checkpoints, and an orderly end."""

from __future__ import annotations

import contextlib
import math
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from resnetc.train import checkpoint as checkpoints
from resnetc.train.draws import Order
from resnetc.train.evaluation import Evaluation, evaluate_module
from resnetc.train.feed import batches
from resnetc.train.graphs import CudaGraphs, RecordedStep, obstacle
from resnetc.train.job import Job, input_shape
from resnetc.train.metrics import Metrics, Row
from resnetc.train.norms import measure_norms
from resnetc.train.options import TrainOptions
from resnetc.train.processes import World
from resnetc.train.progress import Reporter
from resnetc.train.run_folder import RunFolder
from resnetc.train.state import State, require_finite, snapshot
from resnetc.train.step import Step, parallel_module
from resnetc.train.stop import StoppedError, StopRequest
from resnetc.train.transforms import size_made

_AGREE_EVERY = 10
"""Steps between two times at which several processes ask each other whether to stop."""


@dataclass
class Trainer:
    """One run, from the state it is given to the end of its plan.

    `identity` goes into every checkpoint. `metrics` is None in processes that do not lead.
    """

    job: Job
    state: State
    world: World
    options: TrainOptions
    run: RunFolder
    reporter: Reporter
    identity: Mapping[str, Any]
    metrics: Metrics | None
    _saved_at: int = -1
    _steps_in_lap: int = 0
    _began: tuple[int, float] = (0, 0.0)

    def __post_init__(self) -> None:
        recipe, seed = self.job.recipe, self.options.seed
        self.order = Order(len(self.job.train.images), recipe.batch, seed, recipe.repeats)
        if self.options.compile:
            self._compile()
        self.parallel = parallel_module(self.state.module, self.world, self.job.mode.device)
        self.step = Step(
            self.state,
            self.parallel,
            self.job.mode,
            recipe,
            size_made(recipe.augment, input_shape(self.job.net)),
            seed,
            self.job.plan.iterations,
            self.options.parts,
        )
        if (parts := self.options.parts) > 1:
            share = self.world.share(recipe.batch)
            self.reporter.note(
                f"{share:,} images go through the network {share // parts:,} at a time"
            )
        self.recorded = self._recorded()
        self._began = self.state.step, self.state.watch.total

    def train(self, stop: StopRequest) -> None:
        """Train to the end of the plan.

        Raises RunError when the training diverges; when asked to stop, StoppedError, for Ctrl-C
        KeyboardInterrupt. Whole checkpoints stay behind.
        """
        self.parallel.train()
        self.state.watch.run()
        for _ in self._steps():
            self.state.judged = None
            self._steps_in_lap += 1
            self._at_boundary()
            if self._must_stop(stop):
                self._leave(stop)
        self.state.watch.pause()

    def _steps(self) -> Iterator[None]:
        """Takes the steps that are left, one each time it is asked."""
        job, world = self.job, self.world
        steps = self.order.steps(self.state.step, job.plan.iterations, world.rank, world.size)
        if self.recorded is None:
            for images, labels in batches(job.train, steps, job.mode.device, job.workers):
                self._step(images, labels)
                yield
        else:
            for samples in steps:
                self.recorded(samples)
                yield

    def _step(self, images: Tensor, labels: Tensor) -> None:
        self.step(images, labels)

    def _compile(self) -> None:
        # The compiler takes seconds to import.
        from resnetc.train.compiling import compile_blocks

        blocks = compile_blocks(self.state.module, self.reporter.note)
        self.reporter.note(
            f"{blocks} repeated blocks are compiled as they first run"
            if blocks
            else "nothing is compiled: the network repeats no block"
        )

    def _recorded(self) -> RecordedStep | None:
        """The step as a CUDA graph, where that is asked for and can be; else it is said why not."""
        job, note = self.job, self.reporter.note
        if not self.options.cuda_graph:
            return None
        against = obstacle(job, self.world)
        if against is None:
            return RecordedStep(self.step, job.train, CudaGraphs(job.mode.device), note)
        note(f"no CUDA graph: {against}")
        return None

    def evaluate(self, kind: str) -> Evaluation:
        """Judge the network as it is, or its average, by the "val" or the "test" images."""
        with self._shown():
            return self._evaluate(kind)

    def conclude(self) -> tuple[Evaluation, dict[str, Tensor]]:
        """The test images' verdict on what the run ends with, and these weights by path."""
        job, state = self.job, self.state
        with self._shown():
            if job.recipe.precise_norm:
                self._settle_norms()
                test = self._evaluate("test")
            else:
                at_hand = state.judged if job.kind == "test" else None
                test = at_hand or self._evaluate("test")
            return test, {path: t.clone() for path, t in state.module.state_dict().items()}

    @contextlib.contextmanager
    def _shown(self) -> Iterator[None]:
        """The module holds what is judged and kept: the average, where there is one."""
        average = self.state.average
        with average.shown() if average else contextlib.nullcontext():
            yield

    def _settle_norms(self) -> None:
        """Take batch norms' statistics from the images of the steps that would come next."""
        job, world, first = self.job, self.world, self.state.step
        count = math.ceil(job.recipe.precise_norm / job.recipe.batch)
        steps = self.order.steps(first, first + count, world.rank, world.size)
        given = batches(job.train, steps, job.mode.device, job.workers)
        measure_norms(self.state.module, (images for images, _ in given), job.mode, world)

    def _evaluate(self, kind: str) -> Evaluation:
        job = self.job
        self.world.spread_buffers(self.state.module)
        return evaluate_module(
            self.state.module,
            job.judge if kind == job.kind else job.test,
            job.data.classes,
            job.mode,
            world=self.world,
            workers=job.workers,
            batch=job.judged_at_once,
        )

    # -------------------------------------------------------------------- between two steps

    def _at_boundary(self) -> None:
        plan, step = self.job.plan, self.state.step
        at_end = step == plan.iterations
        if step % plan.log_every == 0 or at_end:
            self._read()
        if step % plan.test_every == 0 and self.state.schedule.awaits_error:
            self._test_condition()
        evaluates = step % plan.eval_every == 0 or at_end
        if evaluates:
            self._judge()
        every = self.options.checkpoint_every
        due = evaluates if every is None else step % every == 0
        if due or at_end:
            self._save()

    def _read(self) -> None:
        """Take the sums off the device, for which the host waits."""
        state, batch = self.state, self.job.recipe.batch
        loss, right, images = self.world.sum(state.sums.numbers()).tolist()
        seconds = state.watch.lap()
        require_finite(loss, state.step)
        state.train_error = 1.0 - right / images
        lr = state.schedule.lr(state.step - 1)
        state.untested = _plus(state.untested, (right, images))
        state.sums.set(0.0, 0, 0)
        speed = self._steps_in_lap * batch / seconds if seconds > 0 else None
        self._steps_in_lap = 0
        row = Row(
            "train",
            state.step,
            self.order.epoch(state.step),
            loss / images,
            state.train_error,
            lr=lr,
            images_per_second=speed,
            seconds=round(state.watch.total, 3),
        )
        self._record(row)
        self.reporter.training(row, self._seconds_left())
        state.watch.run()

    def _test_condition(self) -> None:
        """Tell the schedule the training error since it was told last, whatever was read between.

        Answers are counted in whole numbers, so that readings lose nothing.
        """
        state = self.state
        _, *since = self.world.sum(state.sums.numbers()).tolist()
        right, images = _plus(state.untested, since)
        # What the sums hold now, a later reading will take off once more.
        state.untested = _plus((0, 0), [-count for count in since])
        state.schedule.after_training(state.step, 1.0 - right / images)

    def _seconds_left(self) -> float:
        """By the mean speed since this process began; evaluations are left out."""
        step, seconds = self._began
        per_step = (self.state.watch.total - seconds) / (self.state.step - step)
        return (self.job.plan.iterations - self.state.step) * per_step

    def _judge(self) -> None:
        state = self.state
        state.watch.pause()
        began = time.perf_counter()
        judged = state.judged = self.evaluate(self.job.kind)
        row = Row(
            "val" if self.job.kind == "val" else "test",
            state.step,
            self.order.epoch(state.step),
            judged.loss if math.isfinite(judged.loss) else None,
            judged.error,
            error_top5=1.0 - judged.top5,
            seconds=round(state.watch.total, 3),
        )
        self._record(row)
        self.reporter.evaluation(row, time.perf_counter() - began)
        if state.schedule.after_evaluation(judged.error):
            lr = state.schedule.lr(state.step)
            self.reporter.note(f"the error has stopped falling: the rate is {lr:.3g} from here on")
        state.watch.run()

    def _record(self, row: Row) -> None:
        if self.metrics is not None:
            self.metrics.add(row)

    def _save(self) -> None:
        """Write a checkpoint of this boundary: all take part, rank 0 writes."""
        state = self.state
        state.watch.pause()
        extra = {"epoch": self.order.epoch(state.step), "identity": dict(self.identity)}
        taken = snapshot(state, self.world, self.job.mode.device, extra)
        if self.world.leads:
            checkpoints.write(self.run.checkpoints, taken)
            checkpoints.prune(self.run.checkpoints, self.options.keep)
        self.world.wait()
        self._saved_at = state.step
        state.watch.run()

    # ----------------------------------------------------------------------------- stopping

    def _must_stop(self, stop: StopRequest) -> bool:
        """Whether to leave at this boundary; several processes leave at the same one."""
        if self.state.step == self.job.plan.iterations:
            return False
        if self.world.size > 1:
            if self.state.step % _AGREE_EVERY:
                return False
            stop.signal = self.world.any(stop.signal)
        return stop.signal != 0

    def _leave(self, stop: StopRequest) -> None:
        if self._saved_at != self.state.step:
            self._save()
        self.state.watch.pause()
        said = (
            f"stopped by {stop.name} at iteration {self.state.step:,} of "
            f"{self.job.plan.iterations:,}, with a checkpoint; go on with the same command and "
            f"--out {self.run.path} --resume"
        )
        if stop.signal != signal.SIGINT:
            raise StoppedError(said)
        self.reporter.note(said)
        raise KeyboardInterrupt


def _plus(counted: tuple[int, int], more: Sequence[float]) -> tuple[int, int]:
    """Right answers and images, and more of them."""
    right, images = more
    return counted[0] + int(right), counted[1] + int(images)
