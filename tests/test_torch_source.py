"""The emitted text: what it looks like, and the module it makes."""

from __future__ import annotations

import ast
import copy
import linecache
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import GOLDEN
from odd_graphs import THREE, assert_names_and_numbers, body, odd

import graphs
import resnetc
from graphs import Network, Place
from resnetc.backends.torch import build_module, emit_source
from resnetc.backends.torch.emitters import EMITTERS, REFUSED
from resnetc.backends.torch.names import MODULE_ATTRIBUTES
from resnetc.diagnostics import InternalError, UsageError
from resnetc.ir import Graph, Node, Parameter
from resnetc.ops import (
    OPS,
    Add,
    BatchNorm,
    ChannelAffine,
    Conv2d,
    Dropout,
    Flatten,
    GlobalAvgPool,
    Identity,
    Linear,
    Mul,
    PadChannels,
    Relu,
    Sigmoid,
    Subsample,
)
from resnetc.passes import lower_for_inference
from resnetc.recipes import HeNormal

# ------------------------------------------------------------------------------------- goldens

GOLDENS: dict[str, Callable[[], Graph]] = {
    "bottleneck.py.txt": lambda: resnetc.load("resnet50", depths=[1, 2, 4, 1]).graph,
    "option_a.py.txt": lambda: resnetc.load("resnet20", {"shortcut": 'A(sides="both")'}).graph,
    "plain.py.txt": lambda: resnetc.load("plain20").graph,
    "squeeze_excite.py.txt": lambda: squeeze_excite(),
    "odd.py.txt": lambda: odd(),
    "googlenet.py.txt": lambda: resnetc.load("googlenet").graph,
    "mobilenet_v3.py.txt": lambda: resnetc.load("mobilenet_v3_small").graph,
}


@pytest.mark.parametrize("name", GOLDENS)
def test_golden(name: str, golden: Callable[[str, str], None]) -> None:
    golden(name, body(emit_source(GOLDENS[name]())))


def test_no_golden_is_orphaned() -> None:
    assert {path.name for path in GOLDEN.glob("*.py.txt")} == set(GOLDENS)


def squeeze_excite() -> Graph:
    """Blocks with two optional parts: a projection, and gates in every other block."""
    network = Network("gated")
    root = network.root
    x = graphs.conv_norm(root, root.input(3, 16, 16), 1, 8, 3)
    for stage, (width, depth) in enumerate([(8, 3), (16, 2)]):
        layers = root.seq(f"layer{stage + 1}")
        for index in range(depth):
            at = layers.block("gated_basic")
            y = graphs.conv_norm(at, x, 1, width, 3, 2 if stage and not index else 1)
            if index % 2:
                gate = at.layer(Conv2d, at.layer(GlobalAvgPool, y), label="gate", kernel=(1, 1))
                y = at.layer(Mul, y, at.layer(Sigmoid, gate))
            x = graphs.residual(at, x, y, graphs.projection_if_changed)
    return network.graph(logits=graphs.head(root, x, 10))


# ----------------------------------------------------------------------------------- the text


@pytest.mark.parametrize("name", ["resnet18", "resnet50_v1", "resnet34_a", "resnet1202", *GOLDENS])
def test_the_text_is_formatted(name: str, tmp_path: Path) -> None:
    graph = GOLDENS[name]() if name in GOLDENS else resnetc.load(name).graph
    source = emit_source(graph)
    path = tmp_path / "emitted.py"
    path.write_text(source)
    rules = ["--isolated", "--line-length=100"]
    ruff = [sys.executable, "-m", "ruff"]
    done = subprocess.run([*ruff, "format", "--diff", *rules, path], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    select = ["--select=E,F,W,I,B,D2,UP,RUF,SIM", "--ignore=D203,D205,D211,D212,D213,RUF001"]
    done = subprocess.run([*ruff, "check", *select, *rules, path], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_the_docstring_says_what_it_is() -> None:
    network = resnetc.load("resnet18")
    docstring = ast.get_docstring(ast.parse(emit_source(network.graph)))
    assert docstring is not None
    assert docstring.startswith("resnet18: 3x224x224 in, 1000 out.")
    for fact in (resnetc.__version__, "from resnet.rnet", network.graph.hash):
        assert fact in docstring


def test_a_name_cannot_break_out_of_the_text() -> None:
    network = Network('x"""\nimport os #')
    x = network.root.block('b"""\\', "l").layer(Relu, network.root.input(2, 3, 3))
    source = emit_source(network.graph(y=network.root.layer(Relu, x)))
    imported = [n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Import)]
    assert [alias.name for n in imported for alias in n.names] == ["torch.nn.functional"]


def test_the_document_shows_what_is_written() -> None:
    text = (Path(__file__).parent.parent / "docs" / "pytorch.md").read_text()
    shown = text.split("```python\n")[2].split("```")[0]
    assert shown in emit_source(resnetc.load("resnet1202").graph)


def test_writing_source_does_not_import_torch() -> None:
    script = (
        "import sys, resnetc; from resnetc.backends.torch import emit_source;"
        "emit_source(resnetc.load('resnet18').graph); assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_init_of_a_recipe_is_written() -> None:
    graph = resnetc.load("resnet18").graph
    fan_in, fan_out = (emit_source(graph, HeNormal(fan)) for fan in ("in", "out"))
    assert "fan in);" in fan_in
    assert "fan out), of linear layers fan in;" in fan_out
    assert fan_in == emit_source(graph)


def test_every_op_is_written_or_refused() -> None:
    assert set(EMITTERS) | set(REFUSED) == set(OPS.values())
    assert not set(EMITTERS) & set(REFUSED)


def test_no_label_hides_what_a_module_needs() -> None:
    public = {name for name in dir(torch.nn.Module()) if not name.startswith("_")}
    assert public <= MODULE_ATTRIBUTES


# ---------------------------------------------------------------------------------- overwriting


def test_in_place_work_is_used_where_it_is_safe() -> None:
    source = emit_source(resnetc.load("resnet50").graph)
    assert source.count("inplace=True") == source.count("F.relu(") == 4
    assert "out += " in source


@pytest.mark.parametrize(
    "build",
    [
        lambda at, x: at.layer(Add, y := at.layer(Sigmoid, x), at.layer(Relu, y)),
        lambda at, x: at.layer(Relu, at.layer(Sigmoid, x)),
        lambda at, x: at.layer(Relu, at.layer(Flatten, at.layer(Sigmoid, x))),
        lambda at, x: at.layer(Relu, at.layer(Subsample, at.layer(Sigmoid, x), stride=(2, 2))),
        lambda at, x: at.layer(Relu, at.layer(PadChannels, at.layer(Sigmoid, x), to=2)),
        lambda at, x: at.layer(Relu, at.layer(Dropout, at.layer(Sigmoid, x), p=0.0)),
        lambda at, x: at.layer(Relu, at.layer(Identity, at.layer(Sigmoid, x))),
        lambda at, x: at.layer(Relu, at.layer(Add, at.layer(Identity, x))),
        lambda at, x: at.layer(Add, x, x),
        lambda at, x: at.layer(Add, y := at.layer(BatchNorm, x, label="n"), y),
        lambda at, x: at.layer(Add, at.layer(Identity, y := at.layer(BatchNorm, x, label="n")), y),
        lambda at, x: at.layer(Mul, y := at.layer(BatchNorm, x, label="n"), at.layer(Relu, y)),
        lambda at, x: at.layer(Add, at.layer(Relu, x), at.layer(BatchNorm, x, label="n")),
    ],
)
def test_nothing_is_overwritten_that_is_still_needed(build: Callable[[Place, Any], Node]) -> None:
    network = Network("net")
    root = network.root
    x = root.input(2, 4, 4)
    # Inside a block, in a sequence, at the top; the value before is read again at the end.
    y = root.layer(Conv2d, x, label="conv", kernel=THREE)
    first = build(root.block("block", "b"), y)
    seq = root.seq("s")
    second = seq.layer(Relu, y)
    third = build(root, y)
    assert_names_and_numbers(network.graph(a=first, b=second, c=third, d=y))


def test_a_module_leaves_its_callers_tensor_alone() -> None:
    network = Network("net")
    root = network.root
    x = root.layer(Conv2d, root.input(2, 4, 4), label="conv", kernel=THREE)
    block, seq = root.block("block", "b"), root.seq("s")
    x = block.layer(BatchNorm, block.layer(Relu, x), label="bn")
    x = seq.layer(Conv2d, seq.layer(Relu, x), kernel=THREE)
    module = assert_names_and_numbers(network.graph(y=x)).double()
    for child in (module.get_submodule("b"), module.get_submodule("s")):
        given = torch.full((1, 2, 4, 4), -1.0, dtype=torch.float64)
        child(given)
        assert (given == -1).all()


# ------------------------------------------------------------------------------------ refusals


def test_a_label_that_torch_cannot_bear_is_refused() -> None:
    network = Network("net")
    x = network.root.layer(Conv2d, network.root.input(2, 4, 4), label="training", kernel=THREE)
    with pytest.raises(UsageError, match="`training`"):
        emit_source(network.graph(y=x))


def test_parameters_that_are_no_layers_are_refused() -> None:
    network = Network("net")
    network.root.layer(
        Linear, network.root.layer(Flatten, network.root.input(2, 1, 1)), label="f", out=2
    )
    node = network.nodes[-1]
    odd = Parameter(
        "f.matrix", node.parameters[0].type, node.parameters[0].role, node.parameters[0].value
    )
    network.nodes[-1] = Node(
        node.id, node.name, node.op, node.inputs, node.type, (odd, node.parameters[1]), node.scope
    )
    with pytest.raises(InternalError, match=r"f\.matrix"):
        emit_source(network.graph(y=network.nodes[-1]))


def test_folded_graphs_can_be_emitted() -> None:
    """A graph in which no batch norm is left: `channel_affine` and biases."""
    network = Network("pre")
    root = network.root
    x = root.layer(Relu, root.layer(BatchNorm, root.input(2, 6, 6), label="bn"))
    x = root.layer(BatchNorm, root.layer(Conv2d, x, label="conv", kernel=THREE), label="bn2")
    folded = lower_for_inference(network.graph(y=x)).graph
    assert any(isinstance(node.op, ChannelAffine) for node in folded)
    assert_names_and_numbers(folded)


# ------------------------------------------------------------------------------ the live module


def test_tracebacks_show_the_source() -> None:
    module = build_module(resnetc.load("resnet20").graph)
    try:
        module(torch.zeros(1, 4, 32, 32))
    except RuntimeError as error:
        shown = "".join(traceback.format_exception(error))
    linecache.checkcache()
    assert "x = F.relu(self.bn1(self.conv1(x)), inplace=True)" in shown


def test_a_module_can_be_copied() -> None:
    module = build_module(resnetc.load("resnet20").graph, seed=0).eval()
    twin = copy.deepcopy(module)
    x = torch.randn(1, 3, 32, 32)
    assert torch.equal(module(x), twin(x))
    next(twin.parameters()).data.zero_()
    assert not torch.equal(module(x), twin(x))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet20", "resnet18"])
def test_one_graph_for_the_compiler(name: str) -> None:
    """torch.compile takes the whole module without a break."""
    network = resnetc.load(name)
    module = build_module(network.graph, seed=0)
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
    x = torch.randn(2, *network.graph.inputs[0].type.shape)
    torch.testing.assert_close(compiled(x), copy.deepcopy(module)(x))
    compiled(x).sum().backward()
