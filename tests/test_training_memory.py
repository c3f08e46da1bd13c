"""What a training step holds, from the graph, beside what torch holds; and what to recompute."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import deepcopy
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from resnetc.analysis.footprint import Setting, input_bytes, pieces
from resnetc.analysis.recompute import Schedule, Segment
from resnetc.backends.torch import build_module
from resnetc.backends.torch.execution import execution
from resnetc.backends.torch.memory import Copies, StepMemory
from resnetc.backends.torch.recompute import recompute
from resnetc.driver import Network, load
from resnetc.ir import Graph

SPEC = """
use resnet { basic }

block noisy(width: int) {
  residual {
    conv1: conv(3x3, width) -> bn1: norm -> act -> dropout(0.2)
    conv2: conv(3x3, width) -> bn2: norm -> drop_path(0.3)
  }
}

## A chain of blocks that draw, and one of them that stands alone.
network drawn {
  input 3x16x16
  conv1: conv(3x3, 8) -> bn1: norm -> act
  layer1: noisy(8) * 4
  alone: noisy(8)
  maxpool(3x3, stride=2)
  layer2: basic(16, stride=2) * 2
  gap -> flatten -> fc: linear(10)
}

## One block that is called three times.
network again {
  input 3x16x16
  conv1: conv(3x3, 8)
  same: noisy(8)
  reuse same * 2 as more
  gap -> flatten -> fc: linear(10)
}
"""

SMALL = """
use resnet { basic }

network small {
  input 3x8x8
  layer1: basic(4, stride=if first then 2 else 1) * 2
  gap -> flatten -> fc: linear(10)
}
"""


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Network:
    file: Path = tmp_path_factory.mktemp("specs") / "drawn.rnet"
    file.write_text(SPEC.partition("## One block that is called")[0])
    return load(f"{file}:drawn")


def _images(graph: Graph, batch: int) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(batch, *graph.inputs[0].type.shape, generator=generator)


def _results(given: Any) -> list[Tensor]:
    return list(given.values()) if isinstance(given, dict) else [given]


def _step(module: nn.Module, images: Tensor) -> None:
    """Forward and backward, from one state of the generators."""
    torch.manual_seed(3)
    labels = torch.arange(len(images)) % 10
    losses = [F.cross_entropy(each, labels) for each in _results(module(images))]
    torch.stack(losses).sum().backward()  # type: ignore[no-untyped-call]


# --------------------------------------------------------------------------- what torch holds


def _held(module: nn.Module, images: Tensor, precision: str) -> int:
    """Bytes that torch holds after a forward pass, weights aside: every tensor once."""
    sizes: dict[int, int] = {}
    alive = []

    def pack(tensor: Tensor) -> Tensor:
        alive.append(tensor.detach())
        sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    low = torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16")
    hooks: Any = torch.autograd.graph.saved_tensors_hooks
    with hooks(pack, lambda tensor: tensor), low:
        results = _results(module(images))
    for tensor in (*results, images):
        pack(tensor)
    own = {t.untyped_storage().data_ptr() for t in (*module.parameters(), *module.buffers())}
    return sum(size for place, size in sizes.items() if place not in own)


@pytest.mark.parametrize(
    ("name", "precision"),
    [
        ("resnet20", "fp32"),
        ("resnet20", "bf16"),
        ("shufflenet_v2_x0_5", "fp32"),
        ("mobilenet_v3_small", "fp32"),
        pytest.param("alexnet", "bf16", marks=pytest.mark.slow),
        pytest.param("convnext_tiny", "fp32", marks=pytest.mark.slow),
        pytest.param("resnest14d", "fp32", marks=pytest.mark.slow),
        pytest.param("densenet121", "bf16", marks=pytest.mark.slow),
    ],
)
def test_what_is_held_is_what_torch_holds(name: str, precision: Any) -> None:
    graph, setting = load(name).graph, Setting(2, precision)
    found = sum(piece.kept for piece in pieces(graph, execution(graph), setting))
    found += input_bytes(graph, setting)
    held = _held(build_module(graph, seed=0), _images(graph, 2), precision)
    assert found == (held if precision == "fp32" else pytest.approx(held, rel=2e-3))


@pytest.mark.parametrize("batch", [1, 5])
def test_what_draws_is_held_to_the_byte(drawn: Network, batch: int) -> None:
    setting = Setting(batch)
    found = sum(p.kept for p in pieces(drawn.graph, execution(drawn.graph), setting))
    module = build_module(drawn.graph, seed=0)
    held = _held(module, _images(drawn.graph, batch), "fp32")
    assert found + input_bytes(drawn.graph, setting) == held


class _Alive(TorchDispatchMode):
    """The most bytes of tensors alive after any op."""

    def __init__(self, known: Sequence[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.known = {tensor.untyped_storage()._cdata for tensor in known}
        self.alive: dict[int, tuple[StorageWeakRef, int]] = {}
        self.peak = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> object:
        made = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, Tensor):
                storage = tensor.untyped_storage()
                if storage._cdata not in self.known:
                    self.alive[storage._cdata] = StorageWeakRef(storage), storage.nbytes()  # type: ignore[no-untyped-call]
        self.alive = {key: held for key, held in self.alive.items() if not held[0].expired()}  # type: ignore[no-untyped-call]
        self.peak = max(self.peak, sum(size for _, size in self.alive.values()))
        return made


def _measured(graph: Graph, memory: StepMemory, segments: Sequence[Segment]) -> int:
    """The peak of a step of the live module, its weights and images included."""
    module = build_module(graph, seed=0)
    recompute(module, memory.stretches(memory.choice(segments)))
    images = _images(graph, memory.setting.batch)
    own = [*module.parameters(), *module.buffers(), images]
    with _Alive(own) as alive:
        _step(module, images)
    return int(alive.peak + sum(tensor.nbytes for tensor in own))


@pytest.mark.parametrize(("name", "batch"), [("resnet20", 16), ("drawn", 16)])
@pytest.mark.parametrize("share", [1.0, 0.75, 0.0])
def test_the_peak_is_what_is_alive(drawn: Network, name: str, batch: int, share: float) -> None:
    graph = drawn.graph if name == "drawn" else load(name).graph
    memory = StepMemory(graph, Setting(batch), Copies(kept=0))
    limit = max(memory.schedule.least(), round(share * memory.peak))
    choice = memory.choose(limit)
    assert choice is not None
    assert bool(choice.segments) == (share < 1)
    assert choice.peak <= limit
    measured = _measured(graph, memory, choice.segments)
    assert measured <= 1.01 * choice.peak
    assert choice.peak <= 1.04 * measured


# ------------------------------------------------------------------------------ running again


def _all_segments(schedule: Schedule) -> list[Segment]:
    """Each chain recomputed in one."""
    found: list[Segment] = []
    for place, piece in enumerate(schedule.pieces):
        chain = piece.place.chain
        if not chain:
            continue
        if place and schedule.pieces[place - 1].place.chain == chain:
            found[-1] = Segment(found[-1].first, place + 1)
        else:
            found.append(Segment(place, place + 1))
    return found


def _states(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from module.named_buffers()
    yield from ((f"{path}'", p.grad) for path, p in module.named_parameters() if p.grad is not None)


@pytest.fixture
def deterministic() -> Iterator[None]:
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.usefixtures("deterministic")
@pytest.mark.parametrize("name", ["drawn", "resnet20"])
def test_a_step_changes_nothing_by_running_twice(drawn: Network, name: str) -> None:
    graph = drawn.graph if name == "drawn" else load(name).graph
    memory = StepMemory(graph, Setting(4))
    segments = _all_segments(memory.schedule)
    assert any(s.stop - s.first > 1 for s in segments)
    plain = build_module(graph, seed=0)
    again = build_module(graph, seed=0)
    recompute(again, memory.stretches(memory.choice(segments)))
    assert list(again.state_dict()) == list(plain.state_dict())
    for _ in range(2):
        _step(plain, _images(graph, 4))
        _step(again, _images(graph, 4))
    one, other = dict(_states(plain)), dict(_states(again))
    assert one.keys() == other.keys()
    assert [path for path in one if not torch.equal(one[path], other[path])] == []
    assert one["bn1.num_batches_tracked"] == 2


def test_what_is_recomputed_is_not_held(drawn: Network) -> None:
    memory = StepMemory(drawn.graph, Setting(4))
    module = build_module(drawn.graph, seed=0)
    images = _images(drawn.graph, 4)
    plain = _held(module, images, "fp32")
    recompute(module, memory.stretches(memory.choice(_all_segments(memory.schedule))))
    assert _held(module, images, "fp32") < plain / 2
    module.eval()
    assert _held(module, images, "fp32") > plain / 2  # nothing is recomputed in evaluation


def test_a_copy_of_the_module_recomputes_too(drawn: Network) -> None:
    memory = StepMemory(drawn.graph, Setting(4))
    module = build_module(drawn.graph, seed=0)
    recompute(module, memory.stretches(memory.choice(_all_segments(memory.schedule))))
    images = _images(drawn.graph, 4)
    copied = deepcopy(module)
    _step(module, images)
    _step(copied, images)
    found, expected = dict(_states(copied)), dict(_states(module))
    assert all(torch.equal(found[path], expected[path]) for path in expected)


@pytest.mark.slow
def test_a_compiled_network_recomputes(tmp_path: Path) -> None:
    file = tmp_path / "small.rnet"
    file.write_text(SMALL)
    graph = load(f"{file}:small").graph
    memory = StepMemory(graph, Setting(4))
    plain, module = build_module(graph, seed=0), build_module(graph, seed=0)
    recompute(module, memory.stretches(memory.choice(_all_segments(memory.schedule))))
    compiled: Any = torch.compile(module, backend="aot_eager")
    _step(plain, _images(graph, 4))
    _step(compiled, _images(graph, 4))
    found, expected = dict(_states(module)), dict(_states(plain))
    assert found.keys() == expected.keys()
    for path, value in expected.items():
        torch.testing.assert_close(found[path], value, rtol=1e-4, atol=1e-5)


def test_what_is_called_again_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "again.rnet"
    file.write_text(SPEC)
    graph = load(f"{file}:again").graph
    assert all(not place.chain for place in execution(graph).places)


# ------------------------------------------------------------------------------------ choosing


def _every_choice(schedule: Schedule) -> Iterator[list[Segment]]:
    """Every way to cut the chains of a schedule into segments and kept places."""
    chains = [piece.place.chain for piece in schedule.pieces]
    for marks in product("kbc", repeat=len(chains)):  # kept, begins a segment, continues one
        segments: list[Segment] = []
        for place, mark in enumerate(marks):
            if mark == "k":
                continue
            if not chains[place]:
                break
            if mark == "b":
                segments.append(Segment(place, place + 1))
            elif marks[place - 1] == "k" or not place or chains[place - 1] != chains[place]:
                break
            else:
                segments[-1] = Segment(segments[-1].first, place + 1)
        else:
            yield segments


@pytest.mark.parametrize("stay", [False, True])
def test_the_choice_is_the_best_of_all(drawn: Network, stay: bool) -> None:
    schedule = StepMemory(drawn.graph, Setting(8), gradients_stay=stay).schedule
    costs = [(schedule.peak(c), schedule.work(c)) for c in _every_choice(schedule)]
    assert len(costs) > 100
    assert schedule.least() == min(peak for peak, _ in costs)
    for limit in sorted({peak for peak, _ in costs}):
        chosen = schedule.choose(limit)
        assert chosen is not None
        assert schedule.peak(chosen) <= limit
        assert schedule.work(chosen) == min(work for peak, work in costs if peak <= limit)
    assert schedule.choose(schedule.least() - 1) is None


def test_a_deep_network_fits_into_a_fraction() -> None:
    memory = StepMemory(load("cifar_resnet", depth=302).graph, Setting(32))
    assert memory.schedule.least() < 0.25 * memory.peak
    choice = memory.choose(round(0.3 * memory.peak))
    assert choice is not None
    assert choice.peak <= 0.3 * memory.peak
    assert 0.4 < choice.share < 0.7


def test_the_batch_that_fits_is_the_largest(drawn: Network) -> None:
    memory = StepMemory(drawn.graph, Setting(64))
    limit = memory.schedule.least() // 2
    batch = memory.largest_batch(limit)
    fitting = StepMemory(drawn.graph, Setting(batch)).schedule
    larger = StepMemory(drawn.graph, Setting(batch + 1)).schedule
    assert fitting.least() <= limit < larger.least()
    assert memory.largest_batch(1000) == 0


def test_what_the_optimizer_holds_stands_beside(drawn: Network) -> None:
    peaks = [
        StepMemory(drawn.graph, Setting(8), copies).peak
        for copies in (Copies(0), Copies(1), Copies(2, average=True))
    ]
    parameters = drawn.graph.parameters.values()
    trained = sum(p.type.bytes for p in parameters if p.role.trainable)
    assert peaks[1] - peaks[0] == trained
    assert peaks[2] - peaks[1] == trained + sum(p.type.bytes for p in parameters)
