"""Graphs built by hand with the scopes and names the elaborator gives them.

`Place` is a cursor in the tree of scopes: `layer` puts an op there, `block` and `seq` open a scope.
The networks at the end are the paper's, and torchvision's variant of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from resnetc.ir import Graph, Node, Parameter, Scope
from resnetc.ir.parameters import Stored
from resnetc.ops import (
    Add,
    BatchNorm,
    Conv2d,
    Flatten,
    GlobalAvgPool,
    Input,
    Linear,
    MaxPool,
    Op,
    PadChannels,
    Relu,
    Subsample,
)
from resnetc.shapes import TensorType


class Network:
    """A graph in the making."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.nodes: list[Node] = []
        self.scopes = [Scope(0, None, "", name)]
        self.taken: Counter[str] = Counter()

    @property
    def root(self) -> Place:
        return Place(self, self.scopes[0])

    def graph(self, **outputs: Node) -> Graph:
        ends = {name: node.id for name, node in outputs.items()}
        return Graph(self.name, self.nodes, ends, self.scopes)


class Place:
    """One scope being filled."""

    def __init__(self, network: Network, scope: Scope) -> None:
        self.network = network
        self.scope = scope
        self.index = 0

    def input(self, *shape: int, name: str = "input") -> Node:
        return self._put(name, "", Input(TensorType(shape)), ())

    def layer(self, op: type[Op], *operands: Node, label: str = "", **arguments: Any) -> Node:
        """Place an op; the arguments are those of its call in the language."""
        placed = op.place(tuple(node.type for node in operands), **arguments)
        step = self._step(label)
        module = self.join(step)
        return self._put(module if step else self._unique(op.name), module, placed, operands)

    def block(self, block: str, label: str = "") -> Place:
        """Open a scope: a placed block, or with `block="seq"` an indexed sequence."""
        path = self.join(self._step(label))
        scope = Scope(len(self.network.scopes), self.scope.id, path, block)
        self.network.scopes.append(scope)
        return Place(self.network, scope)

    def seq(self, label: str = "") -> Place:
        return self.block("seq", label)

    def _step(self, label: str) -> str:
        """The path component that the next layer or block adds: label, index or nothing."""
        if label or self.scope.block != "seq":
            return label
        self.index += 1
        return str(self.index - 1)

    def join(self, step: str) -> str:
        """The path of something here that adds this component."""
        return ".".join(part for part in (self.scope.path, step) if part)

    def _unique(self, name: str) -> str:
        full = self.join(name)
        count = self.network.taken[full]
        self.network.taken[full] += 1
        return f"{full}_{count}" if count else full

    def _put(self, name: str, module: str, op: Op, operands: tuple[Node, ...]) -> Node:
        paths = [(".".join(p for p in (module, s.name) if p), s) for s in op.parameters()]
        held = tuple(Parameter(path, s.type, s.role, Stored(path)) for path, s in paths)
        inputs = tuple(node.id for node in operands)
        result = op.result(*(node.type for node in operands))
        nodes = self.network.nodes
        nodes.append(Node(len(nodes), name, op, inputs, result, held, self.scope.id))
        return nodes[-1]


# ----------------------------------------------------------------------------- blocks, shortcuts

Shortcut = Callable[[Place, Node, Node], Node | None]
"""Given the block, its input and the body's end: the shortcut's value, or None for a plain net."""


def conv_norm(
    at: Place, x: Node, number: int | str, out: int, kernel: int, stride: int = 1
) -> Node:
    size, step = (kernel, kernel), (stride, stride)
    x = at.layer(Conv2d, x, label=f"conv{number}", kernel=size, out=out, stride=step)
    return at.layer(BatchNorm, x, label=f"bn{number}")


def projection(at: Place, x: Node, y: Node) -> Node:
    """Option C: a projection everywhere."""
    stride = (x.type.shape[1] // y.type.shape[1],) * 2
    down = at.seq("downsample")
    x = down.layer(Conv2d, x, kernel=(1, 1), out=y.type.shape[0], stride=stride)
    return down.layer(BatchNorm, x)


def projection_if_changed(at: Place, x: Node, y: Node) -> Node:
    """Option B."""
    return x if x.type == y.type else projection(at, x, y)


def zero_padding(sides: str = "after") -> Shortcut:
    """Option A."""

    def shortcut(at: Place, x: Node, y: Node) -> Node:
        if x.type == y.type:
            return x
        stride = (x.type.shape[1] // y.type.shape[1],) * 2
        x = at.layer(Subsample, x, stride=stride)
        return at.layer(PadChannels, x, to=y.type.shape[0], sides=sides)

    return shortcut


def plain(at: Place, x: Node, y: Node) -> None:
    """No shortcut."""


def residual(at: Place, x: Node, y: Node, shortcut: Shortcut) -> Node:
    other = shortcut(at, x, y)
    return at.layer(Relu, y if other is None else at.layer(Add, y, other))


def basic(at: Place, x: Node, width: int, stride: int, shortcut: Shortcut) -> Node:
    y = at.layer(Relu, conv_norm(at, x, 1, width, 3, stride))
    return residual(at, x, conv_norm(at, y, 2, width, 3), shortcut)


def bottleneck(at: Place, x: Node, width: int, stride: int, shortcut: Shortcut) -> Node:
    """torchvision's: the stride is on the 3x3."""
    y = at.layer(Relu, conv_norm(at, x, 1, width, 1))
    y = at.layer(Relu, conv_norm(at, y, 2, width, 3, stride))
    return residual(at, x, conv_norm(at, y, 3, 4 * width, 1), shortcut)


def bottleneck_v1(at: Place, x: Node, width: int, stride: int, shortcut: Shortcut) -> Node:
    """The paper's: the stride is on the first 1x1."""
    y = at.layer(Relu, conv_norm(at, x, 1, width, 1, stride))
    y = at.layer(Relu, conv_norm(at, y, 2, width, 3))
    return residual(at, x, conv_norm(at, y, 3, 4 * width, 1), shortcut)


# ----------------------------------------------------------------------------------- the networks


def stages(
    root: Place,
    x: Node,
    unit: Callable[..., Node],
    depths: list[int],
    base: int,
    shortcut: Shortcut,
) -> Node:
    name = "bottleneck" if unit is bottleneck_v1 else unit.__name__
    for stage, depth in enumerate(depths):
        layers = root.seq(f"layer{stage + 1}")
        for index in range(depth):
            stride = 2 if stage and not index else 1
            x = unit(layers.block(name), x, base * 2**stage, stride, shortcut)
    return x


def head(root: Place, x: Node, classes: int) -> Node:
    x = root.layer(Flatten, root.layer(GlobalAvgPool, x))
    return root.layer(Linear, x, label="fc", out=classes)


def imagenet(
    unit: Callable[..., Node],
    depths: list[int],
    *,
    shortcut: Shortcut = projection_if_changed,
    name: str = "resnet",
    classes: int = 1000,
    side: int = 224,
    base: int = 64,
) -> Graph:
    """A network of Table 1."""
    network = Network(name)
    root = network.root
    x = root.layer(Relu, conv_norm(root, root.input(3, side, side), 1, base, 7, 2))
    x = root.layer(MaxPool, x, kernel=(3, 3), stride=(2, 2))
    x = stages(root, x, unit, depths, base, shortcut)
    return network.graph(logits=head(root, x, classes))


DEPTHS = {
    "resnet18": (basic, [2, 2, 2, 2]),
    "resnet34": (basic, [3, 4, 6, 3]),
    "resnet50": (bottleneck, [3, 4, 6, 3]),
    "resnet101": (bottleneck, [3, 4, 23, 3]),
    "resnet152": (bottleneck, [3, 8, 36, 3]),
}


def torchvision_resnet(name: str, **options: Any) -> Graph:
    """`resnet18` to `resnet152` as torchvision has them."""
    unit, depths = DEPTHS[name]
    return imagenet(unit, depths, name=name, **options)


def cifar(
    depth: int,
    *,
    shortcut: Shortcut | None = None,
    classes: int = 10,
    side: int = 32,
    base: int = 16,
) -> Graph:
    """A 6n+2 network, by default with option A."""
    network = Network(f"resnet{depth}" if shortcut is not plain else f"plain{depth}")
    root = network.root
    x = root.layer(Relu, conv_norm(root, root.input(3, side, side), 1, base, 3))
    x = stages(root, x, basic, [(depth - 2) // 6] * 3, base, shortcut or zero_padding())
    return network.graph(logits=head(root, x, classes))
