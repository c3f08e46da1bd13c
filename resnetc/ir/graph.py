"""The graph: typed ops, ordered operands, types, parameter paths, spans; networkx beside.

A node's ordered tuple of operands is the truth. The networkx graph is derived from it: a DiGraph
keeps one edge for `add(x, x)` and knows no operand order.

A graph is never changed. A pass reads one and builds the next through `GraphEditor`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

from resnetc.diagnostics import InternalError, Span
from resnetc.ir.identity import identity
from resnetc.ir.parameters import Parameter
from resnetc.ir.runs import Run
from resnetc.ops import Op
from resnetc.shapes import TensorType

if TYPE_CHECKING:
    import networkx as nx

NodeId = int


@dataclass(frozen=True, slots=True)
class Scope:
    """One placed block: a module of the tree that parameter paths spell.

    `path` is the module path ("layer1.0"), empty for the network itself. `block` is what was
    placed there: the name of a block, `seq`, or the network's. Scopes without a label share their
    parent's path, and so does with another one a scope that `repeats` it: the same module, called
    once more.
    """

    id: int
    parent: int | None
    path: str
    block: str
    span: Span | None = None
    repeats: int | None = None


@dataclass(frozen=True, slots=True)
class Node:
    """An op in its place.

    `name` is unique in the graph and speaks of the place ("layer1.0.conv1", "layer1.0.relu_1").
    `inputs` are the operands in order, `type` is the output's, `scope` the innermost scope's id.
    """

    id: NodeId
    name: str
    op: Op
    inputs: tuple[NodeId, ...]
    type: TensorType
    parameters: tuple[Parameter, ...] = ()
    scope: int = 0
    span: Span | None = None


class Graph:
    """A network, verified or about to be. Nodes stand in a topological order.

    `outputs` are node ids by output name; a classifier has one, called "logits". `aux` are those
    of training only: the auxiliary heads, which inference drops. Input nodes carry the op `Input`.
    `left_out` are parameters of the whole network where this is a part of it: weights for them
    are no mistake. `runs` are copies of a block one behind another; no node is in two of them.
    """

    def __init__(
        self,
        name: str,
        nodes: Iterable[Node],
        outputs: Mapping[str, NodeId],
        scopes: Iterable[Scope] = (),
        aux: Mapping[str, NodeId] | None = None,
        left_out: frozenset[str] = frozenset(),
        runs: Iterable[Run] = (),
    ) -> None:
        self.name = name
        self.left_out = left_out
        self.runs = tuple(runs)
        self.verified: set[NodeId] = set()
        """Nodes the verifier has found well formed, here or in the graph they were kept from."""
        self.outputs = dict(outputs)
        self.aux = dict(aux or {})
        self.scopes = tuple(scopes) or (Scope(0, None, "", name),)
        self._nodes: dict[NodeId, Node] = {}
        for node in nodes:
            if node.id in self._nodes:
                raise InternalError(f"two nodes have the id {node.id}")
            for operand in node.inputs:
                if operand not in self._nodes:
                    raise InternalError(f"{node.name} reads {operand}, which is not before it")
            self._nodes[node.id] = node

    @cached_property
    def _users(self) -> dict[NodeId, list[NodeId]]:
        users: dict[NodeId, list[NodeId]] = {}
        for node in self:
            users[node.id] = []
            for operand in dict.fromkeys(node.inputs):
                users[operand].append(node.id)
        return users

    @cached_property
    def nx(self) -> nx.DiGraph:
        """The networkx graph: nodes by id with their `Node` under "node". Read-only.

        For graph algorithms and for validation in a user's own tests. Made when first asked for:
        importing networkx takes longer than compiling most networks.
        """
        import networkx as nx

        graph = nx.DiGraph(name=self.name)
        graph.add_nodes_from((node.id, {"node": node}) for node in self)
        graph.add_edges_from((i, user) for i, users in self._users.items() for user in users)
        return nx.freeze(graph)

    def __getitem__(self, node_id: NodeId) -> Node:
        return self._nodes[node_id]

    def __contains__(self, node_id: object) -> bool:
        return node_id in self._nodes

    def __len__(self) -> int:
        return len(self._nodes)

    def __iter__(self) -> Iterator[Node]:
        """Nodes in topological order."""
        return iter(self._nodes.values())

    def users(self, node_id: NodeId) -> list[Node]:
        """Nodes that read this one's output, each once, in topological order."""
        return [self._nodes[user] for user in self._users[node_id]]

    def operands(self, node: Node) -> tuple[TensorType, ...]:
        """Types of a node's operands, in order."""
        return tuple(self[operand].type for operand in node.inputs)

    @cached_property
    def inputs(self) -> tuple[Node, ...]:
        return tuple(node for node in self if node.op.name == "input")

    @property
    def results(self) -> dict[str, NodeId]:
        """What a training step sees: the outputs, then the auxiliary ones."""
        return self.outputs | self.aux

    @cached_property
    def training_only(self) -> frozenset[NodeId]:
        """Nodes that auxiliary outputs depend on and no output does: the auxiliary heads."""
        if not self.aux:
            return frozenset()
        return self.needed_by(self.aux.values()) - self.needed_by(self.outputs.values())

    def needed_by(self, results: Iterable[NodeId]) -> frozenset[NodeId]:
        """Nodes that these values depend on, themselves included, inputs not."""
        needed = set(results)
        for node in reversed(self._nodes.values()):
            if node.id in needed:
                needed.update(node.inputs)
        return frozenset(i for i in needed if self[i].op.name != "input")

    @cached_property
    def parameters(self) -> dict[str, Parameter]:
        """All parameters and buffers by path, in state_dict order."""
        return {p.path: p for node in self for p in node.parameters}

    @cached_property
    def hash(self) -> str:
        """Identity of the network: names, ops, attributes, operands, types; not text or spans."""
        return identity(self)


@dataclass
class GraphEditor:
    """Builds the graph that a pass makes of another, node by node in topological order.

    Every node of the old graph is kept, replaced, or forwarded to a value of the new one;
    operands that refer to old nodes are translated. `finish` drops what no output needs.
    """

    old: Graph
    changed: bool = False
    _nodes: dict[NodeId, Node] = field(default_factory=dict)
    _value: dict[NodeId, NodeId] = field(default_factory=dict)
    _aux: dict[str, NodeId] = field(default_factory=dict)
    _moved: set[NodeId] = field(default_factory=set)
    """Old nodes for which another value stands, or one of another type."""
    _results: dict[tuple[int, ...], tuple[TensorType, Op, list[TensorType]]] = field(
        default_factory=dict
    )
    """Types by the identities of an op and its operands' types, which are kept beside."""
    _next: int = 0

    def __post_init__(self) -> None:
        self._aux = self.old.aux
        self._next = max((node.id for node in self.old), default=-1) + 1

    def type_of(self, old_id: NodeId) -> TensorType:
        """Type, in the new graph, of the value that stands for an old node."""
        return self._nodes[self._value[old_id]].type

    def operands(self, node: Node) -> tuple[TensorType, ...]:
        """Types, in the new graph, of an old node's operands."""
        return tuple(self.type_of(operand) for operand in node.inputs)

    def keep(self, node: Node) -> Node:
        """Carry a node over as it is; its type is inferred anew from its operands."""
        if node is self.old[node.id] and self._moved.isdisjoint(node.inputs):
            self._nodes[node.id] = node  # as nearly all nodes in nearly all passes
            self._value[node.id] = node.id
            return node
        inputs = tuple([self._value[operand] for operand in node.inputs])
        type_ = self._result(node.op, inputs, node.type)
        return self._put(node, replace(node, inputs=inputs, type=type_))

    def replace(
        self,
        node: Node,
        op: Op,
        parameters: tuple[Parameter, ...] | None = None,
        at: Node | None = None,
    ) -> Node:
        """Carry a node over with another op, and other parameters when given; or in the place of
        a later one, `at`, whose readers then read it."""
        self.changed = True
        place = node if at is None else at
        held = node.parameters if parameters is None else parameters
        inputs = tuple([self._value[operand] for operand in node.inputs])
        type_ = self._result(op, inputs, place.type)
        new = Node(place.id, node.name, op, inputs, type_, held, node.scope, node.span)
        return self._put(place, new)

    def _result(self, op: Op, inputs: tuple[NodeId, ...], before: TensorType) -> TensorType:
        """The type that an op gives of values of the new graph. One object for equal types, and
        `before` where it is equal: copies of a block are told by identity when verified."""
        operands = [self._nodes[i].type for i in inputs]
        like = (id(op), id(before), *map(id, operands))
        if (known := self._results.get(like)) is not None:
            return known[0]
        made = op.result(*operands)
        kept = before if made == before else made
        self._results[like] = kept, op, [before, *operands]
        return kept

    def forward(self, node: Node, to: NodeId) -> None:
        """Let readers of `node` read what stands for the old node `to` instead."""
        self.changed = True
        self._value[node.id] = self._value[to]
        self._moved.add(node.id)

    def insert_after(self, node: Node, op: Op, name: str) -> Node:
        """A new node behind what stands for `node`; later readers of `node` read it."""
        self.changed = True
        operand = self._nodes[self._value[node.id]]
        new = Node(
            self._next,
            name,
            op,
            (operand.id,),
            op.result(operand.type),
            scope=node.scope,
            span=node.span,
        )
        self._next += 1
        return self._put(node, new)

    def value(self, old_id: NodeId) -> NodeId:
        """What stands, in the new graph, for an old node."""
        return self._value[old_id]

    def derive(self, near: Node, operand: NodeId, op: Op, name: str) -> NodeId:
        """A new node that reads a value of the new graph; who reads it is told by `place`."""
        self.changed = True
        read = self._nodes[operand]
        new = Node(
            self._next,
            name,
            op,
            (operand,),
            op.result(read.type),
            scope=near.scope,
            span=near.span,
        )
        self._next += 1
        self._nodes[new.id] = new
        return new.id

    def place(
        self,
        node: Node,
        inputs: tuple[NodeId, ...],
        op: Op | None = None,
        parameters: tuple[Parameter, ...] | None = None,
    ) -> Node:
        """Carry a node over with operands that are values of the new graph, and perhaps another op
        or other parameters."""
        made = replace(
            node,
            op=node.op if op is None else op,
            inputs=inputs,
            parameters=node.parameters if parameters is None else parameters,
        )
        made = replace(made, type=self._result(made.op, inputs, node.type))
        plain = tuple(self._value[operand] for operand in node.inputs)
        self.changed = self.changed or made != replace(node, inputs=plain)
        return self._put(node, made)

    def _put(self, old: Node, new: Node) -> Node:
        self._nodes[new.id] = new
        self._value[old.id] = new.id
        if new.id != old.id or new.type is not self.old[old.id].type:
            self._moved.add(old.id)
        return new

    def drop_aux(self) -> None:
        """Leave the auxiliary outputs out of the new graph, and with them what only they need."""
        self.changed = self.changed or bool(self.old.aux)
        self._aux = {}

    def finish(self) -> Graph:
        """The new graph, without the nodes that no output depends on; inputs always stay."""
        outputs = {name: self._value[node_id] for name, node_id in self.old.outputs.items()}
        aux = {name: self._value[node_id] for name, node_id in self._aux.items()}
        alive = {*outputs.values(), *aux.values()}
        for node in reversed(self._nodes.values()):
            if node.id in alive:
                alive.update(node.inputs)
        kept = [n for n in self._nodes.values() if n.id in alive or n.op.name == "input"]
        self.changed = self.changed or len(kept) < len(self._nodes)
        new = Graph(self.old.name, kept, outputs, self.old.scopes, aux, self.old.left_out)
        known = self.old.verified
        new.verified = {n.id for n in kept if n.id in known and n is self.old[n.id]}
        return new
