"""The text of a lifted network, and the proof that it is the network that was read."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from resnetc.checking import check_source
from resnetc.diagnostics import InternalError, Source
from resnetc.highlighting import words
from resnetc.ir import Graph
from resnetc.lang.format import format_source
from resnetc.lift.blocks import Block, Naming, blocks_of
from resnetc.lift.idioms import (
    Ambients,
    find_residuals,
    number,
    use_ambients,
    use_prelude,
    use_when_same,
)
from resnetc.lift.model import Shape, read_model
from resnetc.lift.naming import name_layers
from resnetc.lift.network import Network
from resnetc.lift.policies import Policy, choose_policy
from resnetc.lift.reading import read_network
from resnetc.lift.regions import nest_concats, regions
from resnetc.lift.scopes import modules
from resnetc.lift.tree import Body, Expr
from resnetc.lift.writing import write_body, write_value
from resnetc.ops import Op

if TYPE_CHECKING:
    import numpy as np

_PRELUDE = ("conv", "norm", "act", "A", "B", "C", "D", "plain", "when_same", "conv_norm_act")
"""Names of the prelude that a lifted file means as they are there."""
_STRUCTURES = ("seq", "group", "residual", "add", "mul", "concat", "tuple", "split")
_RESERVED = frozenset(
    (*words.DECLARATIONS, *words.CONSTANTS, *words.OPERATORS, *words.VALUES, *words.STATEMENTS)
) | {*words.CONNECTIVES, *_PRELUDE, *_STRUCTURES}
"""What nothing in a file may be called."""


@dataclass(frozen=True)
class Lifted:
    """A network as source, its compiled graph, and its arrays by parameter path."""

    name: str
    text: str
    graph: Graph
    arrays: dict[str, np.ndarray]


def lift(path: Path, *, shape: Shape | None = None, name: str | None = None) -> Lifted:
    """The source of the network in an ONNX file, and its weights.

    `shape` is the input's, CxHxW, for files that leave it open; `name` the network's, which
    otherwise is the file's. The source is compiled, and its graph is the one that was read, node
    by node; where what a person would have written is not, plain rows are. Raises UsageError and
    RunError for files that cannot be read, LiftError for a model that the language cannot express.
    """
    network = name_layers(nest_concats(read_network(read_model(path, shape))))
    called = _identifier(name or network.name)
    wrong = []
    for plain in (False, True):
        text = format_source(Source(path.name, _Author(network, called, plain=plain).file()))
        graph, complaint = _proven(network, called, text)
        if graph is not None:
            return Lifted(called, text, graph, network.arrays())
        wrong.append(f"{complaint}\n{text}")
    raise InternalError(f"what was lifted from {path} is not what was read: {wrong[-1]}")


def _proven(network: Network, name: str, text: str) -> tuple[Graph | None, str]:
    """The graph of a source that is the network, node by node, else what is wrong with it."""
    report = check_source(Source(f"{name}.rnet", text), Path(f"{name}.rnet"))
    if report.findings or name not in report.networks:
        return None, "; ".join(f"{finding.code} {finding.message}" for finding in report.findings)
    graph = report.networks[name]
    forms: _Forms = {}
    read = _form(forms, ((x.id, x.op, x.inputs, _owned(x.path, x.arrays)) for x in network.layers))
    return (graph, "") if _form(forms, _nodes(graph)) == read else (None, "another network")


def _identifier(name: str) -> str:
    cleaned = re.sub(r"\W+", "_", name).strip("_") or "network"
    return f"n{cleaned}" if cleaned[0].isdigit() or cleaned in _RESERVED else cleaned


# -------------------------------------------------------------------------------------- proof

_Node = tuple[int, Op, tuple[int, ...], tuple[str, ...]]


_Forms = dict[tuple[Op, tuple[int, ...], tuple[str, ...]], int]
"""Numbers of all that was seen so far: an op, its operands' numbers, the parameters it owns."""


def _form(forms: _Forms, nodes: Iterable[_Node]) -> int:
    """The number of a network's output: the same for equal ops, operands and parameters.

    Nothing is said of the order in which nodes stand, or in which operands are added.
    """
    known: dict[int, int] = {}
    last = 0
    for key, op, inputs, owned in nodes:
        operands = [known[i] for i in inputs]
        if op.name == "identity":
            known[key] = operands[0]
            continue
        if op.name in ("add", "mul"):
            operands.sort()
        last = forms.setdefault((op, tuple(operands), owned), len(forms))
        known[key] = last
    return last


def _nodes(graph: Graph) -> Iterator[_Node]:
    for node in graph:
        paths = (p.path for p in node.parameters if not p.path.endswith("num_batches_tracked"))
        yield node.id, node.op, node.inputs, tuple(sorted(paths))


def _owned(path: str | None, arrays: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(f"{path}.{name}" for name in arrays))


# --------------------------------------------------------------------------------------- text


class _Author:
    """Writes a file: blocks, a shortcut policy where one is needed, the network.

    A `plain` one is rows with whole paths for labels, and no more than the language needs.
    """

    def __init__(self, network: Network, name: str, *, plain: bool = False) -> None:
        self.network, self.name = network, name
        self.shape = network.layers[0].type.shape
        self.tree = modules(regions(network), network.layers[0].type, flat=plain)
        self.ambients = use_ambients(self.tree)
        self.policy: Policy | None = None
        self.blocks: list[Block] = []
        if not plain:
            self._find_idioms()

    def _find_idioms(self) -> None:
        number(self.tree)
        use_prelude(self.tree, self.ambients)
        find_residuals(self.tree)
        use_when_same(self.tree)
        self.policy = choose_policy(self.tree, has_norm=self.ambients.norm is not None)
        naming = Naming({self.name, *_RESERVED, "depthwise", "projection"})
        self.blocks = list(blocks_of(self.tree, naming))

    def file(self) -> str:
        """The whole text, not laid out yet."""
        policy = [self.policy.declaration] if self.policy and self.policy.declaration else []
        blocks = [_declaration(block) for block in self.blocks]
        return "\n\n".join(["rnet 1", *policy, *blocks, self._network()]) + "\n"

    def _network(self) -> str:
        extents = "x".join(map(str, self.shape))
        rows = write_body(self._classes(self.tree), shapes=True)
        params = sum(array.size for _, array in self._trained())
        head = f"network {self.name}({', '.join(self._parameters())}) {{"
        return f"{head}\ninput {extents}\n\n{rows}\n\nexpect params = {params:_}\n}}"

    def _trained(self) -> Iterator[tuple[str, np.ndarray]]:
        for path, array in self.network.arrays().items():
            if not path.endswith((".running_mean", ".running_var")):
                yield path, array

    def _classes(self, tree: Body) -> Body:
        """The tree with the width of a linear layer at its end as a parameter."""
        last = tree[-1]
        while last.bodies and len(last.bodies) == 1:
            last = last.bodies[0][-1]
        if last.word == "linear":
            last.args["out"] = Expr("classes")
        return tree

    def _parameters(self) -> list[str]:
        found = []
        if self.network.output.op.name == "linear":
            found.append(f"classes: int = {write_value(self.network.output.type.shape[0])}")
        return found + _ambient_parameters(self.ambients, self.policy)


def _ambient_parameters(ambients: Ambients, policy: Policy | None) -> list[str]:
    """What the network's ambients are, where not what the prelude says."""
    found = []
    if ambients.bias:
        found.append("conv: layer = conv2d(bias=true)")
    if ambients.norm is None:
        found.append("norm: layer? = none")
    elif ambients.norm != Ambients().norm:
        usual = dict(Ambients().norm or ())
        args = [f"{k}={write_value(v)}" for k, v in ambients.norm if usual.get(k) != v]
        found.append(f"norm: layer? = batchnorm({', '.join(args)})")
    if ambients.act != "relu":
        found.append(f"act: layer? = {ambients.act}")
    if policy is not None and policy.name != "B":
        found.append(f"shortcut: shortcut = {policy.name}")
    return found


def _declaration(block: Block) -> str:
    texts = []
    for parameter in block.parameters:
        default = "" if parameter.default is None else f" = {write_value(parameter.default)}"
        texts.append(f"{parameter.name}: {parameter.type}{default}")
    head = f"block {block.name}" + (f"({', '.join(texts)})" if texts else "")
    rows = write_body(block.body)
    return f"{head} = seq {{\n{rows}\n}}" if block.is_sequence else f"{head} {{\n{rows}\n}}"
