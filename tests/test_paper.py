"""The paper's figures: every recount to the last digit, and what `check_paper` says."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from small_graphs import Builder, cifar_resnet, imagenet_resnet

from resnetc import resources
from resnetc.analysis.claims import claims, find_claim
from resnetc.analysis.paper import PaperReport, Verdict, check_paper, render
from resnetc.diagnostics import UsageError
from resnetc.driver import Network, load
from resnetc.ir import Graph
from resnetc.ops import (
    BatchNorm,
    Conv2d,
    Flatten,
    GlobalAvgPool,
    Linear,
    MaxPool,
    Mul,
    Relu,
    Sigmoid,
)

TABLES: dict[str, Any] = json.loads(resources.paper_tables().read_text(encoding="utf-8"))


def _with_option(depth: str, key: str) -> Network:
    """The zoo's network for a key of the recounts, such as "C_stride_on_1x1"."""
    paper = "" if key.endswith("3x3") or depth in ("18", "34") else "_v1"
    return load(f"resnet{depth}{paper}", {"shortcut": key[0]})


def _recounts(table: str, key: str) -> list[tuple[str, str, Any]]:
    return [
        (depth, option, figure)
        for depth, by_option in TABLES[table][key].items()
        for option, figure in by_option.items()
    ]


@pytest.mark.parametrize(("depth", "key", "gmacs"), _recounts("table1", "recount_gmacs"))
def test_macs_equal_the_recount(depth: str, key: str, gmacs: float) -> None:
    assert f"{_with_option(depth, key).cost.macs / 1e9:.4f}" == f"{gmacs:.4f}"


@pytest.mark.parametrize(("depth", "option", "params"), _recounts("table1", "recount_params"))
def test_parameters_equal_the_recount(depth: str, option: str, params: int) -> None:
    assert _with_option(depth, option).cost.params == params


@pytest.mark.parametrize("kind", ["resnet", "plain"])
@pytest.mark.parametrize("depth", TABLES["cifar_arch"]["n"])
def test_cifar_networks_and_their_plain_twins_equal_the_recount(depth: str, kind: str) -> None:
    found = load(f"{kind}20", depth=int(depth)).cost
    table = TABLES["table6"]
    assert found.params == table["recount_params_option_A"][depth]
    assert f"{found.macs / 1e6:.3f}" == f"{table['recount_mmacs_option_A'][depth]:.3f}"


def test_a_projection_nearly_doubles_a_bottleneck() -> None:
    said = TABLES["shortcuts"]["bottleneck_recount"]
    (block,) = {
        sum(node.op.parameters()[0].type.elements for node in graph if node.name in names)
        for graph in [load("resnet50").graph]
        for names in [{f"layer1.1.conv{i}" for i in (1, 2, 3)}]
    }
    assert block == said["identity_weights_56x56_256d"]
    assert said["added_projection_weights"] == 256 * 256
    assert round((block + 256 * 256) / block, 3) == said["ratio"]


@pytest.mark.parametrize("option", ["B", "C"])
def test_projections_of_the_34_layer_net(option: str) -> None:
    found = sum(
        "downsample" in node.name and node.op.name == "conv2d"
        for node in load(f"resnet34_{option.lower()}").graph
    )
    assert found == TABLES["shortcuts"]["projections_resnet34"][option]


# ------------------------------------------------------------------------------------------- claims


@pytest.mark.parametrize("name", claims())
def test_a_blueprint_counts_what_the_tables_say(name: str) -> None:
    claim = find_claim(name)
    outline, option = claim.blueprint.outline(), claim.blueprint.option.replace("none", "A")
    assert claim.recounts.write_macs(outline.macs) == claim.recounts.macs[option]
    assert outline.params == claim.recounts.params[option]
    counts = {"macs": outline.macs, "params": outline.params}
    assert all(printed.agrees(counts[printed.counts]) for printed in claim.printed)


def test_printed_figures_are_rounded_or_cut_off_and_nothing_else() -> None:
    (flops,) = find_claim("table1/50").printed
    assert flops.agrees(3_857_973_248)
    assert flops.agrees(3_750_000_001)
    assert flops.agrees(3_899_999_999)
    assert not flops.agrees(3_900_000_000)
    assert not flops.agrees(3_749_999_999)
    assert str(flops) == "3.8 x 1e9"


def test_the_paper_has_no_other_networks() -> None:
    with pytest.raises(UsageError, match="no network table1/51; did you mean table1/50"):
        find_claim("table1/51")
    with pytest.raises(UsageError, match="known are table1/18, plain/18"):
        find_claim("x")


ZOO = {
    **{f"resnet{depth}_v1": f"table1/{depth}" for depth in (18, 34, 50, 101, 152)},
    **{f"resnet34_{option.lower()}": f"table3/34-{option}" for option in "ABC"},
    **{f"resnet{depth}": f"table6/{depth}" for depth in (20, 32, 44, 56, 110, 1202)},
    **{f"plain{depth}": f"plain/{depth}" for depth in (18, 34, 20, 32, 44, 56, 110)},
    "resnet18": "table1/18",
    "resnet34": "table1/34",
}


@pytest.mark.parametrize(("network", "claim"), ZOO.items())
def test_the_papers_networks_agree_in_every_row(network: str, claim: str) -> None:
    report = check_paper(load(network).graph, claim)
    assert [row for row in report.rows if row.verdict is not Verdict.AGREES] == []
    assert report.holds
    assert report.deviations == ()
    assert f"all {len(report.rows)} rows agree" in render(report)


def _verdicts(report: PaperReport) -> dict[str, str]:
    return {row.what: row.verdict.value for row in report.rows if row.verdict is not Verdict.AGREES}


def _differing(report: PaperReport) -> set[str]:
    return {row.what for row in report.rows if row.verdict is Verdict.DIFFERS}


# --------------------------------------------------------------------------------------- deviations


def test_the_stride_on_the_3x3_explains_torchvisions_macs() -> None:
    report = check_paper(load("resnet50").graph, "table1/50")
    assert report.holds
    assert _verdicts(report) == dict.fromkeys(
        ["stride 2", "layer by layer", "MACs, Table 1", "MACs, recounted"], "explained"
    )
    (deviation,) = report.deviations
    assert deviation.text == (
        "the stride of 2 is on the second layer of a block, the 3x3; "
        "the paper's on the first layer of a block, the 1x1"
    )
    assert (deviation.macs, deviation.params) == (231_211_008, 0)
    recounted = next(row for row in report.rows if row.what == "MACs, recounted")
    assert (recounted.paper, recounted.here, recounted.why) == ("3.8580 G", "4.0892 G", (1,))


def test_several_deviations_add_up() -> None:
    graph = load("resnet101", {"shortcut": "C", "classes": "10"}).graph
    report = check_paper(graph, "table1/101")
    assert report.holds
    assert [deviation.text.split(" is ")[0] for deviation in report.deviations] == [
        "there are 10 classes",
        "the shortcuts are option C instead of B",
        "the stride of 2",
    ]
    blueprint = find_claim("table1/101").blueprint.outline()
    found = load("resnet101", {"shortcut": "C", "classes": "10"}).cost
    assert blueprint.macs + sum(d.macs for d in report.deviations) == found.macs
    assert blueprint.params + sum(d.params for d in report.deviations) == found.params
    parameters = next(row for row in report.rows if row.what == "parameters, recounted")
    assert parameters.why == (1, 2)


def _with_bias(graph: Graph, first_only: bool) -> Graph:
    """The graph with a bias on its first convolution, or on all."""
    nodes, seen = [], False
    for node in graph:
        if isinstance(node.op, Conv2d) and not (first_only and seen):
            op = replace(node.op, bias=True)
            extra = replace(
                node.parameters[0], path=f"{node.name}.bias", type=op.parameters()[1].type
            )
            node, seen = replace(node, op=op, parameters=(*node.parameters, extra)), True
        nodes.append(node)
    return Graph(graph.name, nodes, graph.outputs, graph.scopes)


def test_the_released_resnet50_has_a_bias_on_conv1() -> None:
    report = check_paper(_with_bias(load("resnet50_v1").graph, first_only=True), "table1/50")
    assert report.holds
    (deviation,) = report.deviations
    assert deviation.text == "conv1 has a bias that batch norm makes redundant"
    assert (deviation.macs, deviation.params) == (0, 64)


def test_a_bias_on_every_convolution() -> None:
    report = check_paper(_with_bias(load("resnet34_c").graph, first_only=False), "table3/34-C")
    assert report.holds
    (deviation,) = report.deviations
    assert deviation.text.startswith("every convolution has a bias")
    assert deviation.params == sum(
        node.op.out_channels for node in load("resnet34_c").graph if isinstance(node.op, Conv2d)
    )


def test_another_input_changes_every_map_and_is_named() -> None:
    report = check_paper(imagenet_resnet((3, 4, 6, 3), side=160, bottleneck=True), "table1/50")
    assert report.holds
    assert report.deviations[0].text == "the input is 3x160x160"
    stem = next(row for row in report.rows if row.what == "conv1")
    assert stem.here.endswith("=> 80x80")
    assert (stem.verdict, stem.why) == (Verdict.EXPLAINED, (1,))


def test_option_a_says_where_its_zeros_go_and_the_pool_how_it_pads() -> None:
    report = check_paper(load("resnet34_a").graph, "table3/34-A")
    assert len(report.notes) == 2
    assert "behind the others" in report.notes[1]
    assert "pads 1 on each side" in report.notes[0]


# ------------------------------------------------------------------------------------- false claims


@pytest.mark.parametrize(
    ("network", "claim", "rows"),
    [
        ("resnet20", "table6/32", {"stage 1", "weighted layers", "parameters, Table 6"}),
        ("plain20", "table6/20", {"shortcuts", "layer by layer"}),
        ("resnet20", "plain/20", {"shortcuts", "layer by layer"}),
        ("resnet18", "table1/34", {"conv2_x", "MACs, Table 1", "parameters, recounted"}),
        ("resnet34", "table1/50", {"conv5_x", "weighted layers"}),
    ],
)
def test_another_network_does_not_hold(network: str, claim: str, rows: set[str]) -> None:
    report = check_paper(load(network).graph, claim)
    assert not report.holds
    assert rows <= _differing(report)
    assert "nothing known explains it" in render(report)


def test_a_wider_layer_is_found_and_named() -> None:
    report = check_paper(load("resnet18", {"depths": "[2, 2, 2, 3]"}).graph, "table1/18")
    assert {"conv5_x", "weighted layers", "parameters, recounted"} <= _differing(report)
    assert "conv2_x" not in _differing(report)


def _without_last_relu(graph: Graph) -> Graph:
    nodes = list(graph)
    (relu,) = (node for node in nodes if node.name == "layer3.2.relu")
    users = [replace(n, inputs=relu.inputs) if relu.id in n.inputs else n for n in nodes]
    return Graph(graph.name, [n for n in users if n.id != relu.id], graph.outputs)


def test_a_block_without_relu_after_the_addition_differs() -> None:
    report = check_paper(_without_last_relu(cifar_resnet(20)), "table6/20")
    assert _differing(report) == {"ReLU", "layer by layer"}
    assert "joined or classified otherwise" in render(report)


def test_the_authors_pooling_is_not_remarked_on() -> None:
    graph = load("resnet18").graph
    caffe = [
        replace(node, op=replace(node.op, pad=(0, 0), ceil=True))
        if isinstance(node.op, MaxPool)
        else node
        for node in graph
    ]
    report = check_paper(Graph("caffe", caffe, graph.outputs), "table1/18")
    assert report.holds
    assert report.notes == ()


def _toy(norm_after_add: bool = False, gated: bool = False) -> Graph:
    b = Builder()
    x = b.add(BatchNorm, "bn1", b.add(Conv2d, "conv1", b.input(3, 32, 32), out=16, kernel=(3, 3)))
    x = b.add(Relu, "relu", x)
    if gated:
        x = b.add(Mul, "gate", x, b.add(Sigmoid, "sigmoid", b.add(GlobalAvgPool, "squeeze", x)))
    if norm_after_add:
        x = b.add(Conv2d, "lonely", x, out=16, kernel=(3, 3))
    x = b.add(Flatten, "flatten", b.add(GlobalAvgPool, "gap", x))
    return b.graph(logits=b.add(Linear, "fc", x, out=10))


def test_a_graph_that_is_not_built_like_a_residual_network_says_where() -> None:
    report = check_paper(_toy(gated=True), "table6/20")
    assert not report.holds
    assert report.rows[0].what == "structure"
    assert report.rows[0].here == "gate is no addition of a body and a shortcut"
    assert "parameters, recounted" in _differing(report)


def test_a_convolution_without_batch_norm_differs() -> None:
    assert "batch norm" in _differing(check_paper(_toy(norm_after_add=True), "plain/20"))


def test_json_says_the_same() -> None:
    report = check_paper(load("resnet50").graph, "table1/50")
    told = json.loads(json.dumps(report.to_json()))
    assert told["holds"] is True
    assert [row["verdict"] for row in told["rows"]] == [row.verdict.value for row in report.rows]
    assert told["deviations"][0]["macs"] == report.deviations[0].macs
