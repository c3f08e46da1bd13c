"""The first block where a runtime and the reference part.

One sample, the one that is furthest off, goes through both once more, and what every block gives
is compared; then what every op in the block that was found gives. Blocks first: all tensors of a
deep network at once would need far more memory than the network does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from resnetc.ir import Graph, Node, Scope
from resnetc.ops import BatchNorm

if TYPE_CHECKING:
    import numpy as np

    Tensors = Mapping[str, np.ndarray]
    Probe = Callable[[Sequence[Node]], Tensors]

ROUNDING: Mapping[str, float] = {
    "fp32": 2.0**-24,
    "fp16": 2.0**-11,
    "bf16": 2.0**-8,
    "int8": 2.0**-8,
    "fp8": 2.0**-4,
}
"""What one rounding costs, relative to the largest number: less is no difference."""
_LEAST_RISE = 8.0
"""Times that an error grows in one block where something is wrong, at the least: a block that
only rounds adds about what those before it have added."""


@dataclass(frozen=True)
class Parting:
    """Where two runs of a network part.

    `place` is the block's label path, or an op's outside of blocks; `block` what a spec placed
    there; `at` the spec line that did, and `op` with `op_at` the first op in it that is off.
    `before` and `after` are relative errors of what enters and leaves.
    """

    place: str
    block: str
    at: str
    op: str
    op_at: str
    before: float
    after: float

    def to_json(self) -> dict[str, Any]:
        return {
            "place": self.place,
            "block": self.block,
            "at": self.at,
            "op": self.op,
            "op_at": self.op_at,
            "error_before": self.before,
            "error_after": self.after if math.isfinite(self.after) else None,
        }

    def __str__(self) -> str:
        inside = "" if self.op == self.place else f", in it at {self.op} ({self.op_at})"
        return (
            f"they part at {self.place}, `{self.block}` of {self.at}{inside}: "
            f"{self.before:.1g} off before it and {self.after:.1g} behind it"
        )


def find_parting(
    graph: Graph, exact: Probe, found: Probe, precision: str, tolerance: float
) -> Parting | None:
    """The first block whose result is off, and in it the first op.

    `exact` and `found` give the values of nodes of the graph by name, as many as they have. None
    where every value that can be compared is within tolerance: then the difference is the way the
    runtime computes, such as a fusion, which looking into it prevents.
    """
    units = _Units(graph)
    rounding = ROUNDING[precision]
    blocks = _Profile.of(units.results, exact, found)
    at = blocks.first_apart(rounding, tolerance)
    if at is None:
        return None
    node, after = blocks.nodes[at], blocks.errors[at]
    before = max([0.0, *blocks.errors[:at]])
    inner = _Profile.of(units.inside(node), exact, found)
    # The block's result is the last of these, so there is one.
    op_at = inner.first_apart(max(rounding, before), tolerance)
    op = _written(graph, node if op_at is None else inner.nodes[op_at], inner.nodes)
    scope = units.unit(node)
    return Parting(
        place=op.name if scope is None else scope.path,
        block=op.op.name if scope is None else scope.block,
        at=_line(op if scope is None else scope),
        op=op.name,
        op_at=_line(op),
        before=before,
        after=after,
    )


def _written(graph: Graph, op: Node, seen: Sequence[Node]) -> Node:
    """The op that a runtime has: of a batch norm that is folded, the convolution before it."""
    if not isinstance(op.op, BatchNorm):
        return op
    source = graph[op.inputs[0]]
    return op if source.op.name == "input" or source in seen else source


def _line(of: Node | Scope) -> str:
    """`specs/resnet.rnet:39`, as an editor opens it."""
    return "no file" if of.span is None else f"{of.span.source.name}:{of.span.line}"


@dataclass(frozen=True)
class _Profile:
    """Nodes in topological order and the relative error of each one's value."""

    nodes: list[Node]
    errors: list[float]

    @staticmethod
    def of(nodes: Sequence[Node], exact: Probe, found: Probe) -> _Profile:
        values = found(nodes)
        seen = [node for node in nodes if node.name in values]
        references = exact(seen)
        pairs = [(n, relative_error(values[n.name], references[n.name])) for n in seen]
        told = [(node, error) for node, error in pairs if error is not None]
        return _Profile([node for node, _ in told], [error for _, error in told])

    def first_apart(self, rounding: float, tolerance: float) -> int | None:
        """The first that is out of tolerance; or, when the error rose by more on the way there
        and by far more than rounding does, where that was: what is small at first may grow."""
        beyond = next((i for i, error in enumerate(self.errors) if not error <= tolerance), None)
        if beyond is None:
            return None
        largest, rises = rounding, []
        for error in self.errors[: beyond + 1]:
            rises.append(error / largest if math.isfinite(error) else math.inf)
            largest = max(largest, error)
        steepest = max(range(len(rises)), key=rises.__getitem__)
        return steepest if rises[steepest] >= _LEAST_RISE else beyond


def relative_error(found: np.ndarray, exact: np.ndarray) -> float | None:
    """Largest difference over the largest exact number; None where the two are not of one shape."""
    import numpy as np

    if found.shape != exact.shape:
        return None
    error = np.abs(found.astype(np.float64) - exact).max()
    return float(error) / (float(np.abs(exact).max()) or 1.0)


class _Units:
    """The blocks of a graph: for every node the innermost that a spec placed under a label."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._units = [self._block(scope) for scope in graph.scopes]
        shown = frozenset(graph.outputs.values())
        self._nodes = [
            node for node in graph if node.op.name != "input" and node.id not in graph.training_only
        ]
        self.results = [
            node
            for node in self._nodes
            if node.id in shown
            or self.unit(node) is None
            or any(self.unit(user) is not self.unit(node) for user in graph.users(node.id))
        ]
        """What blocks give to others, and what stands in none."""

    def unit(self, node: Node) -> Scope | None:
        return self._units[node.scope]

    def inside(self, last: Node) -> list[Node]:
        """The nodes of one's block up to it, or it alone."""
        unit = self.unit(last)
        if unit is None:
            return [last]
        within = [node for node in self._nodes if self.unit(node) is unit]
        return within[: within.index(last) + 1]

    def _block(self, scope: Scope) -> Scope | None:
        at: Scope | None = scope
        while at is not None and (at.block in ("seq", "group") or not at.path):
            at = None if at.parent is None else self._graph.scopes[at.parent]
        above = None if at is None or at.parent is None else self._graph.scopes[at.parent]
        # One label may stand for a block in a block: the outer one is what the spec says there.
        while at is not None and above is not None and above.path == at.path:
            at, above = above, (None if above.parent is None else self._graph.scopes[above.parent])
        return at
