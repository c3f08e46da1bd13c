"""Costs, memory and receptive fields, against torch and against slow definitions."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch
import torchvision
from hypothesis import given, settings
from oracle import evaluate
from small_graphs import Builder, cifar_resnet, imagenet_resnet, random_graphs

from resnetc.analysis import Cost, cost, fields, node_costs, receptive_field, stages
from resnetc.analysis.memory import inference_bytes, saved_bytes, training_bytes
from resnetc.driver import load
from resnetc.ir import Graph, Node
from resnetc.ops import (
    Add,
    AvgPool,
    BatchNorm,
    Concat,
    Conv2d,
    Dropout,
    Flatten,
    GlobalAvgPool,
    Linear,
    MaxPool,
    Mul,
    PadChannels,
    Relu,
    Sigmoid,
    Subsample,
)

# ------------------------------------------------------------------------------------------ counts


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_parameters_and_buffers_are_torchvisions(name: str) -> None:
    module = getattr(torchvision.models, name)()
    found = load(name).cost
    assert found.params == sum(p.numel() for p in module.parameters())
    assert found.buffers == sum(b.numel() for b in module.buffers())


def test_macs_are_those_of_the_convolutions_and_products_that_torch_runs() -> None:
    module = torchvision.models.resnet18().eval()
    counted = 0

    def count(layer: torch.nn.Module, _: object, output: torch.Tensor) -> None:
        nonlocal counted
        assert isinstance(layer, torch.nn.Conv2d | torch.nn.Linear)
        counted += output.numel() * layer.weight[0].numel()

    for layer in module.modules():
        if isinstance(layer, torch.nn.Conv2d | torch.nn.Linear):
            layer.register_forward_hook(count)
    with torch.no_grad():
        module(torch.zeros(1, 3, 224, 224))
    assert load("resnet18").cost.macs == counted


def test_flops_count_each_op_by_its_convention() -> None:
    b = Builder()
    x = b.input(2, 4, 6)
    conv = b.add(Conv2d, "conv", x, out=3, kernel=(3, 3), bias=True)
    norm = b.add(BatchNorm, "bn", conv)
    pool = b.add(MaxPool, "pool", norm, kernel=(2, 2), stride=(2, 2), pad=(0, 0))
    relu = b.add(Relu, "relu", pool)
    total = b.add(Add, "add", relu, relu, pool)
    gap = b.add(GlobalAvgPool, "gap", total)
    fc = b.add(Linear, "fc", b.add(Flatten, "flatten", gap), out=5)
    flops = {node.name: node_costs(b.graph(logits=fc))[node.id].flops for node in b.nodes}
    assert flops == {
        "input": 0,
        "conv": 2 * (3 * 4 * 6) * (2 * 3 * 3) + 3 * 4 * 6,
        "bn": 2 * 3 * 4 * 6,
        "pool": 4 * 3 * 2 * 3,
        "relu": 3 * 2 * 3,
        "add": 2 * 3 * 2 * 3,
        "gap": 3 * 2 * 3,
        "flatten": 0,
        "fc": 2 * 5 * 3 + 5,
    }
    assert cost(b.graph(logits=fc)).activations == 2 * 72 + 3 * 18 + 3 + 5


def test_costs_add_up_and_peaks_stay_peaks() -> None:
    one = Cost(1, 2, 3, 4, 5, 60, 7)
    other = Cost(10, 20, 30, 40, 50, 6, 70)
    assert one + other == Cost(11, 22, 33, 44, 55, 60, 70)
    assert sum([one, other], Cost()) == other + one
    assert one.to_json()["peak_training_bytes"] == 7


@settings(max_examples=60, deadline=None)
@given(random_graphs())
def test_stages_add_up_to_the_network(graph: Graph) -> None:
    assert sum((stage.cost for stage in stages(graph)), Cost()) == cost(graph)


# ------------------------------------------------------------------------------------------ memory


def _owner(graph: Graph, node: Node) -> int:
    while node.op.view:
        node = graph[node.inputs[0]]
    return node.id


@settings(max_examples=100, deadline=None)
@given(random_graphs())
def test_inference_memory_is_what_is_still_to_be_read(graph: Graph) -> None:
    nodes = list(graph)
    outputs = {_owner(graph, graph[i]) for i in graph.outputs.values()}
    reads: dict[int, list[int]] = {node.id: [] for node in nodes}
    for step, node in enumerate(nodes):
        for operand in node.inputs:
            reads[_owner(graph, graph[operand])].append(step)
    found = inference_bytes(graph)
    for now, current in enumerate(nodes):
        alive = [
            node.type.bytes
            for born, node in enumerate(nodes)
            if not node.op.view
            and (born <= now or node.op.name == "input")
            and (
                node.id in outputs
                or born == now
                or any(step >= now for step in reads[node.id])
                or (node.op.name == "input" and born > now)
            )
        ]
        assert found[current.id] == sum(alive)


class _Timeline:
    """A training step as 2n moments: node i runs forward at i and backward at 2n - 1 - i."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.nodes = list(graph)
        self.end = 2 * len(self.nodes) - 1
        self.owner = {node.id: _owner(graph, node) for node in self.nodes}
        self.outputs = {self.owner[i] for i in graph.outputs.values()}
        self.needed = self._needed()
        self.doubled: dict[int, int] = {}
        self.gradient_from = self._gradients()

    def _needed(self) -> dict[int, int]:
        """When each tensor is read for the last time."""
        needed = {node.id: step for step, node in enumerate(self.nodes)}
        for step, node in enumerate(self.nodes):
            backward = self.end - step
            for tensor in {self.owner[i] for i in node.inputs}:
                moment = backward if node.op.gradient_needs_operands else step
                needed[tensor] = max(needed[tensor], moment)
            if node.op.gradient_needs_output:
                needed[node.id] = max(needed[node.id], backward)
        return needed | dict.fromkeys(self.outputs, self.end)

    def _gradients(self) -> dict[int, int]:
        """When each gradient is first computed; second ones go to `doubled`, by moment."""
        learned: set[int] = set()
        for node in self.nodes:
            if node.parameters or {self.owner[i] for i in node.inputs} & learned:
                learned.add(self.owner[node.id])
        start = {tensor: len(self.nodes) for tensor in self.outputs & learned}
        for step, node in reversed(list(enumerate(self.nodes))):
            if node.op.view or node.id not in start:
                continue
            for tensor in {self.owner[i] for i in node.inputs} & learned:
                if tensor in start:
                    size = self.graph[tensor].type.bytes
                    self.doubled[self.end - step] = self.doubled.get(self.end - step, 0) + size
                start.setdefault(tensor, self.end - step)
        return start

    def alive(self, now: int) -> int:
        total = self.doubled.get(now, 0)
        for born, node in enumerate(self.nodes):
            over = self.end - born
            total += node.op.gradient_state(node.type) * (born <= now <= over)
            if not node.op.view:
                since = 0 if node.op.name == "input" else born
                gradient = self.gradient_from.get(node.id, self.end + 1)
                total += node.type.bytes * (since <= now <= self.needed[node.id])
                total += node.type.bytes * (gradient <= now <= over)
        return total


@settings(max_examples=100, deadline=None)
@given(random_graphs())
def test_training_memory_is_what_forward_and_backward_still_need(graph: Graph) -> None:
    timeline = _Timeline(graph)
    found = training_bytes(graph)
    for step, node in enumerate(graph):
        assert found[node.id] == max(timeline.alive(step), timeline.alive(timeline.end - step))


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_saved_bytes_are_what_autograd_saves(name: str) -> None:
    module = getattr(torchvision.models, name)(num_classes=10).train()
    image = torch.zeros(2, 3, 64, 64)
    saved: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        # Statistics of batch norm and weights are no activations: their first axis is no batch.
        if tensor.dim() > 1 and tensor.shape[0] == 2:
            saved[tensor.data_ptr()] = tensor.numel() * tensor.element_size() // 2
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        output = module(image)
    assert output.requires_grad
    depths, bottleneck = ((2, 2, 2, 2), False) if name == "resnet18" else ((3, 4, 6, 3), True)
    graph = imagenet_resnet(depths, bottleneck=bottleneck, classes=10, side=64)
    assert saved_bytes(graph) == sum(saved.values())


def test_a_dropout_is_free_in_inference_and_kept_in_training() -> None:
    b = Builder()
    conv = b.add(Conv2d, "conv", b.input(1, 4, 4), out=2, kernel=(3, 3))
    graph = b.graph(map=b.add(Dropout, "dropout", conv))
    assert cost(graph).peak_inference_bytes == 4 * (16 + 32)
    assert saved_bytes(graph) == 4 * 16 + 4 * 32 + 32


def test_cost_of_fifty_thousand_nodes_is_linear() -> None:
    def chain(length: int) -> Graph:
        b = Builder()
        x = b.add(Conv2d, "conv", b.input(1, 4, 4), out=1, kernel=(1, 1))
        for i in range(length):
            x = b.add(Add, f"add{i}", x, b.nodes[1])  # the first tensor stays alive throughout
        return b.graph(out=x)

    def seconds(graph: Graph) -> float:
        start = time.process_time()
        cost(graph)
        fields(graph)
        stages(graph)
        return time.process_time() - start

    small, large = chain(5_000), chain(50_000)
    assert seconds(large) < 30 * seconds(small) + 1


# ---------------------------------------------------------------------------------- receptive field


def _seen_rows(graph: Graph, axis: int) -> list[tuple[int, int]]:
    """For each output position along an axis: first and last input line that changes it.

    Weights are positive and every pixel's change is large, so that no path is masked.
    """
    rng = np.random.default_rng(0)
    weights = {p.path: rng.uniform(0.5, 1, p.type.shape) for p in graph.parameters.values()}
    channels, height, width = graph.inputs[0].type.shape
    base = rng.uniform(0.5, 1, (1, channels, height, width))
    lines = (height, width)[axis]
    batch = np.repeat(base, lines + 1, axis=0)
    for line in range(lines):
        np.moveaxis(batch[line], 1 + axis, 0)[line] += 100
    (output,) = evaluate(graph, weights, {"input": batch}).values()
    changed = np.abs(output[:-1] - output[-1:]) > 1e-9
    seen = changed.any(axis=(1, 3 - axis))  # by changed line and output position
    spans = [np.flatnonzero(column) for column in seen.T]
    return [(int(span[0]), int(span[-1])) for span in spans]


def _residual(option: str) -> Graph:
    """A stem, a pool and two blocks on an oblong image, one of them changing shape."""
    b = Builder()
    x = b.add(Conv2d, "conv1", b.input(1, 37, 29), out=2, kernel=(7, 7), stride=(2, 2))
    x = b.add(MaxPool, "maxpool", x, kernel=(3, 3), stride=(2, 1))
    y = b.add(Conv2d, "conv2", x, out=4, kernel=(3, 5), stride=(2, 2), dilation=(2, 1))
    y = b.add(Conv2d, "conv3", y, kernel=(1, 3))
    if option == "A":
        x = b.add(Subsample, "subsample", x, stride=(2, 2))
        x = b.add(PadChannels, "pad", x, to=4)
    else:
        x = b.add(Conv2d, "project", x, out=4, kernel=(1, 1), stride=(2, 2))
    x = b.add(Relu, "relu", b.add(Add, "add", y, x))
    y = b.add(AvgPool, "avgpool", x, kernel=(2, 2), pad=(1, 1), stride=(1, 1))
    y = b.add(Conv2d, "shrink", y, kernel=(2, 2), pad=(0, 0))
    return b.graph(map=b.add(Concat, "concat", x, y))


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("option", ["A", "B"])
def test_receptive_fields_are_the_pixels_that_change_an_output(option: str, axis: int) -> None:
    graph = _residual(option)
    window = (receptive_field(graph).height, receptive_field(graph).width)[axis]
    lines = graph.inputs[0].type.shape[1 + axis]
    predicted = []
    for i in range(graph[graph.outputs["map"]].type.shape[1 + axis]):
        first = window.start + i * window.stride
        predicted.append((max(0, first), min(lines - 1, first + window.extent - 1)))
    assert _seen_rows(graph, axis) == predicted


def test_a_gate_sees_everything_and_keeps_the_maps_stride() -> None:
    b = Builder()
    x = b.add(Conv2d, "conv", b.input(1, 16, 16), out=2, kernel=(3, 3), stride=(2, 2))
    gate = b.add(Sigmoid, "sigmoid", b.add(GlobalAvgPool, "gap", x))
    for operands in ((x, gate), (gate, x)):
        graph = b.graph(map=b.add(Mul, f"mul{operands[0].name}", *operands))
        field = receptive_field(graph)
        assert (field.jump, field.size) == ((2, 2), (17, 17))


@pytest.mark.parametrize("depths", [(3, 4, 6, 3), (3, 8, 36, 3)])
@pytest.mark.parametrize("stride_on", ["1x1", "3x3"])
def test_the_last_maps_field_follows_from_the_3x3_layers(
    depths: tuple[int, ...], stride_on: str
) -> None:
    size, jump = 11, 4  # conv1 sees 7 pixels, the pooling 11, at a stride of 4
    for stage, depth in enumerate(depths):
        for block in range(depth):
            entry = stage > 0 and block == 0
            before, jump = jump, jump * 2 if entry else jump
            # On the 3x3, the layer still works on the larger map; on the 1x1 before it, no more.
            size += 2 * (before if stride_on == "3x3" else jump)
    network = "resnet50" if depths == (3, 4, 6, 3) else "resnet152"
    last_map = stages(load(network if stride_on == "3x3" else f"{network}_v1").graph)[-2]
    assert last_map.field.size == (size, size)
    assert last_map.field.jump == (32, 32)


# ------------------------------------------------------------------------------------------- stages


def test_stages_read_like_table_1() -> None:
    rows = stages(load("resnet50").graph)
    assert [(row.label, str(row.output)) for row in rows] == [
        ("conv1", "64x112x112"),
        ("maxpool", "64x56x56"),
        ("layer1", "256x56x56"),
        ("layer2", "512x28x28"),
        ("layer3", "1024x14x14"),
        ("layer4", "2048x7x7"),
        ("head", "1000"),
    ]
    assert [row.layers for row in rows] == [1, 0, 10, 13, 19, 10, 1]


def test_stages_of_the_cifar_nets() -> None:
    labels = [row.label for row in stages(cifar_resnet(20))]
    assert labels == ["conv1", "layer1", "layer2", "layer3", "head"]


def test_a_sequence_of_everything_is_taken_apart() -> None:
    rows = stages(load("squeezenet1_1").graph)
    pools = [f"features.{place}" for place in (2, 5, 8)]
    fires = [f"features.{place}" for place in (3, 4, 6, 7, 9, 10, 11, 12)]
    inside = sorted(["features.0", *pools, *fires], key=lambda label: int(label[9:]))
    assert [row.label for row in rows] == [*inside, "classifier", "head"]
    assert [row.layers for row in rows] == [
        1 if r in ("features.0", "classifier") else 0 if r in (*pools, "head") else 3
        for r in (row.label for row in rows)
    ]
    labels = [row.label for row in stages(load("densenet121").graph)]
    assert labels[:4] == [
        "features.conv0",
        "features.maxpool",
        "features.denseblock1",
        "features.transition1",
    ]
    assert labels[-4:] == ["features.denseblock4", "features.norm5", "relu", "head"]


def test_what_follows_a_block_at_top_level_has_a_row_of_its_own() -> None:
    b = Builder()
    x = b.add(Conv2d, "features.conv", b.input(1, 8, 8), out=2, kernel=(3, 3))
    x = b.add(Relu, "norm5.relu", b.add(BatchNorm, "norm", x))
    x = b.add(Relu, "relu", x)
    x = b.add(Flatten, "flatten", b.add(AvgPool, "pool", x, kernel=(2, 2), stride=(2, 2)))
    rows = stages(b.graph(logits=b.add(Linear, "classifier.0", x, out=2)))
    assert [row.label for row in rows] == [
        "features",
        "norm",
        "norm5",
        "relu",
        "pool",
        "head",
        "classifier",
    ]
    assert rows[0].to_json()["receptive_field"] == [3, 3]
