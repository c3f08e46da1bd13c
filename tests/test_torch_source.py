"""The emitted text: what it looks like, and that odd graphs keep their names."""

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
from torch_reference import assert_same_training

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
    AvgPool,
    BatchNorm,
    ChannelAffine,
    Concat,
    Conv2d,
    Dropout,
    Flatten,
    GlobalAvgPool,
    Identity,
    Linear,
    MaxPool,
    Mul,
    PadChannels,
    Relu,
    Sigmoid,
    Subsample,
)
from resnetc.passes import lower_for_inference
from resnetc.recipes import HeNormal

THREE = (3, 3)


def body(source: str) -> str:
    """A source without its docstring, which names version and hash."""
    return source.split('"""\n\n', 1)[1]


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


def odd() -> Graph:
    """What no ordinary network has, at once: see the labels."""
    network = Network("9 odd-names")
    root = network.root
    x = root.layer(Conv2d, root.input(3, 8, 8, name="image"), label="convs.0", kernel=THREE, out=4)
    x = root.layer(Conv2d, root.layer(Relu, x), label="convs.1", kernel=THREE)
    x = root.layer(BatchNorm, x, label="convs.norm-1", gamma=0.5)
    seen = root.block("two ways", "type")
    y = seen.layer(Conv2d, x, label="class", kernel=THREE)
    z = seen.layer(AvgPool, y, kernel=THREE, stride=(1, 1), count_pad=False)
    act = root.block("norm_act", "bn1")  # owns parameters itself, as timm's BatchNormAct2d does
    w = act.layer(Relu, act.layer(BatchNorm, root.layer(Add, y, z)))
    features = root.seq("features")
    v = features.layer(Conv2d, w, kernel=(1, 3), pad=(0, 1))
    v = features.layer(Sigmoid, v)
    v = features.layer(Dropout, features.layer(Identity, v), p=0.0)
    inner = root.block("free")  # without a label: part of the network
    u = inner.layer(Conv2d, v, label="features_tail", kernel=(1, 1), groups=4, bias=True)
    u = root.layer(MaxPool, root.layer(Concat, u, w, z), kernel=(2, 2), stride=(2, 1), ceil=True)
    return network.graph(map=u, again=z)


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


# --------------------------------------------------------------------------------- odd graphs


def assert_names_and_numbers(graph: Graph) -> torch.nn.Module:
    module = build_module(graph)
    assert set(module.state_dict()) == set(graph.parameters)
    assert_same_training(graph, module, tolerance=1e-7)
    return module


def test_odd_labels_keep_their_names() -> None:
    module = assert_names_and_numbers(odd())
    assert isinstance(module.get_submodule("features"), torch.nn.Sequential)
    assert isinstance(module.get_submodule("bn1"), torch.nn.BatchNorm2d)


@pytest.mark.parametrize(
    "label",
    [
        "stride",
        "weight",
        "bias",
        "forward",
        "_modules",
        "__x",
        "",
        "é",
        "if",
        'a"b',
        "a\\",
    ],
)
def test_any_label_can_be_under_a_layer_or_a_block(label: str) -> None:
    network = Network("net")
    root = network.root
    extended = root.block("extended", "own")
    x = extended.layer(Conv2d, root.input(2, 5, 5), kernel=THREE, bias=False)
    x = extended.layer(Conv2d, x, label=f"a.{label}", kernel=THREE, bias=True)
    x = extended.layer(Conv2d, x, label=label or ".", kernel=THREE, bias=True)
    layered = root.layer(Conv2d, x, label="plain", kernel=THREE)
    layered = root.layer(BatchNorm, layered, label=f"plain.{label}")
    x = root.block("block", "inner").layer(Conv2d, layered, label=label or ".", kernel=THREE)
    assert_names_and_numbers(network.graph(y=x))


def test_a_scope_that_something_else_lies_under_is_inlined() -> None:
    network = Network("net")
    root = network.root
    layer = root.seq("layer")
    x = layer.layer(Relu, layer.layer(Conv2d, root.input(2, 5, 5), kernel=THREE))
    x = root.layer(Conv2d, x, label="layer.tail", kernel=THREE)
    module = assert_names_and_numbers(network.graph(y=x))
    assert list(module.state_dict()) == ["layer.0.weight", "layer.tail.weight"]


def test_a_scope_whose_work_is_interrupted_is_inlined() -> None:
    network = Network("net")
    root = network.root
    block = root.block("block", "b")
    x = block.layer(Conv2d, root.input(2, 5, 5), label="first", kernel=THREE)
    x = root.layer(BatchNorm, x, label="between")
    x = block.layer(Conv2d, x, label="second", kernel=THREE)
    module = assert_names_and_numbers(network.graph(y=x))
    paths = ["b.first.weight", "b.second.weight"]
    assert [p for p in module.state_dict() if p.startswith("b.")] == paths


def test_two_scopes_of_one_path_are_inlined() -> None:
    network = Network("net")
    root = network.root
    x = root.input(2, 5, 5)
    for name in ("a", "b"):
        x = root.block("block", "same").layer(Conv2d, x, label=name, kernel=THREE)
    assert_names_and_numbers(network.graph(y=x))


def test_a_sequence_that_is_read_in_the_middle() -> None:
    network = Network("net")
    root = network.root
    seq = root.seq("s")
    middle = seq.layer(Conv2d, root.input(2, 5, 5), kernel=THREE)
    end = seq.layer(BatchNorm, middle)
    only_middle = root.seq("t")
    early = only_middle.layer(Conv2d, end, kernel=THREE)
    only_middle.layer(Sigmoid, early)
    assert_names_and_numbers(network.graph(y=end, m=root.layer(Add, middle, early)))


def test_an_optional_layer_with_a_child_that_stays() -> None:
    network = Network("net")
    root = network.root
    x = root.input(2, 5, 5)
    layers = root.seq("layers")
    for index in range(4):
        at = layers.block("block")
        x = at.layer(Conv2d, x, label="a", kernel=THREE) if index % 2 else x
        x = at.layer(BatchNorm, x, label="a.norm")
    assert_names_and_numbers(network.graph(y=x))


def repeated(fill: Callable[[Place, Node, bool], Node]) -> Graph:
    """Four instances of one block, every other one with something that the rest lack."""
    network = Network("net")
    x = network.root.layer(Conv2d, network.root.input(2, 6, 6), label="stem", kernel=THREE)
    layers = network.root.seq("layers")
    for index in range(4):
        x = fill(layers.block("block"), x, bool(index % 2))
    return network.graph(y=x)


def test_a_part_of_two_values_is_not_optional() -> None:
    network = Network("net")
    root = network.root
    a = root.input(2, 5, 5)
    layers = root.seq("layers")
    b = root.layer(Sigmoid, a)
    for index in range(4):
        at = layers.block("block")
        x = at.layer(Sigmoid, at.layer(Add, a, b) if index % 2 else a)
        a = at.layer(Add, x, b)
    assert_names_and_numbers(network.graph(y=a))


def test_a_part_that_no_number_tells_of_has_a_parameter_of_its_own() -> None:
    network = Network("net")
    x = network.root.input(2, 5, 5)
    layers = network.root.seq("layers")
    for width, gated in [(4, False), (4, True), (8, True), (8, False)]:
        at = layers.block("block")
        x = at.layer(Conv2d, x, label="conv", kernel=THREE, out=width)
        x = at.layer(Conv2d, x, label="extra", kernel=(1, 1)) if gated else x
    graph = network.graph(y=x)
    assert "extra: bool = False" in emit_source(graph)
    assert_names_and_numbers(graph)


@pytest.mark.parametrize("reader", [Relu, Add])
def test_what_one_instance_may_overwrite_another_may_not(reader: Any) -> None:
    def fill(at: Place, x: Node, odd: bool) -> Node:
        inner = at.block("inner", "i")
        y = inner.layer(BatchNorm, x, label="bn")
        y = inner.layer(Sigmoid, y) if odd else y  # sigmoid's backward reads its output
        return at.layer(reader, y) if reader is Relu else at.layer(reader, y, x)

    graph = repeated(fill)
    assert "with_sigmoid" in emit_source(graph)
    assert_names_and_numbers(graph)


def test_a_block_that_extends_a_layer_keeps_the_layers_attributes() -> None:
    def fill(at: Place, x: Node, odd: bool) -> Node:
        x = at.layer(Conv2d, x, kernel=THREE)
        return at.layer(MaxPool, x, kernel=THREE, stride=(2, 2) if odd else (1, 1))

    graph = repeated(fill)
    assert "self.own_stride = stride" in emit_source(graph)
    assert_names_and_numbers(graph)


def test_variables_live_until_they_are_read() -> None:
    def fill(at: Place, x: Node, odd: bool) -> Node:
        a = at.layer(Sigmoid, at.layer(Relu, x))
        late = at.layer(Conv2d, a, label="late", kernel=THREE)  # written where `product` is
        b = at.layer(Relu, at.layer(Conv2d, x, label="conv", kernel=THREE))
        product = at.layer(Mul, late, b)
        both = at.layer(Concat, product, x)
        return at.layer(Conv2d, both, label="last", kernel=(1, 1), out=2)

    assert_names_and_numbers(repeated(fill))


def test_a_part_leaves_the_variables_around_it_alone() -> None:
    def fill(at: Place, x: Node, odd: bool) -> Node:
        a = at.layer(Relu, x)
        b = at.layer(Relu, at.layer(Conv2d, x, label="conv", kernel=THREE))
        if odd:
            inner = at.layer(Relu, at.layer(Conv2d, b, label="inner", kernel=THREE))
            b = at.layer(Mul, b, inner)
        both = at.layer(Concat, b, a, x)
        return at.layer(Conv2d, both, label="last", kernel=(1, 1), out=2)

    graph = repeated(fill)
    assert "if self.inner is not None:" in emit_source(graph)
    assert_names_and_numbers(graph)


def test_blocks_that_differ_in_what_they_give_back() -> None:
    network = Network("net")
    root = network.root
    x = y = root.input(2, 5, 5)
    layers = root.seq("layers")
    for index in range(3):
        at = layers.block("block")
        y = at.layer(Conv2d, x, label="conv", kernel=THREE)
        z = at.layer(Sigmoid, y)
        x = root.layer(Add, y, z) if index == 1 else z
    assert_names_and_numbers(network.graph(x=x, y=y))


def test_dead_branches_keep_their_parameters() -> None:
    network = Network("net")
    root = network.root
    x = root.input(2, 5, 5)
    dead = root.seq("dead")
    dead.layer(Sigmoid, dead.layer(Conv2d, x, kernel=THREE))
    root.layer(BatchNorm, x, label="also_dead")
    y = root.layer(Relu, root.layer(Conv2d, x, label="alive", kernel=THREE))
    module = assert_names_and_numbers(network.graph(y=y))
    assert set(module.state_dict()) >= {"dead.0.weight", "also_dead.weight"}


def test_blocks_that_nest_in_themselves() -> None:
    network = Network("net")
    at = network.root
    x = at.input(2, 5, 5)
    for depth in range(4):
        at = at.block("nest", f"n{depth % 2}")
        x = at.layer(Conv2d, x, label="conv", kernel=THREE)
    assert_names_and_numbers(network.graph(y=x))


def stage(at: Place, x: Node, width: int, depth: int) -> Node:
    layers = at.seq("blocks")
    for index in range(depth):
        stride = 1 if index else 2
        x = graphs.basic(layers.block("basic"), x, width, stride, graphs.projection_if_changed)
    return x


def test_stages_of_different_depth_are_one_class() -> None:
    network = Network("net")
    root = network.root
    x = root.input(4, 32, 32)
    for number, (width, depth) in enumerate([(4, 2), (8, 5), (16, 3)]):
        x = stage(root.block("stage", f"s{number}"), x, width, depth)
    graph = network.graph(y=x)
    assert emit_source(graph).count("\nclass ") == 3
    assert "range(depth" in emit_source(graph)
    assert_names_and_numbers(graph)


def test_a_deep_network_without_blocks() -> None:
    network = Network("deep")
    x = network.root.input(1, 2, 2)
    for place in range(3000):
        x = network.root.layer(Conv2d, x, label=f"conv{place}", kernel=(1, 1))
        x = network.root.layer(Relu, x)
    module = build_module(network.graph(y=x))
    module(torch.ones(1, 1, 2, 2)).sum().backward()


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
