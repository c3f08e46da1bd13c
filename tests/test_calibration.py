"""Ranges from images: what is counted, where it is cut off, and when it is done again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from oracle import evaluate
from small_graphs import cifar_resnet, some_weights

from resnetc.diagnostics import RunError, UsageError
from resnetc.ir import Graph
from resnetc.passes import ENCODINGS, Plan, Range, lower_for_inference, place
from resnetc.quantization import Images, Labelled, calibrate, choose_kept, rank_layers
from resnetc.quantization.histogram import BINS, Histogram
from resnetc.quantization.ranges import find_range
from resnetc.quantization.sensitivity import LayerCost, Sensitivity
from resnetc.sections import Entropy, MinMax, Percentile

ORT, TENSORRT = ENCODINGS["ort"], ENCODINGS["tensorrt"]


# ------------------------------------------------------------------------------------ histograms

floats = arrays.arrays(
    np.float32, st.integers(1, 40), elements=st.floats(-1e6, 1e6, width=32, allow_subnormal=False)
)


@given(st.lists(floats, min_size=1, max_size=5))
@settings(max_examples=100)
def test_counts_do_not_depend_on_the_batches(parts: list[np.ndarray]) -> None:
    one, many = Histogram(), Histogram()
    one.add(np.concatenate(parts))
    for part in parts:
        many.add(part)
    assert (one.low, one.high) == (many.low, many.high)
    # A histogram that began with zeros alone reaches less far, until something else comes.
    if max(-one.low, one.high) > 1e-20:
        assert one.reach == many.reach
        assert one.counts.sum() == many.counts.sum() == sum(map(len, parts))
        np.testing.assert_array_equal(one.counts, many.counts)


def test_bins_are_where_numpy_has_them() -> None:
    values = np.random.default_rng(0).normal(0, 3, 10_000).astype(np.float32)
    seen = Histogram()
    seen.add(values)
    edges = np.linspace(-seen.reach, seen.reach, 2 * BINS + 1)
    np.testing.assert_array_equal(seen.counts, np.histogram(values, edges)[0])


# --------------------------------------------------------------------------------------- ranges


def held(values: np.ndarray) -> Histogram:
    seen = Histogram()
    seen.add(values.astype(np.float32))
    return seen


def test_min_max_holds_everything() -> None:
    assert find_range(held(np.array([-3.0, 0, 7])), MinMax()) == Range(-3, 7)


@pytest.mark.parametrize("share", [0.9, 0.99, 0.999])
def test_a_percentile_holds_its_share(share: float) -> None:
    values = np.random.default_rng(0).normal(1, 2, 100_000)
    found = find_range(held(values), Percentile(share))
    low, high = np.quantile(values, [(1 - share) / 2, (1 + share) / 2])
    assert found.low == pytest.approx(low, abs=0.02)
    assert found.high == pytest.approx(high, abs=0.02)
    positive = find_range(held(np.abs(values)), Percentile(share))
    assert 0 <= positive.low < 1e-4
    assert positive.high == pytest.approx(np.quantile(np.abs(values), share), abs=0.02)


def test_entropy_cuts_a_lone_outlier_off_and_nothing_of_a_flat_tensor() -> None:
    rng = np.random.default_rng(0)
    normal = np.append(rng.normal(0, 1, 200_000), 60.0)
    found = find_range(held(normal), Entropy())
    assert 2.5 < found.high < 12
    assert found.low == pytest.approx(max(-found.high, normal.min()), rel=1e-6)
    flat = find_range(held(rng.uniform(0, 5, 200_000)), Entropy())
    assert flat.high == pytest.approx(5, rel=0.02)


@pytest.mark.parametrize("method", [Entropy(), Percentile(), MinMax()])
def test_a_tensor_of_zeros_has_a_range(method: Entropy | Percentile | MinMax) -> None:
    found = find_range(held(np.zeros(9)), method)
    assert found.low == found.high == 0
    for encoding in ENCODINGS.values():
        assert encoding.scale(found)[0] == 1.0


# ----------------------------------------------------------------------------------- calibration


def shown(graph: Graph, count: int = 6, identity: str = "six") -> Images:
    shape = graph.inputs[0].type.shape
    images = np.random.default_rng(3).standard_normal((count, *shape), np.float32)

    def batches(size: int) -> Iterator[np.ndarray]:
        return (images[i : i + size] for i in range(0, count, size))

    return Images(batches, count, identity)


def test_ranges_are_those_of_the_graph() -> None:
    """Against the oracle, which reads the graph node by node."""
    graph = cifar_resnet(8)
    weights, images = some_weights(graph), shown(graph)
    found = calibrate(graph, weights, TENSORRT, images, MinMax())
    lowered = lower_for_inference(graph).graph
    every = Graph("every", lowered, {node.name: node.id for node in lowered})
    batch = next(images.batches(6))
    exact = evaluate(every, weights, {lowered.inputs[0].name: batch})
    assert set(found.ranges) == set(place(lowered, TENSORRT).observed)
    for name, range_ in found.ranges.items():
        assert range_.low == pytest.approx(exact[name].min(), abs=1e-4)
        assert range_.high == pytest.approx(exact[name].max(), rel=1e-4)


def test_small_batches_find_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = cifar_resnet(8)
    weights, images = some_weights(graph), shown(graph)
    whole = calibrate(graph, weights, ORT, images, Percentile(0.99))
    monkeypatch.setattr("resnetc.quantization.calibration._OBSERVED_BYTES", 1)
    seen: list[tuple[int, int]] = []
    single = calibrate(
        graph,
        weights,
        ORT,
        images,
        Percentile(0.99),
        progress=lambda done, of: seen.append((done, of)),
    )
    assert seen == [(done, 6) for done in range(1, 7)]
    for name, range_ in whole.ranges.items():
        # Rounding differs by batch size in a float32 convolution; a bin is what it can move.
        assert single.ranges[name].high == pytest.approx(range_.high, rel=2e-3)


def test_ranges_are_found_once_for_what_they_depend_on(tmp_path: Path) -> None:
    graph = cifar_resnet(8)
    weights = some_weights(graph)
    first = calibrate(graph, weights, ORT, shown(graph), MinMax(), cache=tmp_path)
    again = calibrate(graph, weights, ORT, shown(graph), MinMax(), cache=tmp_path)
    assert (first.cached, again.cached) == (False, True)
    assert again.ranges == first.ranges
    other = {path: array + 1e-3 for path, array in weights.items()}
    for changed in (
        calibrate(graph, other, ORT, shown(graph), MinMax(), cache=tmp_path),
        calibrate(graph, weights, ORT, shown(graph, 5), MinMax(), cache=tmp_path),
        calibrate(graph, weights, ORT, shown(graph, 6, "others"), MinMax(), cache=tmp_path),
        calibrate(graph, weights, ORT, shown(graph), Entropy(), cache=tmp_path),
        calibrate(graph, weights, TENSORRT, shown(graph), MinMax(), cache=tmp_path),
        calibrate(
            cifar_resnet(8, classes=7),
            some_weights(cifar_resnet(8, classes=7)),
            ORT,
            shown(graph),
            MinMax(),
            cache=tmp_path,
        ),
    ):
        assert not changed.cached
    kept = calibrate(
        graph, weights, ORT, shown(graph), MinMax(), keep=("fc", "layer3"), cache=tmp_path
    )
    assert kept.cached
    assert kept.ranges.keys() < first.ranges.keys()


def test_a_damaged_cache_is_named(tmp_path: Path) -> None:
    graph = cifar_resnet(8)
    arguments = (graph, some_weights(graph), ORT, shown(graph), MinMax())
    calibrate(*arguments, cache=tmp_path)
    (file,) = tmp_path.iterdir()
    file.write_text(json.dumps({"input": [0]}))
    with pytest.raises(RunError, match=r"not the ranges of this network; remove it"):
        calibrate(*arguments, cache=tmp_path)


def test_what_is_not_finite_is_named() -> None:
    graph = cifar_resnet(8)
    weights = some_weights(graph)
    weights["conv1.weight"] = np.full_like(weights["conv1.weight"], np.inf)
    with pytest.raises(RunError, match=r"on the calibration images .* not a finite number"):
        calibrate(graph, weights, ORT, shown(graph), MinMax())


def test_no_images_is_refused() -> None:
    graph = cifar_resnet(8)
    none = Images(lambda size: iter(()), 0, "none")
    with pytest.raises(UsageError, match="no images to calibrate on"):
        calibrate(graph, some_weights(graph), ORT, none, MinMax())


# ----------------------------------------------------------------------------------- sensitivity


def judged(graph: Graph, weights: dict, count: int = 40) -> Labelled:
    """Images with the labels that the network itself gives them: its accuracy is 1. Its bias is
    changed so that it gives different ones."""
    images = shown(graph, count)
    (batch,) = images.batches(count)
    (said,) = evaluate(graph, weights, {graph.inputs[0].name: batch}).values()
    weights["fc.bias"] -= said.mean(0).astype(np.float32)
    (said,) = evaluate(graph, weights, {graph.inputs[0].name: batch}).values()
    right = said.argmax(1)

    def batches(size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        return ((batch[i : i + size], right[i : i + size]) for i in range(0, count, size))

    return Labelled(batches, count, "images")


def test_the_layer_that_eight_bits_ruin_is_first_and_is_kept() -> None:
    """One layer's ranges are cut to next to nothing: it alone costs, and keeping it saves all."""
    graph = cifar_resnet(8)
    weights = some_weights(graph)
    images = judged(graph, weights)
    found = calibrate(graph, weights, TENSORRT, shown(graph), MinMax())
    (victim,) = (node for node in graph if node.name == "layer2.0.conv2")
    ruined = graph[victim.inputs[0]].name
    ranges = {**found.ranges, ruined: Range(0, found.ranges[ruined].high / 40)}
    plan = Plan("int8", encoding=TENSORRT, ranges=ranges)
    ranked = rank_layers(graph, weights, plan, images)
    assert ranked.wide == 1.0
    assert ranked.layers[0].layer == "layer2.0.conv2"
    assert ranked.layers[0].divergence > 10 * ranked.layers[1].divergence
    assert sum(cost.share for cost in ranked.layers) == pytest.approx(1)
    allowed = 100 * (1 - ranked.narrow) - 1
    chosen = choose_kept(graph, weights, plan, images, ranked, allowed)
    assert chosen.keep[0] == "layer2.0.conv2"
    assert chosen.kept is not None
    assert 100 * (chosen.wide - chosen.kept) <= allowed
    generous = choose_kept(graph, weights, plan, images, ranked, 100)
    assert (generous.keep, generous.kept) == ((), ranked.narrow)


def test_as_few_layers_are_kept_as_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """The least number is found, and what is said of it was measured."""
    graph = cifar_resnet(8)
    costs = tuple(LayerCost(f"layer{i}", "", 0.0, 1.0 / (i + 1), 0.1) for i in range(7))
    found = Sensitivity("images", 0.9, 0.5, costs)
    asked: list[int] = []

    def logits(graph: Graph, weights: object, plan: Plan, images: object) -> np.ndarray:
        asked.append(len(plan.keep))
        return np.eye(2)[[0] * (5 + len(plan.keep) * 4 // 5) + [1] * (5 - len(plan.keep) * 4 // 5)]

    monkeypatch.setattr("resnetc.quantization.sensitivity.logits", logits)
    monkeypatch.setattr("resnetc.quantization.sensitivity.labels", lambda images: np.zeros(10))
    plan = Plan("int8", encoding=TENSORRT)
    chosen = choose_kept(graph, {}, plan, None, found, 20)  # type: ignore[arg-type]
    assert chosen.keep == ("layer0", "layer1", "layer2")
    assert chosen.kept == 0.7
    assert 3 in asked
    assert len(asked) == len(set(asked))
