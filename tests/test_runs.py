"""Runs of copies: what they promise, and that whatever is made of a graph by means of them is what
is made of it without."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_graphs import some_weights

from resnetc import load, zoo
from resnetc.backends.onnx import OnnxOptions, model, model_bytes, write_onnx
from resnetc.backends.random_weights import random_weights
from resnetc.diagnostics import CompileError, RunError
from resnetc.ir import Graph, GraphEditor
from resnetc.ir.runs import Run, shortened
from resnetc.ir.verify import Stage, verify
from resnetc.lang import place
from resnetc.lang.replay import Replay
from resnetc.ops import Tanh
from resnetc.passes import Plan, lower_for_inference

Compile = Callable[[str], Graph]


def without_runs(graph: Graph) -> Graph:
    return Graph(graph.name, graph, graph.outputs, graph.scopes, graph.aux, graph.left_out)


@pytest.fixture
def compiled(tmp_path: Path) -> Compile:
    """The graph of a body of a network."""
    file = tmp_path / "x.rnet"

    def compile(body: str) -> Graph:
        file.write_text(f"{BLOCKS}\nnetwork n {{\n  input 4x8x8\n  {body}\n  {HEAD}\n}}\n")
        return load(file).graph

    return compile


HEAD = "gap -> flatten -> fc: linear(3)"
BLOCKS = """rnet 1

block unit(width: int = 4) {
  residual { conv1: conv(3x3, width) -> bn1: norm -> act -> conv2: conv(3x3, width) -> bn2: norm }
  act
}
block preact(width: int = 4) {
  residual { bn1: norm -> act -> conv1: conv(3x3, width) -> bn2: norm -> act
             conv2: conv(3x3, width) }
}
block bare { conv: conv(3x3, 4) }
block also_bare { conv: conv(1x1, 4) }
block normed { bn: norm -> conv: conv(3x3, 4) }
block clipped { conv: conv(3x3, 4) -> bn: norm -> relu6 }
block nothing { dropout(50%) }
block dropping { conv: conv(3x3, 4, bias=true) -> dropout(50%) -> act }
block standard { conv: ws_conv2d(3x3, 4) -> bn: norm -> act }
block scaled { residual { conv: conv(1x1, 4, bias=true) -> gamma: channel_scale(0.1) } }
block doubled { conv: conv(1x1, 4, bias=true) -> affine([2.0]) }
block transposed { up: conv_transpose2d(1x1, 4) -> bn: norm }
block normal { ln: layernorm -> act }
block grouped { gn: groupnorm(2) -> act }
block attending { residual { conv: conv(3x3, 4) -> bn: norm
  mul { | identity | gap -> fc: conv(1x1, 4, bias=true) -> sigmoid } } -> act }
block parted { concat { | a: conv(1x1, 2) | b: conv(3x3, 2) } -> bn: norm -> act }
block strange { "%d's": bare -> "é": bare }
block pair { one: unit -> two: unit }
block stage { a: unit * 6 }
"""

# -------------------------------------------------------------------------------- what they promise


def check(graph: Graph, run: Run) -> None:
    """What :class:`Run` says."""
    nodes = [[graph[i] for i in run.nodes(copy)] for copy in range(len(run.paths))]
    for path, first, copy in zip(run.paths, [nodes[0]] * len(nodes), nodes, strict=True):
        cut = len(run.paths[0])
        for node, like in zip(copy, first, strict=True):
            assert node.name == path + like.name[cut:]
            assert like.name.startswith(f"{run.paths[0]}.")
            assert (node.op, node.type) == (like.op, like.type)
            assert [(p.path, p.type, p.role) for p in node.parameters] == [
                (path + p.path[cut:], p.type, p.role) for p in like.parameters
            ]
    backs = [
        [[node.id - operand for operand in node.inputs] for node in copy] for copy in nodes[1:]
    ]
    assert all(back == backs[0] for back in backs)
    for at, node in enumerate(backs[0]):
        assert all(0 < back <= at + run.length for back in node)


def check_all(graph: Graph) -> None:
    for run in graph.runs:
        check(graph, run)
    inside = [i for run in graph.runs for i in range(run.start, run.nodes(-1).stop)]
    assert len(set(inside)) == len(inside)
    assert graph.hash == without_runs(graph).hash
    short = shortened(graph)
    assert all(short.graph[i] is graph[i] for i in short.graph.verified)
    verify(short.graph, Stage.SOURCE)
    assert short.graph.outputs == graph.outputs


def test_the_zoo() -> None:
    """Every network: its runs, its hash, and the model without its arrays."""
    shorter = 0
    for name in zoo.networks():
        try:
            graph = load(name).graph
        except CompileError:  # a template
            continue
        check_all(graph)
        if shortened(graph).runs:
            shorter += 1
            made, plain = (
                model.build_skeleton(each, OnnxOptions()) for each in (graph, without_runs(graph))
            )
            assert made.around(made.nodes + made.types) == plain.around(plain.nodes + plain.types)
            names = [[name for s in m.initializers for _, name in s.named()] for m in (made, plain)]
            assert names[0] == names[1]
    assert shorter > 100


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ("a: unit * 5", [("a.0", 5)]),
        ("a: unit * 2", [("a.0", 2)]),
        ("a: unit", []),
        ("x: unit(8) -> y: unit(8) -> z: unit(8)", [("y", 2)]),
        ("a: unit * 3 -> b: bare * 4", [("a.0", 3), ("b.0", 4)]),
        ("a: unit * 3 -> relu -> b: unit * 3", [("a.0", 3), ("b.0", 3)]),
        ("a: pair * 3", [("a.0.one", 2), ("a.1", 2)]),
        ("a: stage -> b: stage -> c: stage", [("a.a.0", 6), ("b", 2)]),
        ("a: unit -> b: unit -> c: unit -> reuse b", []),
        ('for i in 0..5 { "a{i}": unit }', [("a0", 5)]),
        (
            '"x": relu -> a: unit as p  b: unit as q  from p  c: unit'
            "  add { | from here | from q }",
            [("a", 2)],
        ),
        (
            "s: relu as s  a: unit as a  from s  b: unit as b  from a  c: unit as c  from b"
            "  d: unit as d"
            "  from c  e: unit as e  add { | from d | from here }",
            [],
        ),
        ('s: bare as s[]  for i in 0..6 { "a{i}": unit as s[] }  from s[4] -> act', [("a0", 4)]),
        ("x: seq { unit -> unit } -> y: seq { unit -> unit }", [("x.0", 2), ("y.0", 2)]),
        ("p: bare -> q: bare -> r: also_bare -> s: also_bare", [("p", 2), ("r", 2)]),
    ],
)
def test_what_is_a_run(compiled: Compile, body: str, found: list[tuple[str, int]]) -> None:
    graph = compiled(body)
    check_all(graph)
    assert [(run.paths[0], len(run.paths)) for run in graph.runs] == found


def test_a_graph_is_as_short_as_its_kinds_of_block() -> None:
    assert len(shortened(load("resnet1202").graph).graph) == len(
        shortened(load("resnet110").graph).graph
    )


# --------------------------------------------------------------------------- what is made with them

BODIES = {
    "residual": "a: unit * 6",
    "pre-activated": "a: preact * 6 -> bn: norm -> act",
    "a norm behind": "a: bare * 6 -> bn: norm",
    "norms between": "a: normed * 6 -> bn: norm -> act",
    "constants": "a: clipped * 6",
    "nothing that stays": "a: nothing * 6 -> act",
    "dropouts": "a: dropping * 6",
    "standardized weights": "a: standard * 6",
    "scales": "a: scaled * 6",
    "norms that stay": "a: normal * 6 -> b: grouped * 6",
    "gates": "a: attending * 6",
    "concats": "a: parted * 6",
    "blocks of blocks": "a: pair * 6",
    "runs in runs": "a: stage -> b: stage -> c: stage -> d: stage -> e: stage",
    "one behind another": "a: unit * 5 -> b: unit(8) * 6 -> c: bare * 5",
    "read from outside": 's: bare as kept[]  for i in 0..6 { "a{i}": unit as kept[] }'
    "  add { | from kept[2] | from here }",
    "read by a layer": 's: bare as kept[]  for i in 0..6 { "a{i}": normed as kept[] }'
    "  add { | from kept[1] | from kept[2] | from here }",
    "the last an output": "a: unit * 6  let end = here  output end",
    "a norm of the middle": 's: relu as kept[]  for i in 0..6 { "a{i}": bare as kept[] }'
    "  from kept[4] -> bn: norm -> add { | from here | from kept[6] }",
    "an output in the middle": 's: bare as kept[]  for i in 0..6 { "a{i}": bare as kept[] }'
    "  bn: norm  let mid = kept[3]  let end = here  output mid, end",
    "factors": "a: doubled * 6",
    "transposed": "a: transposed * 6",
    "strange names": "a: strange * 6",
    "strange paths": '"50%": unit * 6 -> "it\'s": unit * 6',
    "the first reads what is further back": "relu as x -> sigmoid as y  from x  a: unit * 6"
    "  add { | from y | from here }",
    "reused": "a: unit -> b: unit -> c: unit -> d: unit -> e: unit -> reuse c",
    "a layer under a copy's path": 'a: unit * 6 -> "a.3.extra": conv(3x3, 4)',
    "a name of a copy's taken": '"a.3.conv1.weight": relu -> a: unit * 6',
    "lengths of names": "a: bare * 120",
}


@pytest.mark.parametrize("options", [OnnxOptions(), OnnxOptions(fold=False, batch=2)], ids=str)
@pytest.mark.parametrize("name", BODIES)
def test_the_bytes_are_the_same(
    compiled: Compile, tmp_path: Path, name: str, options: OnnxOptions
) -> None:
    graph = compiled(BODIES[name])
    check_all(graph)
    weights = some_weights(graph)
    made = model_bytes(graph, weights, options)
    assert made == model_bytes(without_runs(graph), weights, options)
    onnx.checker.check_model(made, full_check=True)
    files = [tmp_path / f"{i}.onnx" for i in range(2)]
    outside = OnnxOptions(external=True, fold=options.fold, batch=options.batch)
    for file, each in zip(files, (graph, without_runs(graph)), strict=True):
        write_onnx(each, file, weights, options=outside)
    models = [re.sub(rb"\d.onnx.data", b"", file.read_bytes()) for file in files]
    assert models[0] == models[1]
    assert Path(f"{files[0]}.data").read_bytes() == Path(f"{files[1]}.data").read_bytes()
    onnxruntime.InferenceSession(files[0], providers=["CPUExecutionProvider"])


_ROWS = st.sampled_from(
    [
        "c{}: conv(3x3, 4)",
        "d{}: conv2d(1x1, 4, bias=true)",
        "b{}: norm",
        "relu",
        "relu6",
        "silu",
        "dropout(20%)",
        "s{}: channel_scale(0.5)",
        "affine([2.0])",
        "residual {{ e{}: conv(3x3, 4) -> f{}: norm }}",
        "concat {{ | identity | g{}: conv(1x1, 4) }} -> h{}: conv(1x1, 4)",
        "relu as x{}  sigmoid  add {{ | from x{} | from here }}",
    ]
)


@given(
    blocks=st.lists(st.lists(_ROWS, min_size=1, max_size=4), min_size=1, max_size=2),
    inner=st.tuples(st.integers(1, 5), st.sampled_from(["* {}", "-> y: b0", "-> dropout(20%)"])),
    stages=st.lists(st.tuples(st.integers(0, 2), st.integers(1, 12)), min_size=1, max_size=3),
    between=_ROWS,
    fold=st.booleans(),
)
@settings(max_examples=150, deadline=None)
def test_of_random_blocks(
    tmp_path_factory: pytest.TempPathFactory,
    blocks: list[list[str]],
    inner: tuple[int, str],
    stages: list[tuple[int, int]],
    between: str,
    fold: bool,
) -> None:
    text = "rnet 1\n"
    for number, rows in enumerate(blocks):
        body = "\n  ".join(row.format(i, i) for i, row in enumerate(rows))
        text += f"block b{number} {{\n  {body}\n}}\n"
    text += f"block b{len(blocks)} {{ x: b0 {inner[1].format(inner[0])} }}\n"
    text += "network n {\n  input 4x6x6\n"
    for number, (block, times) in enumerate(stages):
        text += f"  l{number}: b{block % (len(blocks) + 1)} * {times}\n"
        text += f"  {between.format(90 + number, 90 + number)}\n"
    text += f"  {HEAD}\n"
    file = tmp_path_factory.getbasetemp() / "random.rnet"
    file.write_text(text + "}\n")
    graph = load(file).graph
    check_all(graph)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(place, "Replay", lambda record, enabled: Replay(record, enabled=False))
        assert load(file).graph.hash == graph.hash  # and nothing of it was copied
    weights = some_weights(graph)
    options = OnnxOptions(fold=fold)
    made = model_bytes(graph, weights, options)
    assert made == model_bytes(without_runs(graph), weights, options)


@pytest.mark.parametrize("behind", ["a.1.conv1", "a.1.relu_2", "a.5.conv1", "a.5.relu_2"])
def test_what_a_pass_adds_to_a_copy(
    compiled: Compile, monkeypatch: pytest.MonkeyPatch, behind: str
) -> None:
    """Behind a layer of the second copy or the last one, that copy is not like the others."""
    graph = compiled("a: unit * 6")
    weights = some_weights(graph)

    def lowered(graph: Graph, **settings: Any) -> Any:
        outcome = lower_for_inference(graph, **settings)
        editor = GraphEditor(outcome.graph)
        for node in outcome.graph:
            editor.keep(node)
            if node.name == behind:
                editor.insert_after(node, Tanh(), "added")
        return replace(outcome, graph=editor.finish())

    plain = model_bytes(graph, weights)
    monkeypatch.setattr(model, "lower_for_inference", lowered)
    made = model_bytes(graph, weights)
    assert made == model_bytes(without_runs(graph), weights) != plain


@pytest.mark.parametrize("keep", ["a.1", "a.3", "a.5", "fc"])
def test_a_report_names_every_layer(compiled: Compile, keep: str) -> None:
    graph = compiled("a: unit * 6")
    weights = some_weights(graph)
    options = OnnxOptions(plan=Plan(keep=(keep,)))
    assert model_bytes(graph, weights, options) == model_bytes(
        without_runs(graph), weights, options
    )


def test_most_of_a_deep_network_is_not_lowered(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []

    def counted(graph: Graph, **settings: object) -> object:
        sizes.append(len(graph))
        return lower_for_inference(graph, **settings)  # type: ignore[arg-type]

    monkeypatch.setattr(model, "lower_for_inference", counted)
    graph = load("resnet1202").graph
    model.build_skeleton(graph, OnnxOptions())
    assert sizes == [len(shortened(graph).graph)]
    assert sizes[0] < 100
    sizes.clear()
    model.build_skeleton(graph, OnnxOptions(precision="fp16"))  # whose report names every layer
    assert sizes == [len(graph)]


# ---------------------------------------------------------------------------------------- arrays


def test_arrays_of_copies_of_any_element_type(compiled: Compile) -> None:
    graph = compiled("a: unit * 6")
    weights = some_weights(graph)
    weights["a.2.conv1.weight"] = weights["a.2.conv1.weight"].astype(np.float16)
    weights["a.3.conv1.weight"] = weights["a.1.conv1.weight"] / np.float64(3)
    weights["a.4.bn1.weight"] = weights["a.4.bn1.weight"].astype(np.float64) / 3
    before = {path: array.copy() for path, array in weights.items()}
    assert model_bytes(graph, weights) == model_bytes(without_runs(graph), weights)
    for path, array in weights.items():
        np.testing.assert_array_equal(array, before[path])


@pytest.mark.parametrize(("path", "number"), [("a.3.bn2.weight", 1e38), ("a.4.bn1.weight", 3e38)])
def test_what_is_too_large_is_refused_by_its_own_name(
    compiled: Compile, path: str, number: float
) -> None:
    graph = compiled("a: unit * 6")
    weights = some_weights(graph)
    weights[path] = np.full_like(weights[path], number)
    weights[path.replace("weight", "running_var")][:] = 1e-30
    said = []
    for each in (graph, without_runs(graph)):
        with pytest.raises(RunError, match=re.escape(path.replace("bn", "conv"))) as caught:
            model_bytes(each, weights)
        said.append(str(caught.value))
    assert said[0] == said[1]


@pytest.mark.parametrize("spoilt", [np.nan, np.inf])
def test_what_is_no_number_to_begin_with_is_passed_on(compiled: Compile, spoilt: float) -> None:
    graph = compiled("a: unit * 6")
    weights = some_weights(graph)
    weights["a.3.conv1.weight"][0] = spoilt
    assert model_bytes(graph, weights) == model_bytes(without_runs(graph), weights)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet1202", "resnet152", "seresnet152", "shufflenet_v2_x2_0"])
def test_whole_files(name: str) -> None:
    graph = load(name).graph
    weights = random_weights(graph)
    assert model_bytes(graph, weights) == model_bytes(without_runs(graph), weights)
