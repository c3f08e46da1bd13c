"""How the live module runs a graph: what writes over what, and which modules can run twice.

A *place* is the least thing that is recomputed by itself, a block in most networks. Children of one
`nn.Sequential` form a chain: neighbours in it can be recomputed together, so that what lies between
them need not be held either. A module anywhere else is a chain by itself. Modules that are called
more than once are left alone, and so is what the network itself computes between modules.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from resnetc.analysis.footprint import Execution, Place
from resnetc.backends.torch.programs import Programs
from resnetc.backends.torch.tree import Module, module_tree
from resnetc.backends.torch.values import Values
from resnetc.ir import Graph, Node, NodeId
from resnetc.ops import Input

_MOST = 0.7
"""A module with so large a part of its layers in modules of its own is taken apart."""

_BLOCK = 1 / 8
"""But not one with less than this part of the network's activations: that is a block."""

_SMALL = 1 / 64
"""And no sequence of blocks with less than this."""

_ROW = 6
"""A sequence of more layers than this, as VGG's, is taken apart though no blocks are in it."""


def execution(graph: Graph) -> Execution:
    """How `build_module` runs a graph in training. Linear; without torch."""
    values = Values(graph)
    root = module_tree(graph, values)
    return _Walk(graph, values, root).execution()


class _Walk:
    """Goes through the tree of modules once."""

    def __init__(self, graph: Graph, values: Values, root: Module) -> None:
        self._graph = graph
        self._programs = Programs(graph, values)
        self._root = root
        self._overwrites: dict[NodeId, NodeId] = {}
        self._total = _activations(_nodes(root))
        self._called_again = {m.repeats for m in _modules(root) if m.repeats is not None}

    def execution(self) -> Execution:
        for module in _modules(self._root):
            for node in _own(module):
                place = self._programs.overwritten(module, node)
                if place is not None:
                    self._overwrites[node.id] = node.inputs[place]
        order = {node.id: number for number, node in enumerate(self._graph)}
        places = sorted(self._places(self._root), key=lambda place: order[place.nodes[0].id])
        return Execution(self._overwrites, tuple(places))

    def _places(self, module: Module) -> Iterator[Place]:
        """The places in a module that is taken apart; layers between two modules are one."""
        loose: list[Node] = []
        for item in module.items:
            if isinstance(item, Node):
                loose.append(item)
                continue
            if loose:
                yield Place(tuple(loose))
                loose = []
            yield from self._of_module(item, chain=item.scope.path)
        if loose:
            yield Place(tuple(loose))

    def _of_module(self, module: Module, chain: str) -> Iterator[Place]:
        nodes = tuple(_nodes(module))
        if not nodes:
            return
        if not module.results or module.repeats is not None or module in self._called_again:
            yield Place(nodes)
        elif self._programs.is_sequence(module) and self._is_chain(module, nodes):
            yield from self._links(module)
        elif self._is_container(module, nodes):
            yield from self._places(module)
        else:
            yield Place(nodes, module.scope.path, chain)

    def _is_container(self, module: Module, nodes: tuple[Node, ...], part: float = _BLOCK) -> bool:
        within = sum(len(list(_nodes(item))) for item in module.items if isinstance(item, Module))
        return _activations(nodes) > part * self._total and within >= _MOST * len(nodes)

    def _is_chain(self, module: Module, nodes: tuple[Node, ...]) -> bool:
        return len(module.items) > _ROW or self._is_container(module, nodes, _SMALL)

    def _links(self, sequence: Module) -> Iterator[Place]:
        """The children of a sequence, in one chain; a layer that writes over what the one before
        it made stands in one place with it, as it cannot run again by itself."""
        path = sequence.scope.path
        row: list[Node] = []
        first = 0
        for number, item in enumerate(sequence.items):
            joins = isinstance(item, Node) and item.id in self._overwrites
            if joins and not row:  # it writes over what a module made
                yield Place(tuple(_nodes(item)))
                continue
            if row and not joins:
                yield Place(tuple(row), _link(path, first, number), path)
                row = []
            if isinstance(item, Module):
                yield from self._of_module(item, chain=path)
                continue
            first = first if row else number
            row.append(item)
        if row:
            yield Place(tuple(row), _link(path, first, len(sequence.items)), path)


def _link(path: str, first: int, stop: int) -> str:
    """The path of children `first` to `stop` of a sequence, as `features.3` or `features.3-5`."""
    last = "" if stop == first + 1 else f"-{stop - 1}"
    return f"{path}.{first}{last}"


def _modules(root: Module) -> Iterator[Module]:
    """A module and all those in it, repeated ones too."""
    waiting = [root]
    while waiting:
        module = waiting.pop()
        yield module
        waiting += [item for item in module.items if isinstance(item, Module)]


def _own(module: Module) -> Iterator[Node]:
    return (i for i in module.items if isinstance(i, Node) and not isinstance(i.op, Input))


def _nodes(top: Module | Node) -> Iterator[Node]:
    """All nodes of a module in their order."""
    waiting: list[Node | Module] = [top]
    while waiting:
        item = waiting.pop()
        if isinstance(item, Module):
            waiting += reversed(item.items)
        elif not isinstance(item.op, Input):
            yield item


def _activations(nodes: Iterable[Node]) -> int:
    return sum(node.type.elements for node in nodes)
