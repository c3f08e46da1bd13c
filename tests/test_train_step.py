"""The training step: what the host waits for, what can be compiled and accumulated."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from steps import (
    CPU,
    META,
    QUICK,
    a_step,
    as_on_a_device,
    plain_statistics,
    random_images,
    same_weights,
)
from tiny_networks import tiny
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from resnetc.backends.torch import build_module
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
from resnetc.train import train, transforms
from resnetc.train.draws import Order
from resnetc.train.feed import Workers, batches, gathered, view


@pytest.fixture
def net(tmp_path: Path) -> Network:
    return tiny(tmp_path)


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
    step = a_step(net, recipe, META)
    moved = (SubtractMean(), Pad(1), RandomCrop(8), HorizontalFlip())
    seen = view(random_images(), (1, 8, 8), moved, plain_statistics()).on(META)
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
    seen = view(random_images(channels=3), (3, 8, 8), (PcaColor(0.1),), plain_statistics(3)).on(
        META
    )
    plan = Order(64, 16, seed=0).steps(0, 2)
    list(batches(seen, plan, META, Workers()))
    with Copies() as copies:
        list(batches(seen, plan, META, Workers()))
    assert copies.waited == []


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_step_on_cuda_waits_for_nothing(net: Network) -> None:  # pragma: no cover
    cuda = torch.device("cuda", 0)
    step = a_step(net, EVERYTHING, cuda)
    moved = (SubtractMean(), Pad(1), RandomCrop(8), HorizontalFlip())
    seen = view(random_images(), (1, 8, 8), moved, plain_statistics()).on(cuda)
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
    seen = view(random_images(), (1, 8, 8), moved, plain_statistics(), seed=5)
    plan = Order(64, 16, seed=5).steps(0, 8)
    fed = list(batches(seen, plan, CPU, Workers()))
    alone = [torch.stack([_alone(seen, e, i) for e, i in _keys(samples)]) for samples in plan]
    as_on_a_device(monkeypatch)
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


# -------------------------------------------------------------------------------- accumulation


@pytest.mark.parametrize("aux", [False, True])
def test_parts_of_a_batch_are_one_step(aux: bool, net: Network) -> None:
    """With batch norms over 8 images at a time, four parts of 8 are the whole batch of 32."""
    recipe = Recipe(
        optimizer=Sgd(lr=0.1), norm_images=8, label_smoothing=0.1, mix=(Mixup(0.5),) if aux else ()
    )
    whole, parts = a_step(net, recipe), a_step(net, recipe, accumulate=4)
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

    step = a_step(net, Recipe(), accumulate=3)
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
    assert said == []
    assert counter.frame_count == 3  # 4 to 4, 4 to 8 and 8 to 8 channels
    assert {type(size) for size in sizes} == {int}  # code for these shapes, not for any
    for (name, ours), theirs in zip(compiled.named_parameters(), plain.parameters(), strict=True):
        assert torch.equal(ours.grad, theirs.grad), name
    assert compiled.state_dict().keys() == plain.state_dict().keys()


@pytest.mark.slow
@NON_LEAVES
def test_compiled_code_keeps_no_masks_on_the_cpu(deep: Network) -> None:
    """They took as long to write and read as all else in a block."""
    from resnetc.train.compiling import compile_blocks

    torch._dynamo.reset()
    plain, compiled = build_module(deep.graph, seed=0), build_module(deep.graph, seed=0)
    said: list[str] = []
    compile_blocks(compiled, said.append)
    image = torch.randn(2, 1, 8, 8)
    kept: set[torch.dtype] = set()

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept.add(tensor.dtype)
        return tensor

    for _ in range(2):  # what is kept is told by code that has been compiled
        kept.clear()
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            compiled.train()(image).square().mean().backward()
        plain.train()(image).square().mean().backward()
    assert kept == {torch.float32}
    assert said == []
    for (name, ours), theirs in zip(compiled.named_parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, msg=name, rtol=1e-3, atol=1e-4)
    torch._dynamo.reset()


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
    assert same_weights(one, train(deep, replace(asked, compile=False, out=tmp_path / "plain")))
