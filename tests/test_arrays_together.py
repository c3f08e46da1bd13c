"""Arrays of many parameters at once are those that each gives by itself."""

from __future__ import annotations

import numpy as np
import pytest
from small_graphs import Builder, cifar_resnet, some_weights

from resnetc.diagnostics import RunError
from resnetc.ir import Graph
from resnetc.ir.parameters import Parameter
from resnetc.ir.together import BlockArrays
from resnetc.ops import BatchNorm, Conv2d, ConvTranspose2d, Relu
from resnetc.passes import Plan, lower_for_inference


def all_kinds_of_norms() -> Graph:
    """Behind a convolution with a bias and one without, behind a transposed one, and by itself; of
    two epsilons and two widths."""
    b = Builder()
    x = b.input(6, 8, 8)
    x = b.add(Conv2d, "biased", x, out=6, kernel=(3, 3), bias=True)
    x = b.add(BatchNorm, "bn1", x)
    x = b.add(Conv2d, "plain", b.add(Relu, "relu1", x), out=8, kernel=(1, 1))
    x = b.add(BatchNorm, "bn2", x, eps=1e-3)
    x = b.add(ConvTranspose2d, "up", b.add(Relu, "relu2", x), out=8, kernel=(2, 2), stride=(2, 2))
    x = b.add(BatchNorm, "bn3", x)
    x = b.add(BatchNorm, "bn4", b.add(Relu, "relu3", x))
    return b.graph(out=x)


def arrays_together(
    parameters: list[Parameter], weights: dict[str, np.ndarray]
) -> list[np.ndarray]:
    """All arrays of a network: a block of which there is one copy."""
    block = BlockArrays(parameters, weights, "", [""])
    return [array for (array,) in block.arrays(range(len(parameters)), range(1))]


def lowered(graph: Graph, precision: str = "fp32") -> list[Parameter]:
    made = lower_for_inference(graph, plan=Plan(precision)).graph
    return list(made.parameters.values())


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
@pytest.mark.parametrize("graph", [cifar_resnet(20), all_kinds_of_norms()], ids=["resnet", "all"])
def test_together_as_alone(graph: Graph, precision: str) -> None:
    weights = some_weights(graph)
    parameters = lowered(graph, precision)
    together = arrays_together(parameters, weights)
    for parameter, array in zip(parameters, together, strict=True):
        alone = parameter.array(weights)
        assert array.dtype == alone.dtype
        assert array.shape == alone.shape == parameter.type.shape
        assert array.flags.c_contiguous
        assert array.tobytes() == alone.tobytes(), parameter.path


def test_weights_of_any_element_type() -> None:
    """Each product is rounded once, and what the user brought stays as it was."""
    graph = cifar_resnet(20)
    weights = some_weights(graph)
    narrow = ("layer1.0.conv1.weight", "layer3.0.conv1.weight")
    weights |= {path: weights[path].astype(np.float16) for path in narrow}
    weights["layer1.2.conv1.weight"] = weights["layer1.1.conv1.weight"] / np.float64(3)
    before = {path: array.copy() for path, array in weights.items()}
    parameters = lowered(graph)
    for parameter, array in zip(parameters, arrays_together(parameters, weights), strict=True):
        assert array.dtype == np.float32
        assert array.tobytes() == parameter.array(weights).tobytes(), parameter.path
    for path, array in weights.items():
        np.testing.assert_array_equal(array, before[path])


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
def test_what_is_too_large_is_refused(precision: str) -> None:
    graph = all_kinds_of_norms()
    weights = some_weights(graph)
    weights["plain.weight"] = weights["plain.weight"] * np.float32(1e30)
    weights["bn2.weight"] = weights["bn2.weight"] * np.float32(1e30)
    with pytest.raises(RunError, match=r"plain\.weight holds .*, but \w+ ends at"):
        arrays_together(lowered(graph, precision), weights)


@pytest.mark.parametrize("spoilt", [np.nan, np.inf])
@pytest.mark.parametrize("path", ["plain.weight", "bn2.running_var", "bn4.bias"])
def test_what_is_no_number_to_begin_with_is_passed_on(path: str, spoilt: float) -> None:
    graph = all_kinds_of_norms()
    weights = some_weights(graph)
    weights[path] = np.full_like(weights[path], spoilt)
    parameters = lowered(graph)
    for parameter, array in zip(parameters, arrays_together(parameters, weights), strict=True):
        np.testing.assert_array_equal(array, parameter.array(weights))


def test_a_norm_of_nothing_is_refused() -> None:
    """A variance below zero has no root: finite numbers that give none."""
    graph = all_kinds_of_norms()
    weights = some_weights(graph)
    weights["bn4.running_var"] = -np.ones_like(weights["bn4.running_var"])
    with pytest.raises(RunError, match=r"bn4\.weight holds nan"):
        arrays_together(lowered(graph), weights)
