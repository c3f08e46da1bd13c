"""The tree of modules: which scopes of a graph become modules of their own.

A scope becomes a module when it can be called as one: its nodes stand together, nothing from
outside lies under its path, no other scope has that path, and either all of its nodes or none are
of training only. A scope that repeats one is that module, called again. Any other scope is inlined:
its layers are registered under the same paths, but the module above computes with them. So the
worst that an odd graph gets is a long `forward`, never another result or another parameter name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from operator import itemgetter

from resnetc.backends.torch.values import Values
from resnetc.diagnostics import InternalError
from resnetc.ir import Graph, Node, NodeId, Scope
from resnetc.ops import Input


@dataclass(eq=False)
class Module:
    """A scope that becomes a module.

    `items` are its own nodes (with those of inlined scopes) and the modules in it, in the graph's
    order. `reads` are the values that come from outside, in order of first use; `results` those
    that outsiders read, none for a module whose work no output needs. `repeats` is the module that
    this one is, called again.
    """

    scope: Scope
    items: list[Node | Module] = field(default_factory=list)
    reads: tuple[NodeId, ...] = ()
    results: tuple[NodeId, ...] = ()
    repeats: Module | None = None

    @property
    def modules(self) -> Iterator[Module]:
        """The modules that are made here: not those that are only called again."""
        return (i for i in self.items if isinstance(i, Module) and i.repeats is None)


def module_path(node: Node) -> str | None:
    """Path of the module that holds a node's parameters; None for a node without any.

    What is one parameter and no module stands there itself.

    Raises InternalError when the parameters do not lie in one module under their op's names.
    """
    found = None
    for parameter, spec in zip(node.parameters, node.op.parameters(), strict=True):
        module, _, name = parameter.path.rpartition(".") if spec.name else (parameter.path, "", "")
        if name != spec.name or found not in (None, module):
            raise InternalError(f"{parameter.path} of {node.name} is not a torch layer's parameter")
        found = module
    return found


def module_tree(graph: Graph, values: Values) -> Module:
    """The network's module, with all others in it."""
    scopes = _Scopes(graph, values)
    modules = {scope.id: Module(scope) for scope in graph.scopes if scopes.is_module(scope)}
    for module in modules.values():
        if module.scope.repeats is not None:
            module.repeats = modules[module.scope.repeats]
    placed: list[tuple[int, int, Node | Module]] = [
        (values.position[node.id], scopes.module_of[node.scope], node)
        for node in graph
        if not isinstance(node.op, Input)
    ]
    placed += [
        (scopes.extent[scope_id].first, scopes.module_of[module.scope.parent], module)
        for scope_id, module in modules.items()
        if module.scope.parent is not None
    ]
    for _, scope_id, item in sorted(placed, key=itemgetter(0)):
        modules[scope_id].items.append(item)
    for module in reversed(modules.values()):
        _find_crossings(module, values, scopes.extent[module.scope.id])
    root = modules[graph.scopes[0].id]
    root.reads = tuple(node.id for node in graph.inputs)
    root.results = tuple(values.source[i] for i in graph.results.values())
    return root


def _find_crossings(module: Module, values: Values, extent: _Extent) -> None:
    """Fill in `reads` and `results`, those of the modules inside being known."""
    reads: dict[NodeId, None] = {}
    results: list[NodeId] = []
    for item in module.items:
        if isinstance(item, Module):
            read, made = item.reads, item.results
        elif values.computed(item):
            read, made = values.operands(item), (item.id,)
        else:
            continue
        reads.update(dict.fromkeys(i for i in read if values.position[i] not in extent))
        results += [i for i in made if values.last_read.get(i, -1) > extent.last]
    module.reads, module.results = tuple(reads), tuple(results)


@dataclass
class _Extent:
    """The positions a scope's nodes take up: first, last, how many there are, and how many of them
    are of training only."""

    first: int
    last: int = -1
    nodes: int = 0
    training: int = 0

    def __contains__(self, position: int) -> bool:
        return self.first <= position <= self.last

    def add(self, first: int, last: int, nodes: int, training: int) -> None:
        self.first, self.last = min(self.first, first), max(self.last, last)
        self.training += training
        self.nodes += nodes


class _Scopes:
    """Which scopes can be called; `module_of` leads from a scope to the module it is part of."""

    def __init__(self, graph: Graph, values: Values) -> None:
        self.values = values
        self._graph = graph
        self._by_id = {scope.id: scope for scope in graph.scopes}
        first = (scope for scope in graph.scopes if scope.repeats is None)
        self._taken = Counter(scope.path for scope in first if self._is_labelled(scope))
        self.extent = self._extents()
        self._crowded = self._find_crowded()
        inlined = self._find_inlined()
        self.module_of: dict[int, int] = {}
        for scope in graph.scopes:
            above = None if scope.parent is None else self.module_of[scope.parent]
            joins = above is not None and _first(scope) in inlined
            self.module_of[scope.id] = above if above is not None and joins else scope.id

    def is_module(self, scope: Scope) -> bool:
        return self.module_of[scope.id] == scope.id

    def _is_labelled(self, scope: Scope) -> bool:
        return scope.parent is None or scope.path != self._by_id[scope.parent].path

    def _find_inlined(self) -> set[int]:
        """Scopes that cannot be modules, by the first where one is repeated: all or none can."""
        at = {position: self._graph[node_id] for node_id, position in self.values.position.items()}
        inlined = {_first(scope) for scope in self._graph.scopes if not self._callable(scope)}
        for scope in self._graph.scopes:
            first = _first(scope)
            if scope.repeats is None or first in inlined:
                continue
            if self._work(scope.id, at) != self._work(first, at):
                inlined.add(first)
        return inlined

    def _work(self, scope_id: int, at: Mapping[int, Node]) -> list[object]:
        """What a scope's nodes do, in terms that are equal for two calls of one module."""
        extent = self.extent[scope_id]
        door: dict[NodeId, int] = {}
        work: list[object] = []
        for position in range(extent.first, extent.last + 1):
            node = at[position]
            sources = [(i, self.values.position[i]) for i in self.values.operands(node)]
            operands = [
                place - extent.first if place in extent else ~door.setdefault(i, len(door))
                for i, place in sources
            ]
            leaves = self.values.last_read.get(node.id, -1) > extent.last
            work.append((node.op, operands, self.values.computed(node), leaves))
        return work

    def _callable(self, scope: Scope) -> bool:
        extent = self.extent[scope.id]
        together = extent.nodes == extent.last - extent.first + 1
        alone = self._taken[scope.path] == 1 and scope.path not in self._crowded
        one_mode = extent.training in (0, extent.nodes)
        return self._is_labelled(scope) and extent.nodes > 0 and together and alone and one_mode

    def _extents(self) -> dict[int, _Extent]:
        extents = {scope.id: _Extent(len(self._graph)) for scope in self._graph.scopes}
        for node in self._graph:
            position = self.values.position[node.id]
            if position >= 0:
                training = node.id in self._graph.training_only
                extents[node.scope].add(position, position, 1, int(training))
        for scope in reversed(self._graph.scopes):
            inner = extents[scope.id]
            if scope.parent is not None and inner.nodes:
                above = extents[scope.parent]
                above.add(inner.first, inner.last, inner.nodes, inner.training)
        return extents

    def _find_crowded(self) -> set[str]:
        """Paths of scopes under which something lies that is not in the scope."""
        scope_paths = set(self._taken) - {""}
        crowded: set[str] = set()
        places = [(scope.path, scope) for scope in self._graph.scopes]
        places += [
            (path, self._by_id[node.scope])
            for node in self._graph
            if (path := module_path(node)) is not None
        ]
        for path, scope in places:
            inside = {above.path for above in self._above(scope)}
            crowded.update(p for p in _prefixes(path) if p in scope_paths and p not in inside)
        return crowded

    def _above(self, scope: Scope) -> Iterator[Scope]:
        yield scope
        while scope.parent is not None:
            scope = self._by_id[scope.parent]
            yield scope


def _first(scope: Scope) -> int:
    """The scope itself, or the one that it repeats."""
    return scope.id if scope.repeats is None else scope.repeats


def _prefixes(path: str) -> Iterator[str]:
    """`a`, `a.b` and `a.b.c` of `a.b.c`."""
    end = path.find(".")
    while end >= 0:
        yield path[:end]
        end = path.find(".", end + 1)
    if path:
        yield path
