"""What a training step of a live module holds in memory, as torch runs it, from the graph alone.

The rules, and why they are so:

- *Activations* are held for the gradients that are computed from them, as every op says of itself
  (`gradient_needs_operands`, `gradient_needs_output`): a convolution holds its operand, a batch
  norm its operand, a ReLU its result. A tensor that several ops hold is one tensor.
- *Written over.* A ReLU or a sum that writes over its operand makes no tensor; which ones do is the
  backend's to say (`Execution.overwrites`). So a residual block of convolution, norm and ReLU holds
  two tensors for each convolution: what it made, and what the norm made and the ReLU wrote over.
- *Views* (flatten, a slice, every second pixel) hold the tensor they look at.
- *Beside the tensors* some ops hold figures: a max pool its indices, int64 in torch; norms a mean
  and a deviation of each thing they normalise; dropout its noise, in floats on the CPU and in bytes
  on CUDA; weight standardisation two tensors the size of the weight.
- *bf16 autocast* makes convolutions and matrix products bf16, and what reads them follows. They
  hold a bf16 copy of their weights, and of an operand that was not bf16. Running figures stay
  float32.
- *Gradients of activations* live from the last reader's backward to the maker's. A sum, a concat
  and a view pass theirs on without a copy; a second gradient is added into the first where nobody
  else holds it.
- *Gradients of parameters* appear when the backward pass reaches them, and stay.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from resnetc.analysis.cost import node_counts, owned_parameters
from resnetc.diagnostics import InternalError
from resnetc.ir import Graph, Node, NodeId
from resnetc.ops import (
    Add,
    BatchNorm,
    BlurPool,
    ChannelConv1d,
    Concat,
    Conv2d,
    ConvTranspose2d,
    Dropout,
    DropPath,
    Flatten,
    GroupNorm,
    Identity,
    Input,
    LayerNorm,
    Linear,
    MaxPool,
    Mul,
    PixelLayerNorm,
    PixelLinear,
    Role,
    SliceChannels,
    Subsample,
    WsConv2d,
)
from resnetc.shapes import DType

_PRODUCTS = (Conv2d, ConvTranspose2d, ChannelConv1d, Linear, PixelLinear)
"""What autocast does in bf16; their subclasses with them."""

_PASSES_ON = (Add, Concat, Flatten, Identity)
"""Ops whose operands' gradients are the result's, or views of it."""


@dataclass(frozen=True)
class Setting:
    """How the step runs: `batch` images at a time, in a precision, on a kind of device."""

    batch: int
    precision: Literal["fp32", "bf16"] = "fp32"
    device: Literal["cpu", "cuda"] = "cpu"


@dataclass(frozen=True)
class Place:
    """A stretch of the graph that runs as one, `nodes` in their order.

    `path` is the module it is. Places that follow one another in one `chain` can be recomputed
    together; without a chain a place cannot be recomputed.
    """

    nodes: tuple[Node, ...]
    path: str = ""
    chain: str = ""


@dataclass(frozen=True)
class Execution:
    """How a backend's module runs a graph: which operand a node writes over, by node, and what the
    graph's nodes, inputs left out, fall into, in their order."""

    overwrites: Mapping[NodeId, NodeId]
    places: tuple[Place, ...]


@dataclass(frozen=True)
class Piece:
    """What a place costs, in bytes for the whole batch; `work` in FLOPs of one sample.

    `kept` is what it holds after the forward pass, `edge` the part that later places read, `entry`
    what it reads and nobody holds. `forward` and `backward` are the most alive while it runs, what
    earlier places hold and gradients of parameters left out; `arriving` are the gradients alive
    when its backward begins, `gradients` those of its own parameters.
    """

    place: Place
    work: int
    kept: int
    edge: int
    entry: int
    forward: int
    backward: int
    arriving: int
    gradients: int

    @property
    def draws(self) -> bool:
        """Whether running it draws random numbers."""
        return any(isinstance(node.op, Dropout | DropPath) for node in self.place.nodes)


def pieces(graph: Graph, execution: Execution, setting: Setting) -> tuple[Piece, ...]:
    """What every place of a graph costs in a training step. Linear."""
    return _Step(graph, execution, setting).pieces()


def input_bytes(graph: Graph, setting: Setting) -> int:
    """Bytes of a batch as it goes in, in float32."""
    return setting.batch * sum(node.type.bytes for node in graph.inputs)


@dataclass(slots=True)
class _Gradient:
    """Memory that gradients of some values share."""

    size: int
    holders: int = 1


@dataclass
class _Step:
    """One step, forward and backward, node by node."""

    graph: Graph
    execution: Execution
    setting: Setting
    _alive: int = 0
    _gradient_bytes: int = 0
    _gradients: dict[NodeId, _Gradient] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._nodes = [node for node in self.graph if not isinstance(node.op, Input)]
        self._sizes: dict[NodeId, int] = {}
        self._dtype: dict[NodeId, DType] = {}
        self._owner: dict[NodeId, NodeId] = {}
        self._wants: set[NodeId] = set()
        self._held: dict[NodeId, tuple[frozenset[NodeId], int]] = {}
        for node in self.graph:
            self._settle(node)
        self._savers = Counter(owner for owners, _ in self._held.values() for owner in owners)
        results = (self._owner[node_id] for node_id in self.graph.results.values())
        self._kept = set(self._savers) | set(results)
        self._inputs = {self._owner[node.id] for node in self.graph.inputs}

    # ------------------------------------------------------------------------ what is held

    def _settle(self, node: Node) -> None:
        """Find a node's element type, the tensor its value lies in, and what its gradient holds."""
        self._dtype[node.id] = self._result_dtype(node)
        self._sizes[node.id] = self._bytes(node.id)
        within = self.execution.overwrites.get(node.id)
        if within is None and _is_view(node):
            within = node.inputs[0]
        self._owner[node.id] = node.id if within is None else self._owner[within]
        if node.parameters or any(operand in self._wants for operand in node.inputs):
            self._wants.add(node.id)
            self._held[node.id] = self._holds(node)

    def _result_dtype(self, node: Node) -> DType:
        low = self.setting.precision == "bf16"
        if low and isinstance(node.op, _PRODUCTS):
            return DType.BF16
        read = [self._dtype[operand] for operand in node.inputs]
        if not low or not read:
            return node.type.dtype
        return DType.BF16 if all(dtype is DType.BF16 for dtype in read) else DType.F32

    def _bytes(self, value: NodeId) -> int:
        """Bytes of a value, for the whole batch."""
        return self.setting.batch * self.graph[value].type.elements * self._dtype[value].bytes

    def _holds(self, node: Node) -> tuple[frozenset[NodeId], int]:
        """The tensors a node's gradient is computed from, and bytes of what else it holds."""
        op = node.op
        held: set[NodeId] = set()
        beside = self._beside(node)
        if op.gradient_needs_operands:
            held.update(node.inputs)
        if op.gradient_needs_output:
            held.add(node.id)
        if self.setting.precision == "bf16" and isinstance(op, _PRODUCTS):
            weights = sum(p.type.elements for p in node.parameters if p.role is Role.WEIGHT)
            beside += DType.BF16.bytes * weights
            if self._dtype[node.inputs[0]] is not DType.BF16:
                held.clear()
                elements = self.graph[node.inputs[0]].type.elements
                beside += DType.BF16.bytes * self.setting.batch * elements
        return frozenset(self._owner[value] for value in held), beside

    def _beside(self, node: Node) -> int:
        """Bytes that a node's gradient is computed from and that are no value of the graph."""
        op, batch, single = node.op, self.setting.batch, DType.F32.bytes
        match op:
            case MaxPool():
                return batch * node.type.elements * DType.I64.bytes
            case BatchNorm():
                return 2 * single * op.channels
            case GroupNorm():
                return 2 * single * batch * op.groups
            case PixelLayerNorm():
                return 2 * single * batch * node.type.elements // op.channels
            case LayerNorm():
                return 2 * single * batch
            case WsConv2d():
                return 2 * single * node.parameters[0].type.elements
            case Dropout() if op.p:
                each = 1 if self.setting.device == "cuda" else self._dtype[node.id].bytes
                return batch * node.type.elements * each
            case DropPath() if op.p:  # who stays
                return batch * self._dtype[node.id].bytes
            case BlurPool():  # the padded map
                channels, height, width = self.graph[node.inputs[0]].type.shape
                grown = (height + op.kernel - 1) * (width + op.kernel - 1)
                return batch * channels * grown * self._dtype[node.id].bytes
        return 0

    # ------------------------------------------------------------------------------ running

    def pieces(self) -> tuple[Piece, ...]:
        """Run both passes, and share what was seen out among the places."""
        forward = self._forward()
        backward, arriving = self._backward()
        work = node_counts(self.graph)
        own = {
            n.id: sum(p.type.bytes for p in ps if p.role.trainable)
            for n, ps in owned_parameters(self.graph)
        }
        place_of = {n.id: i for i, place in enumerate(self.execution.places) for n in place.nodes}
        if len(place_of) != len(self._nodes):
            raise InternalError(f"the places of {self.graph.name} leave nodes out")
        kept, edge, entry = self._share(place_of)
        found, before = [], 0
        for number, place in enumerate(self.execution.places):
            ids = [node.id for node in place.nodes]
            found.append(
                Piece(
                    place,
                    work=sum(work[i].flops for i in ids),
                    kept=kept[number],
                    edge=edge[number],
                    entry=entry[number],
                    forward=max(forward[i] for i in ids) - before,
                    backward=max(backward[i] for i in ids) - before,
                    arriving=arriving[ids[-1]],
                    gradients=sum(own[i] for i in ids),
                )
            )
            before += kept[number]
        return tuple(found)

    def _share(self, place_of: Mapping[NodeId, int]) -> tuple[Counter[int], ...]:
        """By place: bytes kept after the forward pass, the part read later, what is only read."""
        kept, edge, entry = Counter[int](), Counter[int](), Counter[int]()
        readers: dict[NodeId, set[int]] = defaultdict(set)
        for node in self._nodes:
            kept[place_of[node.id]] += self._held.get(node.id, (frozenset(), 0))[1]
            for operand in node.inputs:
                readers[self._owner[operand]].add(place_of[node.id])
        for owner in {self._owner[node.id] for node in self._nodes} - self._inputs:
            place = place_of[owner]
            later = {reader for reader in readers[owner] if reader > place}
            if owner in self._kept:
                kept[place] += self._sizes[owner]
            if later:
                edge[place] += self._sizes[owner]
            if owner not in self._kept:
                for reader in later:
                    entry[reader] += self._sizes[owner]
        return kept, edge, entry

    def _forward(self) -> dict[NodeId, int]:
        """Bytes alive at each node of the forward pass, the inputs left out."""
        last_reader = {self._owner[node.id]: node.id for node in self._nodes}
        for node in self._nodes:
            last_reader.update((self._owner[operand], node.id) for operand in node.inputs)
        dying = defaultdict(list)
        for owner, reader in last_reader.items():
            if owner not in self._kept and owner not in self._inputs:
                dying[reader].append(owner)
        during = {}
        for node in self._nodes:
            if self._owner[node.id] == node.id:
                self._alive += self._sizes[node.id]
            self._alive += self._held.get(node.id, (frozenset(), 0))[1]
            during[node.id] = self._alive
            self._alive -= self._total(dying[node.id])
        return during

    def _backward(self) -> tuple[dict[NodeId, int], dict[NodeId, int]]:
        """Bytes alive at each node of the backward pass, and those of gradients when it begins."""
        for value in self.graph.results.values():
            if value in self._wants:
                self._receive(value, self._new(self._sizes[value]))
        during, arriving = {}, {}
        waiting = Counter(self._savers)
        for node in reversed(self._nodes):
            arriving[node.id] = self._gradient_bytes
            during[node.id] = self._alive + self._gradient_bytes
            if node.id in self._gradients:
                during[node.id] = self._alive + self._differentiate(node)
            owners, beside = self._held.get(node.id, (frozenset(), 0))
            waiting.subtract(owners)
            done = [o for o in owners if not waiting[o] and o not in self._inputs]
            self._alive -= self._total(done) + beside
        return during, arriving

    def _differentiate(self, node: Node) -> int:
        """Turn the gradient of a node's value into those of its operands; returns the most bytes
        of gradients alive meanwhile."""
        given = self._gradients.pop(node.id)
        wanted = [operand for operand in node.inputs if operand in self._wants]
        passes = isinstance(node.op, _PASSES_ON) or (_is_view(node) and not _cuts(node))
        made = []
        for operand in wanted:
            if passes:
                given.holders += 1
                made.append((operand, given))
            else:
                made.append((operand, self._new(self._sizes[operand])))
        most = self._gradient_bytes + self._scratch(node, wanted)
        for operand, gradient in made:
            most = max(most, self._receive(operand, gradient))
        self._drop(given)
        return most

    def _scratch(self, node: Node, wanted: Sequence[NodeId]) -> int:
        """What the backward of a node takes besides: a gate's gradient before it is summed up."""
        if isinstance(node.op, Mul):
            return sum(self._sizes[node.id] - self._sizes[operand] for operand in wanted)
        return 0

    def _new(self, size: int) -> _Gradient:
        self._gradient_bytes += size
        return _Gradient(size)

    def _drop(self, gradient: _Gradient) -> None:
        gradient.holders -= 1
        if not gradient.holders:
            self._gradient_bytes -= gradient.size

    def _receive(self, value: NodeId, gradient: _Gradient) -> int:
        """Add to the gradient of a value; returns the most bytes of gradients alive meanwhile."""
        first = self._gradients.get(value)
        if first is None:
            self._gradients[value] = gradient
            return self._gradient_bytes
        if first.holders > 1 and gradient.holders > 1:
            both = self._new(self._sizes[value])
            most = self._gradient_bytes
            self._drop(first)
            self._drop(gradient)
            self._gradients[value] = both
            return most
        most = self._gradient_bytes
        into, other = (gradient, first) if gradient.holders == 1 else (first, gradient)
        self._drop(other)
        self._gradients[value] = into
        return most

    def _total(self, owners: Iterable[NodeId]) -> int:
        return sum(self._sizes[owner] for owner in owners)


def _is_view(node: Node) -> bool:
    """Whether torch computes nothing for a node in training."""
    op = node.op
    if isinstance(op, Dropout | DropPath):
        return not op.p
    merges_nothing = isinstance(op, Add | Mul | Concat) and len(node.inputs) == 1
    return merges_nothing or isinstance(op, Identity | Flatten | SliceChannels | Subsample)


def _cuts(node: Node) -> bool:
    """Whether a view leaves elements out, so that its gradient is a tensor of its own."""
    return isinstance(node.op, SliceChannels | Subsample)
