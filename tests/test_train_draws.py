"""Draws belong to samples; orders to epochs."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from resnetc.train.draws import Order, Samples, permutation

_MASK = 2**64 - 1


def _mix(bits: int) -> int:
    """splitmix64's finalizer in Python's own integers."""
    bits = ((bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    bits = ((bits ^ (bits >> 27)) * 0x94D049BB133111EB) & _MASK
    return bits ^ (bits >> 31)


def _bits(seed: int, epoch: int, index: int, slot: int, part: int) -> int:
    state = (seed * 0x9E3779B97F4A7C15 + 1) & _MASK
    for word in (epoch, index, slot * 64 + part):
        state = _mix((state + (word + 1) * 0x9E3779B97F4A7C15) & _MASK)
    return state


def _samples(seed: int, *pairs: tuple[int, int]) -> Samples:
    epochs, indices = zip(*pairs, strict=True)
    return Samples(seed, torch.tensor(epochs), torch.tensor(indices))


def test_the_mixer_is_splitmix64() -> None:
    # The first output of the reference implementation for the seed 0.
    assert _mix(0x9E3779B97F4A7C15) == 0xE220A8397B1DCDAF


@settings(max_examples=50, deadline=None)
@given(
    seed=st.integers(0, 2**63 - 1),
    epoch=st.integers(0, 10**6),
    index=st.integers(0, 10**7),
    slot=st.integers(-2, 20),
    part=st.integers(0, 7),
)
def test_bits_are_the_hash_of_their_key(
    seed: int, epoch: int, index: int, slot: int, part: int
) -> None:
    alone = _samples(seed, (epoch, index)).bits(slot, part)
    batch = _samples(seed, (epoch, index), (epoch, 0)).bits(slot, part)
    for drawn in (alone[0], batch[0]):
        assert int(drawn) & _MASK == _bits(seed, epoch, index, slot, part)


def test_uniform_draws_fill_the_unit_interval_and_normal_ones_are_normal() -> None:
    indices = torch.arange(20_000)
    samples = Samples(3, torch.zeros_like(indices), indices)
    uniform = samples.uniform(0)
    assert 0 <= float(uniform.min()) < 0.001
    assert 0.999 < float(uniform.max()) < 1
    assert abs(float(uniform.mean()) - 0.5) < 0.01
    normal = samples.normal(0, 3)
    assert normal.shape == (20_000, 3)
    assert normal.mean(0).abs().max() < 0.03
    assert (normal.std(0) - 1).abs().max() < 0.03
    assert torch.corrcoef(normal.T).triu(1).abs().max() < 0.03


def test_integers_cover_their_range_evenly() -> None:
    indices = torch.arange(9_000)
    drawn = Samples(0, torch.zeros_like(indices), indices).integers(9, slot=1)
    counts = torch.bincount(drawn, minlength=9)
    assert len(counts) == 9
    assert (counts - 1000).abs().max() < 120


def test_a_draw_does_not_depend_on_its_batch() -> None:
    batch = _samples(7, (0, 5), (1, 5), (1, 9))
    alone = _samples(7, (1, 9))
    assert batch.uniform(2)[2] == alone.uniform(2)[0]
    assert len({float(u) for u in batch.uniform(2)}) == 3


@pytest.mark.parametrize("other", [{"seed": 1}, {"epoch": 1}, {"slot": 1}])
def test_orders_differ_by_seed_epoch_and_slot(other: dict[str, int]) -> None:
    base = {"seed": 0, "epoch": 0, "slot": -1}
    order = permutation(100, **base)
    assert sorted(order.tolist()) == list(range(100))
    assert order.tolist() != permutation(100, **{**base, **other}).tolist()
    assert order.tolist() == permutation(100, **base).tolist()


@settings(max_examples=40, deadline=None)
@given(samples=st.integers(1, 40), batch=st.integers(1, 50), steps=st.integers(1, 12))
def test_steps_are_the_epochs_end_to_end(samples: int, batch: int, steps: int) -> None:
    order = Order(samples, batch, seed=5)
    taken = [order.take(step) for step in range(steps)]
    assert all(len(t) == batch for t in taken)
    indices = [i for t in taken for i in t.indices.tolist()]
    epochs = [e for t in taken for e in t.epochs.tolist()]
    assert epochs == [position // samples for position in range(steps * batch)]
    for epoch in range(len(indices) // samples):
        seen = indices[epoch * samples : (epoch + 1) * samples]
        assert seen == permutation(samples, 5, epoch).tolist()


def test_steps_may_be_taken_in_any_order() -> None:
    forward, backward = Order(30, 7, 1), Order(30, 7, 1)
    first = {step: forward.take(step).indices.tolist() for step in range(40)}
    assert first == {step: backward.take(step).indices.tolist() for step in reversed(range(40))}


def test_processes_share_a_batch_without_overlap() -> None:
    order = Order(50, 12, seed=2)
    whole = order.take(9)
    parts = [order.take(9, rank, 3) for rank in range(3)]
    assert torch.cat([part.indices for part in parts]).tolist() == whole.indices.tolist()
    assert torch.cat([part.epochs for part in parts]).tolist() == whole.epochs.tolist()


def test_a_range_of_steps_is_what_take_gives() -> None:
    order = Order(20, 6, seed=0)
    steps = order.steps(3, 8)
    assert len(steps) == 5
    assert steps[2].indices.tolist() == order.take(5).indices.tolist()
    assert [s.indices.tolist() for s in steps[1:3]] == [
        order.take(step).indices.tolist() for step in (4, 5)
    ]
