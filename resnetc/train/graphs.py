"""A whole step of training as one CUDA graph: augmentation, forward, backward, update, average.

A small network's step is hundreds of kernels, each shorter than it takes to launch one. A graph is
recorded once and launched as a whole. It works on tensors that stay where they are: before each
replay the host writes the samples' numbers and the rate, and nothing else.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor

from resnetc.train.draws import Samples
from resnetc.train.feed import View, gathered, lies_on
from resnetc.train.job import Job
from resnetc.train.optimizer import rate_on
from resnetc.train.processes import World
from resnetc.train.step import Moment, Step

Work = Callable[[], object]

_WARM_UPS = 3
"""Steps before recording: libraries choose their kernels and take their memory in these."""
_TOLERANCE = 0.05
"""By so much of its length a replayed update may differ from a plain one; where atomic additions
make the order of sums a matter of chance, they do differ."""


class Recorder(Protocol):
    """What turns work into something that can be replayed."""

    def warm(self, work: Work) -> None:
        """Do the work as it will be recorded, where it will be recorded."""

    def record(self, work: Work) -> Work:
        """The work as a replay of itself; whether it is done meanwhile is left open."""


class CudaGraphs:
    """Records CUDA graphs, which share their memory: they are never replayed at once."""

    def __init__(self, device: torch.device) -> None:
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._pool: Any = None

    def warm(self, work: Work) -> None:
        now = torch.cuda.current_stream(self._stream.device)
        self._stream.wait_stream(now)
        with torch.cuda.stream(self._stream):
            work()
        now.wait_stream(self._stream)

    def record(self, work: Work) -> Work:
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool, stream=self._stream):
            work()
        self._pool = graph.pool()
        return graph.replay


def obstacle(job: Job, world: World) -> str | None:
    """Why the steps of a job cannot be recorded, None where they can."""
    device = job.mode.device
    if device.type != "cuda":
        return f"there are none on {device}"
    if world.size > 1:
        return "several processes average their gradients between kernels"
    if not lies_on(job.train, device):
        return "the images do not lie on the device"
    if job.recipe.mix:
        return "mixup and cutmix are drawn on the host for each step"
    if job.memory is not None and any(part.draws for part in job.memory.stretches):
        return "to run a part of the network twice, the host reads what it drew from"
    return None


class RecordedStep:
    """Takes the steps of `step` by replaying them, with batches of `seen`, all on one device.

    Each `Moment` is recorded when it first comes, and that step is replayed, too. The replay is
    held against the plain step; where it differs, or recording fails, `say` is told why, and this
    step and all later ones are plain.
    """

    def __init__(
        self, step: Step, seen: View, recorder: Recorder, say: Callable[[str], None]
    ) -> None:
        self._step, self._seen, self._recorder, self._say = step, seen, recorder, say
        self._samples: Samples | None = None
        self._replays: dict[Moment, Work] = {}
        self._given_up = False
        rate_on(step.state.optimizer, step.mode.device)

    def __call__(self, samples: Samples) -> None:
        """One step by samples, which may lie on the host."""
        moment = self._step.begin()
        self._place(samples)
        if self._given_up:
            self._work(moment)
        elif moment in self._replays:
            self._replays[moment]()
        else:
            self._take_first(moment)
        self._step.end()

    def _place(self, samples: Samples) -> None:
        """Write the samples' numbers where replays read them."""
        there = samples.to(self._step.mode.device)
        if self._samples is None:
            epochs, indices = torch.empty_like(there.epochs), torch.empty_like(there.indices)
            self._samples = Samples(samples.seed, epochs, indices)
        self._samples.epochs.copy_(there.epochs)
        self._samples.indices.copy_(there.indices)

    def _work(self, moment: Moment) -> None:
        assert self._samples is not None
        self._step.work(moment, *gathered(self._seen, self._samples))

    def _take_first(self, moment: Moment) -> None:
        """Record a step and replay it, or take it plainly."""
        before = _Kept(self._step)
        try:
            self._replays[moment] = self._recorded(moment, before)
        except RuntimeError as error:
            self._given_up = True
            self._replays.clear()
            self._say(f"no CUDA graph: {str(error).partition(chr(10))[0]}")
            before.put_back()
            self._work(moment)

    def _recorded(self, moment: Moment, before: _Kept) -> Work:
        """The replay of a step, after one replay. Raises RuntimeError where it cannot be had."""

        def work() -> None:
            self._work(moment)

        for _ in range(_WARM_UPS):
            before.put_back()
            self._recorder.warm(work)
        plain = _Kept(self._step)
        replay = self._recorder.record(work)
        before.put_back()
        replay()
        if not _agree(self._step.state.tensors(), plain.tensors, before.tensors):
            raise RuntimeError("a replayed step was not the step that was recorded")
        return replay


class _Kept:
    """Copies of all that a step changes, and of what it draws from."""

    def __init__(self, step: Step) -> None:
        self._state, self._device = step.state, step.mode.device
        self.tensors = {name: t.clone() for name, t in self._state.tensors().items()}
        self._drawn = torch.get_rng_state()
        if self._device.type == "cuda":
            self._drawn_there = torch.cuda.get_rng_state(self._device)

    def put_back(self) -> None:
        """Make the state what it was, in place. What came since, optimizers begin with zeros."""
        with torch.no_grad():
            for name, tensor in self._state.tensors().items():
                if name in self.tensors:
                    tensor.copy_(self.tensors[name])
                else:
                    tensor.zero_()
        torch.set_rng_state(self._drawn)
        if self._device.type == "cuda":
            torch.cuda.set_rng_state(self._drawn_there, self._device)


def _agree(found: dict[str, Tensor], plain: dict[str, Tensor], before: dict[str, Tensor]) -> bool:
    """Whether two updates of the same state are one but for the order of sums.

    Parameters, buffers, moments and averages are judged each by their own length, counters one by
    one; the loss is what it is where these agree. Waits for the device.
    """
    apart: defaultdict[str, float] = defaultdict(float)
    moved: defaultdict[str, float] = defaultdict(float)
    for name, tensor in plain.items():
        part = name.partition("/")[0]
        if tensor.is_floating_point():
            apart[part] += _square(found[name], tensor)
            moved[part] += _square(tensor, before.get(name, torch.zeros_like(tensor)))
        elif part != "sums" and not torch.equal(found[name], tensor):
            return False
    return all(apart[part] <= _TOLERANCE**2 * moved[part] for part in apart)


def _square(one: Tensor, other: Tensor) -> float:
    """The squared distance of two tensors."""
    return float((one.detach().double() - other.detach().double()).square().sum())
