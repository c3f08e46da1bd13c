"""The shipped networks: names, references, the paper's counts, torchvision's parameters."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st

from resnetc import load, zoo
from resnetc.checking import check_file
from resnetc.diagnostics import CompileError, UsageError
from resnetc.ir import Graph
from resnetc.resources import specs

ROOT = Path(__file__).parent.parent
FILES = sorted(specs().glob("*.rnet"))
TORCHVISION = ["resnet18", "resnet34", "resnet50", "resnet101", "resnet152"]


def count(graph: Graph, op: str) -> int:
    return sum(node.op.name == op for node in graph)


def trained(graph: Graph) -> int:
    """Elements of trainable parameters, counted without the compiler's cost analysis."""
    return sum(p.type.elements for p in graph.parameters.values() if p.role.trainable)


def shapes(graph: Graph) -> dict[str, tuple[int, ...]]:
    return {path: p.type.shape for path, p in graph.parameters.items()}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_network_compiles(path: Path) -> None:
    report = check_file(path)
    assert report.findings == ()
    assert report.warnings == ()
    assert set(report.networks) | set(report.templates) == {
        name for name, file in zoo.networks().items() if file == path
    }


def test_names_are_unique_across_the_zoo() -> None:
    names = [
        name
        for path in FILES
        for report in (check_file(path),)
        for name in (*report.networks, *report.templates)
    ]
    assert [name for name, n in Counter(names).items() if n > 1] == []
    assert sorted(names) == sorted(zoo.networks())


def test_the_prelude_declares_no_name_of_the_zoo() -> None:
    prelude = (specs() / "std" / "nn.rnet").read_text()
    for name in zoo.networks():
        assert f" {name}(" not in prelude


# ------------------------------------------------------------------------------------ torchvision


@pytest.mark.parametrize("name", TORCHVISION)
def test_parameters_are_torchvisions(name: str) -> None:
    with torch.device("meta"):
        theirs = getattr(torchvision.models, name)()
    state = theirs.state_dict()
    ours = load(name).graph
    assert list(shapes(ours).items()) == [(k, tuple(v.shape)) for k, v in state.items()]
    integers = {path for path, p in ours.parameters.items() if p.type.dtype.value == "int64"}
    assert integers == {k for k, v in state.items() if v.dtype == torch.int64}
    learned = {path for path, p in ours.parameters.items() if p.role.trainable}
    assert learned == {k for k, _ in theirs.named_parameters()}


@pytest.mark.parametrize("name", TORCHVISION[2:])
def test_strides_are_torchvisions_or_the_papers(name: str) -> None:
    def strided(graph: Graph) -> Counter[tuple[tuple[int, int], tuple[int, int]]]:
        return Counter(
            (node.op.kernel, node.op.stride)
            for node in graph
            if node.op.name == "conv2d" and node.op.stride != (1, 1)
        )

    assert strided(load(name).graph) == {
        ((7, 7), (2, 2)): 1,
        ((3, 3), (2, 2)): 3,
        ((1, 1), (2, 2)): 3,
    }
    paper = load(f"{name}_v1").graph
    assert strided(paper) == {((7, 7), (2, 2)): 1, ((1, 1), (2, 2)): 6}
    assert shapes(paper) == shapes(load(name).graph)


# ---------------------------------------------------------------------------------- the paper's


@given(st.integers(1, 40))
@settings(max_examples=20, deadline=None)
def test_any_6n_plus_2(n: int) -> None:
    graph = load("cifar_resnet", {"depth": str(6 * n + 2)}).graph
    assert count(graph, "conv2d") + count(graph, "linear") == 6 * n + 2
    assert count(graph, "add") == 3 * n
    assert count(graph, "relu") == 6 * n + 1
    widths = [16, 32, 64]
    weights = 27 * 16 + sum(9 * w * w * (2 * n - 1) for w in widths)
    weights += 9 * 16 * 16 + 9 * 16 * 32 + 9 * 32 * 64
    norms = 2 * (16 + sum(w * 2 * n for w in widths))
    assert trained(graph) == weights + norms + 650
    plain = load("cifar_resnet", {"depth": str(6 * n + 2), "shortcut": "plain"}).graph
    assert count(plain, "add") == 0
    assert shapes(plain) == shapes(graph)


@pytest.mark.parametrize("depth", [-4, 0, 2, 3, 7, 9, 54, 111])
def test_other_depths_are_refused(depth: int) -> None:
    with pytest.raises(CompileError):
        load("cifar_resnet", {"depth": str(depth)})


@pytest.mark.parametrize(
    ("depth", "parameters"),
    [
        (20, 269_722),
        (32, 464_154),
        (44, 658_586),
        (56, 853_018),
        (110, 1_727_962),
        (1202, 19_421_274),
    ],
)
def test_table_6(depth: int, parameters: int) -> None:
    graph = load(f"resnet{depth}").graph
    assert trained(graph) == parameters
    if depth < 1202:
        plain = load(f"plain{depth}").graph
        assert trained(plain) == parameters
        assert count(plain, "add") == 0
        assert shapes(plain) == shapes(graph)


@pytest.mark.parametrize("depth", [18, 34])
def test_plain_networks_have_no_shortcut(depth: int) -> None:
    plain, residual = load(f"plain{depth}").graph, load(f"resnet{depth}_v1").graph
    assert count(plain, "add") == 0
    assert count(residual, "add") == (depth - 2) // 2
    assert shapes(plain) == shapes(residual)
    assert count(plain, "relu") == count(residual, "relu") == depth - 1


def test_table_3s_options() -> None:
    nets = {option: load(f"resnet34_{option}").graph for option in "abc"}
    projections = {
        option: sum("downsample.0.weight" in path for path in graph.parameters)
        for option, graph in nets.items()
    }
    assert projections == {"a": 0, "b": 3, "c": 16}
    zeros = {option: count(graph, "pad_channels") for option, graph in nets.items()}
    assert zeros == {"a": 3, "b": 0, "c": 0}
    assert {count(graph, "add") for graph in nets.values()} == {16}
    extra = {option: trained(graph) - trained(nets["a"]) for option, graph in nets.items()}
    projection = {"b": [(64, 128), (128, 256), (256, 512)]}
    projection["c"] = projection["b"] + [
        (width, width) for width, n in ((64, 3), (128, 3), (256, 5), (512, 2)) for _ in range(n)
    ]
    for option, pairs in projection.items():
        assert extra[option] == sum(a * b + 2 * b for a, b in pairs)
    assert shapes(nets["b"]) == shapes(load("resnet34").graph)


@pytest.mark.parametrize(
    ("name", "gigamacs"),
    [("resnet50_v1", 3.858), ("resnet50", 4.089), ("resnet152_v1", 11.282), ("resnet34_c", 3.831)],
)
def test_multiply_accumulates(name: str, gigamacs: float) -> None:
    macs = 0
    for node in load(name).graph:
        if node.op.name == "conv2d":
            o, i, h, w = next(p.type.shape for p in node.parameters if p.path.endswith("weight"))
            macs += o * i * h * w * node.type.shape[1] * node.type.shape[2]
        elif node.op.name == "linear":
            macs += node.parameters[0].type.elements
    assert round(macs / 1e9, 3) == gigamacs


def test_the_imagenet_file() -> None:
    net = load("specs/resnet152.rnet")
    assert net.name == "resnet152_imagenet"
    assert net.graph.parameters == load("resnet152_v1").graph.parameters
    assert net.recipe is not None
    assert (net.recipe.batch, net.recipe.iterations) == (256, 600_000)


def test_what_claims_to_be_the_papers_says_so() -> None:
    claims = {
        name: facts.get("paper") for path in FILES for name, facts in check_file(path).meta.items()
    }
    assert claims["resnet110"] == "table6/110"
    assert claims["plain34"] == "plain/34"
    assert claims["resnet50_v1"] == "table1/50"


# ------------------------------------------------------------------------------------- references


def test_references(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    mine = tmp_path / "mine.rnet"
    mine.write_text("use resnet { basic }\nnetwork only { input 3x8x8  basic(4) }\n")
    assert load("mine.rnet").name == "only"
    assert load("mine.rnet:only").reference == "mine.rnet:only"
    assert load(mine).name == "only"
    assert load(f"{mine}:only").path == mine
    assert load("resnet50").reference == "specs/resnet.rnet:resnet50"
    assert load("specs/resnet.rnet:resnet50").graph.hash == load("resnet50").graph.hash
    assert load("resnet.rnet:resnet50").name == "resnet50"
    again = load(load("resnet50").reference)
    assert again.graph.hash == load("resnet50").graph.hash


def test_a_local_file_comes_before_the_shipped_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "specs").mkdir()
    (tmp_path / "specs" / "resnet.rnet").write_text("network resnet50 { input 3x8x8  relu }\n")
    assert len(load("specs/resnet.rnet:resnet50").graph) == 2
    assert len(load("resnet50").graph) > 100  # a bare name is always the zoo's


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("resnet51", "did you mean `resnet50`"),
        ("resnets", "no network `resnets` in the zoo"),
        ("", "no network"),
        ("resnet50.rnet", "no such file"),
        ("specs/nothing.rnet:x", "no such file"),
        ("specs/resnet.rnet:resnet51", "did you mean `resnet50`"),
        ("specs/resnet.rnet", "networks; name one"),
        ("specs/../specs/resnet.rnet:", "name one|no such file"),
        ("specs/std/nn.rnet", "declares no network"),
    ],
)
def test_references_to_nothing(reference: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load(reference)


def test_a_file_beside_is_offered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.rnet").write_text("network n { input 3x8x8  relu }\n")
    with pytest.raises(UsageError, match=r"did you mean mine\.rnet"):
        load("mine")


# ------------------------------------------------------------------------------------------ speed


def test_depth_costs_in_proportion() -> None:
    """A network of 10,004 layers compiles in eight times the time of 1,202, not in its square."""

    def seconds(depth: int) -> float:
        start = time.process_time()
        graph = load("cifar_resnet", {"depth": str(depth)}).graph
        assert count(graph, "conv2d") == depth - 1
        return time.process_time() - start

    seconds(1202)
    short = min(seconds(1202) for _ in range(3))
    long = seconds(10_004)
    assert long / 10_004 < 3 * short / 1_202
    assert short < 3
