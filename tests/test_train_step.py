"""The training step: what the host waits for, what can be replayed, compiled and accumulated."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from replaying import Replays
from safetensors.torch import load_file
from tiny_networks import tiny
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from resnetc.backends.torch import blank_module, build_module
from resnetc.diagnostics import UsageError
from resnetc.driver import Network, load
from resnetc.recipes import (
    BinaryCrossEntropy,
    Cutmix,
    Ema,
    HorizontalFlip,
    Lamb,
    Mixup,
    Pad,
    PcaColor,
    Progressive,
    RandomCrop,
    Recipe,
    Sgd,
    SubtractMean,
)
from resnetc.recipes import (
    Step as Drops,
)
from resnetc.train import TrainOptions, TrainResult, train, trainer, transforms
from resnetc.train.averaging import Average
from resnetc.train.datasets import TensorImages
from resnetc.train.draws import Order
from resnetc.train.evaluation import Mode
from resnetc.train.feed import Workers, batches, gathered, view
from resnetc.train.graphs import RecordedStep, obstacle
from resnetc.train.norms import group_norms
from resnetc.train.optimizer import make_optimizer
from resnetc.train.processes import World
from resnetc.train.schedule import Schedule
from resnetc.train.state import State, Sums
from resnetc.train.step import Step
from resnetc.train.transforms import Statistics

QUICK = TrainOptions(
    data="digits", threads=1, progress=False, deterministic=True, device="cpu", batch=32,
    iterations=12,
)  # fmt: skip
CPU, META = torch.device("cpu"), torch.device("meta")


@pytest.fixture
def net(tmp_path: Path) -> Network:
    return tiny(tmp_path)


def _state(net: Network, recipe: Recipe, device: torch.device = CPU) -> State:
    if device == META:
        module = blank_module(net.graph)
    else:
        module = build_module(net.graph, seed=0).to(device)
    if recipe.norm_images:
        group_norms(module, recipe.norm_images)
    optimizer = make_optimizer(module, net.graph, recipe.optimizer)
    average = Average(module, recipe.ema) if recipe.ema else None
    return State(module, optimizer, Schedule(recipe), Sums.on(device), average)


class Numberless(Mode):
    """Of the meta device, which has no autocast."""

    def autocast(self) -> Any:
        return contextlib.nullcontext()


def _step(net: Network, recipe: Recipe, device: torch.device = CPU, accumulate: int = 1) -> Step:
    state, size = _state(net, recipe, device), (8, 8)
    mode = (Numberless if device == META else Mode)(device, recipe.precision)
    return Step(state, state.module.train(), mode, recipe, size, 0, 100, accumulate)


def _images(count: int = 64, channels: int = 1) -> TensorImages:
    generator = torch.Generator().manual_seed(1)
    pixels = torch.randint(0, 256, (count, channels, 8, 8), generator=generator)
    labels = torch.randint(0, 10, (count,), generator=generator)
    return TensorImages(pixels.to(torch.uint8), labels)


def _statistics(channels: int = 1) -> Statistics:
    return Statistics(
        torch.full((channels, 8, 8), 0.5), torch.zeros(channels), torch.ones(channels)
    )


# ----------------------------------------------------------------------- nothing is waited for


class Copies(TorchDispatchMode):
    """Collects copies from the host that the host waits for."""

    def __init__(self) -> None:
        super().__init__()
        self.waited: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is torch.ops.aten._to_copy.default and args[0].is_cpu:
            there = kwargs.get("device")
            if there is not None and there != CPU and not kwargs.get("non_blocking"):
                self.waited.append(str(func))
        return func(*args, **kwargs)


EVERYTHING = Recipe(
    optimizer=Sgd(lr=0.1),
    schedule=(Drops(at=(2,)),),
    iterations=10,
    norm_images=8,
    ema=Ema(decay=0.9, every=2),
    mix=(Mixup(0.2), Cutmix(1.0)),
    label_smoothing=0.1,
    resizing=Progressive(start=0.5, increment=2),
)


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe(),
        EVERYTHING,
        replace(EVERYTHING, optimizer=Lamb(), loss=BinaryCrossEntropy()),
    ],
    ids=["plain", "everything", "lamb"],
)
def test_a_step_waits_for_no_number(recipe: Recipe, net: Network) -> None:
    """On torch's meta device there are no numbers: whoever looks at one fails. Batches are made
    and steps taken there."""
    step = _step(net, recipe, META)
    moved = (SubtractMean(), Pad(1), RandomCrop(8), HorizontalFlip())
    seen = view(_images(), (1, 8, 8), moved, _statistics()).on(META)
    plan = Order(64, 16, seed=0).steps(0, 4)
    with Copies() as copies:
        for images, labels in batches(seen, plan, META, Workers()):
            step(images, labels)
    assert step.state.step == 4
    assert copies.waited == []


@pytest.mark.parametrize(
    "looking",
    [
        lambda t: t.sum().item(),
        lambda t: t[t > 0],
        lambda t: t.nonzero(),
        lambda t: t.cpu(),
        lambda t: bool((t > 0).all()),
        lambda t: t.tolist(),
    ],
)
def test_looking_at_a_number_would_be_noticed(looking: Callable[[Tensor], object]) -> None:
    with pytest.raises((RuntimeError, NotImplementedError)):
        looking(torch.empty(3, device="meta"))
    with Copies() as copies:
        torch.zeros(3).to("meta")
        torch.zeros(3).to("meta", non_blocking=True)
    assert len(copies.waited) == 1


def test_colours_are_brought_to_a_device_once() -> None:
    seen = view(_images(channels=3), (3, 8, 8), (PcaColor(0.1),), _statistics(3)).on(META)
    plan = Order(64, 16, seed=0).steps(0, 2)
    list(batches(seen, plan, META, Workers()))
    with Copies() as copies:
        list(batches(seen, plan, META, Workers()))
    assert copies.waited == []


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_step_on_cuda_waits_for_nothing(net: Network) -> None:  # pragma: no cover
    cuda = torch.device("cuda", 0)
    step = _step(net, EVERYTHING, cuda)
    moved = (SubtractMean(), Pad(1), RandomCrop(8), HorizontalFlip())
    seen = view(_images(), (1, 8, 8), moved, _statistics()).on(cuda)
    feed = batches(seen, Order(64, 16, seed=0).steps(0, 6), cuda, Workers())
    step(*next(feed))
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for images, labels in feed:
            step(images, labels)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_a_gathered_batch_is_that_of_the_feed(monkeypatch: pytest.MonkeyPatch) -> None:
    moved = (SubtractMean(), Pad(1), RandomCrop(8), HorizontalFlip())
    seen = view(_images(), (1, 8, 8), moved, _statistics(), seed=5)
    plan = Order(64, 16, seed=5).steps(0, 8)
    fed = list(batches(seen, plan, CPU, Workers()))
    alone = [torch.stack([_alone(seen, e, i) for e, i in _keys(samples)]) for samples in plan]
    _as_on_a_device(monkeypatch)
    for samples, (images, labels), one_by_one in zip(plan, fed, alone, strict=True):
        again, its_labels = gathered(seen, samples)
        assert torch.equal(again, images)
        assert torch.equal(its_labels, labels)
        assert torch.equal(images, one_by_one)


def _keys(samples: Any) -> Iterator[tuple[int, int]]:
    return zip(samples.epochs.tolist(), samples.indices.tolist(), strict=True)


def _alone(seen: Any, epoch: int, index: int) -> Tensor:
    """A sample that never was in a batch."""
    one = replace(seen, alone=len(seen.transforms))
    return transforms.as_float(one.prepare(epoch, index)[None])[0]


# ------------------------------------------------------------------------------ recorded steps


def _as_on_a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """Crops and flips by the operations of a GPU, which look at no number."""
    monkeypatch.setattr(transforms, "_windows", transforms._gathered)
    monkeypatch.setattr(transforms, "_turned", transforms._turned_at_once)


@contextlib.contextmanager
def _replaying(recorder: Replays) -> Iterator[None]:
    """Runs on the CPU record and replay their steps."""
    with pytest.MonkeyPatch.context() as patch:
        _as_on_a_device(patch)
        patch.setattr(trainer, "obstacle", lambda job, world: None)
        patch.setattr(trainer, "CudaGraphs", lambda device: recorder)
        yield


def _same_weights(one: TrainResult, other: TrainResult) -> bool:
    ours, theirs = load_file(one.weights), load_file(other.weights)
    return ours.keys() == theirs.keys() and all(torch.equal(ours[n], theirs[n]) for n in ours)


SCHEDULE = "schedule=[step(at=[4, 8])]"


@pytest.mark.parametrize(
    ("name", "overrides", "accumulate", "recorded"),
    [
        ("tiny", (), 1, 1),
        ("tiny", ("optimizer.form=torch", "optimizer.decay_norm=false"), 1, 1),
        ("tiny", ("optimizer=lamb(lr=0.01)",), 1, 1),
        ("dropping", ("ema=ema(decay=0.9, every=3)",), 1, 2),
        ("tiny", ("schedule=[warmup(lr=0.01, iterations=4, ramp=true), cosine]", "ema=ema"), 1, 2),
        ("tiny", ("norm_images=8", "precision=bf16"), 2, 1),
        ("tiny", ("resizing=progressive(start=0.5, increment=2)", "label_smoothing=0.1"), 1, 3),
    ],
    ids=["caffe", "torch", "lamb", "average", "warm-up", "accumulated", "resizing"],
)
def test_replayed_steps_give_the_weights_of_plain_ones(
    name: str, overrides: tuple[str, ...], accumulate: int, recorded: int, tmp_path: Path
) -> None:
    net = tiny(tmp_path, name)
    fixed = () if any("schedule" in text for text in overrides) else (SCHEDULE,)
    asked = replace(QUICK, overrides=(*fixed, *overrides), accumulate=accumulate)
    plain = train(net, replace(asked, out=tmp_path / "plain"))
    recorder = Replays()
    with _replaying(recorder):
        other = train(net, replace(asked, cuda_graph=True, out=tmp_path / "replayed"))
    assert (recorder.recorded, recorder.replayed) == (recorded, 12)
    assert _same_weights(plain, other)
    assert other.train_error == plain.train_error


def test_a_replayed_run_goes_on_bit_for_bit(tmp_path: Path) -> None:
    """Plain steps, then replayed ones, then plain ones: one run."""
    net = tiny(tmp_path, "dropping")
    asked = replace(QUICK, overrides=(SCHEDULE, "ema=ema(decay=0.9)"), checkpoint_every=4)
    whole = train(net, replace(asked, out=tmp_path / "whole"))
    parts = replace(asked, out=tmp_path / "parts", resume=True)
    _train_to(net, parts, 4)
    recorder = Replays()
    with _replaying(recorder):
        _train_to(net, replace(parts, cuda_graph=True), 8)
    assert recorder.replayed == 4
    assert _same_weights(whole, train(net, parts))


def _train_to(net: Network, options: TrainOptions, last: int) -> None:
    """Train as far as a step, and be interrupted."""

    def boundary(self: trainer.Trainer) -> None:
        at_boundary(self)
        if self.state.step == last:
            raise KeyboardInterrupt

    at_boundary = trainer.Trainer._at_boundary
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer.Trainer, "_at_boundary", boundary)
        with pytest.raises(KeyboardInterrupt):
            train(net, options)


def _taken(net: Network, recorder: Any, said: list[str], recipe: Recipe) -> State:
    """The state after six recorded steps."""
    step = _step(net, recipe)
    seen = view(_images(), (1, 8, 8), (Pad(1), RandomCrop(8)), _statistics())
    with pytest.MonkeyPatch.context() as patch:
        _as_on_a_device(patch)
        recorded = RecordedStep(step, seen, recorder, said.append)
        for samples in Order(64, 16, seed=0).steps(0, 6):
            recorded(samples)
    return step.state


RULE = Recipe(optimizer=Sgd(lr=0.1), schedule=(Drops(at=(3,)),), iterations=6, ema=Ema(0.5, 2))


def _plain(net: Network) -> State:
    step = _step(net, RULE)
    seen = view(_images(), (1, 8, 8), (Pad(1), RandomCrop(8)), _statistics())
    for images, labels in batches(seen, Order(64, 16, seed=0).steps(0, 6), CPU, Workers()):
        step(images, labels)
    return step.state


def _equal(one: State, other: State) -> bool:
    ours, theirs = one.tensors(), other.tensors()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[n], theirs[n]) for n in ours)


def test_what_cannot_be_recorded_is_done_plainly(net: Network) -> None:
    class Failing(Replays):
        def record(self, work: Callable[[], object]) -> Callable[[], object]:
            super().record(work)
            raise RuntimeError("operation not permitted when stream is capturing\nmore of it")

    said: list[str] = []
    assert _equal(_taken(net, failing := Failing(), said, RULE), _plain(net))
    assert said == ["no CUDA graph: operation not permitted when stream is capturing"]
    assert failing.recorded == 1


def test_a_replay_that_is_another_step_is_not_used(net: Network) -> None:
    spoilt: list[nn.Parameter] = []
    real = _step

    def spoil() -> None:
        with torch.no_grad():
            spoilt[0].add_(0.01)

    def remembered(*given: Any) -> Step:
        step = real(*given)
        spoilt[:] = list(step.state.module.parameters())
        return step

    said: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(f"{__name__}._step", remembered)
        state = _taken(net, recorder := Replays(spoil), said, RULE)
    assert said == ["no CUDA graph: a replayed step was not the step that was recorded"]
    assert recorder.replayed == 1
    assert _equal(state, _plain(net))


def test_why_steps_are_not_recorded(net: Network, capfd: pytest.CaptureFixture[str]) -> None:
    from types import SimpleNamespace

    def job(device: str = "cuda:0", there: str = "cpu", **recipe: Any) -> Any:
        seen = view(_images(), (1, 8, 8), (), None).on(torch.device(there))
        mode, made = Mode(torch.device(device)), Recipe(**recipe)
        return SimpleNamespace(mode=mode, train=seen, recipe=made, memory=None)

    assert obstacle(job("cpu"), World()) == "there are none on cpu"
    assert "several processes" in str(obstacle(job(), World(0, 2)))
    assert "do not lie on the device" in str(obstacle(job(), World()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("resnetc.train.graphs.lies_on", lambda seen, device: True)
        assert "mixup" in str(obstacle(job(mix=(Mixup(0.2),)), World()))
        assert obstacle(job(), World()) is None
    train(net, replace(QUICK, iterations=1, cuda_graph=True, out=Path(net.reference).parent / "on"))
    assert "no CUDA graph: there are none on cpu" in capfd.readouterr().err
    train(net, replace(QUICK, iterations=1, out=Path(net.reference).parent / "left"))
    assert "CUDA graph" not in capfd.readouterr().err


# -------------------------------------------------------------------------------- accumulation


@pytest.mark.parametrize("aux", [False, True])
def test_parts_of_a_batch_are_one_step(aux: bool, net: Network) -> None:
    """With batch norms over 8 images at a time, four parts of 8 are the whole batch of 32."""
    recipe = Recipe(
        optimizer=Sgd(lr=0.1), norm_images=8, label_smoothing=0.1, mix=(Mixup(0.5),) if aux else ()
    )
    whole, parts = _step(net, recipe), _step(net, recipe, accumulate=4)
    images, labels = torch.rand(32, 1, 8, 8), torch.arange(32) % 10
    for step in (whole, parts):
        for _ in range(3):
            step(images, labels)
    ours, theirs = parts.state.tensors(), whole.state.tensors()
    for name in theirs:
        assert torch.allclose(ours[name].double(), theirs[name].double(), rtol=1e-4, atol=1e-6), (
            name
        )
    assert not all(torch.equal(ours[n], theirs[n]) for n in ours)  # it did go in parts


def test_gradients_are_averaged_over_processes_with_the_last_part_only(net: Network) -> None:
    class Watched(nn.parallel.DistributedDataParallel):
        """As far as a step knows it; notes how each part was run."""

        def __init__(self, module: nn.Module) -> None:
            nn.Module.__init__(self)
            self.module, self.kept, self.seen = module, 0, []

        @contextlib.contextmanager
        def no_sync(self) -> Iterator[None]:
            self.kept += 1
            yield
            self.kept -= 1

        def forward(self, *given: Any) -> Any:
            made = self.module(*given)
            made.register_hook(lambda _: self.seen.append(self.kept))
            return made

    step = _step(net, Recipe(), accumulate=3)
    step.parallel = watched = Watched(step.state.module)
    step(torch.rand(12, 1, 8, 8), torch.zeros(12, dtype=torch.int64))
    assert watched.seen == [1, 1, 0]  # in the backward pass, where gradients are sent


def test_parts_must_be_equal(
    net: Network, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    train(net, replace(QUICK, accumulate=4, iterations=1, out=tmp_path / "equal"))
    assert "32 images go through the network 8 at a time" in capfd.readouterr().err
    for parts, message in ((5, "in 5 equal parts"), (0, "must be at least 1")):
        with pytest.raises(UsageError, match=message):
            train(net, replace(QUICK, accumulate=parts, out=tmp_path / "run"))


# ------------------------------------------------------------------------------ compiled blocks

NON_LEAVES = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")
"""torch's compiler looks at the gradients of what flows into a block."""

REPEATING = """rnet 1

block basic(width: int, stride: int = 1) {
  residual {
    conv1: conv(3x3, width, stride=stride) -> bn1: norm -> act
    conv2: conv(3x3, width) -> bn2: norm
  }
}

network deep(classes: int = 10) {
  input 1x8x8
  conv1: conv(3x3, 4) -> bn1: norm -> act
  layer1: basic(4) * 4
  layer2: basic(8, stride=if first then 2 else 1) * 4
  gap -> flatten -> fc: linear(classes)
}
"""


@pytest.fixture
def deep(tmp_path: Path) -> Network:
    path = tmp_path / "deep.rnet"
    path.write_text(REPEATING)
    return load(f"{path}:deep")


@pytest.fixture
def counter() -> Iterator[Any]:
    from torch._dynamo.testing import CompileCounter

    torch._dynamo.reset()
    yield CompileCounter()
    torch._dynamo.reset()


@NON_LEAVES
def test_a_block_is_compiled_once_however_often_it_stands_there(
    deep: Network, counter: Any
) -> None:
    from resnetc.train.compiling import compile_blocks

    plain, compiled = build_module(deep.graph, seed=0), build_module(deep.graph, seed=0)
    said: list[str] = []
    sizes: list[Any] = []

    def watching(graph: Any, inputs: Any) -> Any:
        sizes.extend(size for given in inputs for size in getattr(given, "shape", (given,)))
        return counter(graph, inputs)

    assert compile_blocks(compiled, said.append, watching) == 8
    image = torch.randn(2, 1, 8, 8)
    compiled.eval()(image)
    assert counter.frame_count == 0  # evaluation stays as it is
    for module in (plain, compiled):
        for _ in range(2):
            module.train()(image).square().mean().backward()
    assert counter.frame_count == 3  # 4 to 4, 4 to 8 and 8 to 8 channels
    assert {type(size) for size in sizes} == {int}  # code for these shapes, not for any
    assert said == []
    for (name, ours), theirs in zip(compiled.named_parameters(), plain.parameters(), strict=True):
        assert torch.equal(ours.grad, theirs.grad), name
    assert compiled.state_dict().keys() == plain.state_dict().keys()


@NON_LEAVES
def test_what_cannot_be_compiled_runs_as_it_is(deep: Network) -> None:
    from resnetc.train.compiling import compile_blocks

    def broken(graph: Any, inputs: Any) -> Any:
        raise RuntimeError("no compiler here")

    torch._dynamo.reset()
    plain, compiled = build_module(deep.graph, seed=0), build_module(deep.graph, seed=0)
    said: list[str] = []
    compile_blocks(compiled, said.append, broken)
    image = torch.randn(2, 1, 8, 8)
    assert torch.equal(compiled(image), plain(image))
    assert len(said) == 1
    assert "no compiler here" in said[0]
    torch._dynamo.reset()


@NON_LEAVES
def test_a_compiled_run_says_what_it_does(
    deep: Network, net: Network, tmp_path: Path, counter: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    from resnetc.train import compiling

    with pytest.MonkeyPatch.context() as patch:
        real = compiling.compile_blocks
        patch.setattr(compiling, "compile_blocks", lambda module, say: real(module, say, counter))
        asked = replace(QUICK, iterations=2, compile=True, recipe="digits")
        one = train(deep, replace(asked, out=tmp_path / "compiled"))
        assert "8 repeated blocks are compiled as they first run" in capfd.readouterr().err
        train(net, replace(asked, out=tmp_path / "nothing"))
        assert "the network repeats no block" in capfd.readouterr().err
    assert counter.frame_count == 3
    assert _same_weights(one, train(deep, replace(asked, compile=False, out=tmp_path / "plain")))
