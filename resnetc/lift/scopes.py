"""From chains and forks to modules: which layers stand in which module, by their paths.

A layer with parameters stands in the module its path says. One without has a place where the model
tells (the module it was traced in), and else goes with its neighbours: an activation or norm
with what is before it, a pool with what both sides have in common.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from resnetc.lift.network import Layer
from resnetc.lift.regions import Fork, Item, Leaf, Tangle
from resnetc.lift.tree import Body, Expr, Term
from resnetc.ops.activation import Activation
from resnetc.ops.conv import Conv2d
from resnetc.ops.pool import AvgPool, MaxPool
from resnetc.ops.resize import Resize
from resnetc.shapes import TensorType, same_padding

Path = tuple[str, ...]


@dataclass(frozen=True)
class _Scoped:
    """An item and the path of the module it stands in."""

    item: Item
    scope: Path
    branches: tuple[tuple[_Scoped, ...], ...] = ()


def modules(items: Sequence[Item], entry: TensorType, *, flat: bool = False) -> Body:
    """The tree of a network's items. Every layer with parameters has a path.

    A `flat` tree has no modules: labels are whole paths.
    """
    known = _known(items)
    scoped = _scoped(items, (), known)
    if flat:
        return _Nesting().terms(scoped, (), entry, {path[0] for path in known if path})
    return _Nesting().body(scoped, (), entry)


def _known(items: Iterable[Item]) -> set[Path]:
    """The paths of all modules that hold layers with parameters."""
    found: set[Path] = {()}
    for layer in _layers(items):
        if layer.path is not None:
            path = tuple(layer.path.split("."))
            found.update(path[:i] for i in range(len(path)))
    return found


def _layers(items: Iterable[Item]) -> Iterator[Layer]:
    for item in items:
        if isinstance(item, Leaf):
            yield item.layer
        elif isinstance(item, Tangle):
            yield from item.layers
        else:
            for branch in item.branches:
                yield from _layers(branch)


# ----------------------------------------------------------------------- where each item stands


def _scoped(items: Sequence[Item], around: Path, known: set[Path]) -> tuple[_Scoped, ...]:
    found = [_told(item, known) for item in items]
    scopes = [scope for scope, _ in found]
    result = []
    for i, (item, (scope, branches)) in enumerate(zip(items, found, strict=True)):
        if scope is None:
            before = next((s for s in reversed(scopes[:i]) if s is not None), None)
            after = next((s for s in scopes[i + 1 :] if s is not None), None)
            scope = scopes[i] = _between(item, before, after, around)
        result.append(_Scoped(item, scope, branches))
    return tuple(result)


def _told(item: Item, known: set[Path]) -> tuple[Path | None, tuple[tuple[_Scoped, ...], ...]]:
    """The scope that an item has by itself, and its branches'."""
    if isinstance(item, Leaf):
        return _own_scope(item.layer, known), ()
    if isinstance(item, Tangle):
        return _common(tuple(p.split(".")[:-1]) for x in item.layers if (p := x.path)), ()
    inside = _common(tuple(p.split(".")[:-1]) for x in _layers([item]) if (p := x.path))
    told = _own_scope(item.layer, known)
    if told is not None and item.layer.op.name != "concat" and inside is not None:
        # What is traced in a module around the branches is that module's.
        inside = told if inside[: len(told)] == told else inside
    branches = tuple(_scoped(branch, inside or (), known) for branch in item.branches)
    return inside, branches


def _own_scope(layer: Layer, known: set[Path]) -> Path | None:
    if layer.path is not None:
        return tuple(layer.path.split(".")[:-1])
    if not layer.place:
        return None
    place = tuple(layer.place.split("."))
    return next(place[:i] for i in range(len(place), -1, -1) if place[:i] in known)


def _between(item: Item, before: Path | None, after: Path | None, around: Path) -> Path:
    """Where an item stands whose own place is not told."""
    if before is None or after is None:
        known = before if after is None else after
        follows = isinstance(item, Leaf) and isinstance(item.layer.op, Activation)
        return known if known is not None and (before is None or follows) else around
    if isinstance(item, Leaf) and isinstance(item.layer.op, Activation):
        return before
    return _common([before, after]) or ()


def _common(paths: Iterable[Sequence[str]]) -> Path | None:
    """What paths begin with in common; None of no paths."""
    found = [tuple(path) for path in paths]
    if not found:
        return None
    low, high = min(found), max(found)
    length = next((i for i, (a, b) in enumerate(zip(low, high, strict=False)) if a != b), None)
    return low[:length] if length is not None else min(low, high, key=len)


# ------------------------------------------------------------------------------ nested modules


class _Nesting:
    """Makes modules of runs of items; numbers the tensors that tangles name."""

    def __init__(self) -> None:
        self._named = 0

    def body(self, items: Sequence[_Scoped], prefix: Path, entry: TensorType) -> Body:
        """The terms of the items of one module."""
        times = Counter(_labels(items, prefix))
        broken = {label for label, count in times.items() if count > 1}
        return self.terms(items, prefix, entry, broken)

    def terms(
        self, items: Sequence[_Scoped], prefix: Path, entry: TensorType, broken: set[str]
    ) -> Body:
        """The same, without modules of the names in `broken`: they stand in several places."""
        terms: Body = []
        waiting = list(items)
        while waiting:
            label = _module_label(waiting[0], prefix)
            run = 1
            if label is not None and label not in broken:
                while run < len(waiting) and _module_label(waiting[run], prefix) == label:
                    run += 1
                body = self.body(waiting[:run], (*prefix, label), entry)
                terms.append(Term("module", entry, body[-1].exit, label=label, bodies=[body]))
            else:
                terms += self._term(waiting[0], prefix, entry, broken)
            entry = terms[-1].exit
            del waiting[:run]
        return terms

    def _term(self, scoped: _Scoped, prefix: Path, entry: TensorType, broken: set[str]) -> Body:
        item = scoped.item
        if isinstance(item, Leaf):
            return [step(item.layer, prefix, entry)]
        if isinstance(item, Tangle):
            return self._tangle(item, prefix, entry)
        inside = [self.terms(branch, prefix, entry, broken) for branch in scoped.branches]
        if item.layer.op.name == "mul":
            inside.sort(key=bool)  # what is scaled stands first
        return [Term(item.layer.op.name, entry, item.layer.type, bodies=inside)]

    def _tangle(self, tangle: Tangle, prefix: Path, entry: TensorType) -> Body:
        """Every tensor that is not just the one before gets a name."""
        self._named += 1
        names = {tangle.start: f"start{self._named}"}
        types = {tangle.start: entry}
        terms = [Term("identity", entry, entry, keeps=names[tangle.start])]
        for number, layer in enumerate(tangle.layers):
            names[layer.id] = f"t{self._named}_{number}"
            types[layer.id] = layer.type
            term = step(layer, prefix, types[layer.inputs[0]])
            term.reads = tuple(names[i] for i in layer.inputs)
            term.keeps = names[layer.id]
            terms.append(term)
        terms[-1].keeps = None
        return terms


def _labels(items: Iterable[_Scoped], prefix: Path) -> Iterator[str]:
    """The first part of every module and layer in a body, once for each place it stands at."""
    last = None
    for scoped in items:
        label = _module_label(scoped, prefix)
        if label is not None:
            if label != last:
                yield label
        elif isinstance(scoped.item, Fork):
            for branch in scoped.branches:
                yield from _labels(branch, prefix)
        else:
            for layer in _layers([scoped.item]):
                if layer.path is not None:
                    yield layer.path.split(".")[len(prefix)]
        last = label


def _module_label(scoped: _Scoped, prefix: Path) -> str | None:
    return scoped.scope[len(prefix)] if len(scoped.scope) > len(prefix) else None


def step(layer: Layer, prefix: Path, entry: TensorType) -> Term:
    """A layer as a term, its arguments complete; `None` stands for a default of the language."""
    label = None
    if layer.path is not None:
        label = ".".join(layer.path.split(".")[len(prefix) :])
    args = dict(layer.arguments)
    op = layer.op
    if isinstance(op, Conv2d):
        if op.pad == same_padding(op.kernel, op.dilation):
            args["pad"] = None
        if op.groups == op.in_channels == op.out_channels > 1:
            args |= {"out": None, "groups": Expr("here.channels")}
    elif isinstance(op, MaxPool | AvgPool) and op.pad == same_padding(op.kernel):
        args["pad"] = None
    word = "upsample" if isinstance(op, Resize) else op.name
    return Term(word, entry, layer.type, args, label, owns=layer.path is not None)
