"""What changed between two networks, block by block, with what it costs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal

from resnetc.analysis.alignment import Pair, align, renamed
from resnetc.analysis.cost import Cost, node_costs
from resnetc.analysis.modules import Module, module_tree
from resnetc.analysis.wording import describe, value_text
from resnetc.ir import Graph, Node, NodeId

Kind = Literal["added", "removed", "changed", "rewired", "reshaped"]


@dataclass(frozen=True)
class Change:
    """One change of a block's part. `label` is the part's inside the block, `what` describes the
    part or what about it changed; `params` and `macs` are what the change adds.

    A part is "reshaped" when only what flows into it changed, "rewired" when it reads other parts.
    """

    kind: Kind
    label: str
    what: tuple[str, ...]
    params: int = 0
    macs: int = 0
    count: int = 1


@dataclass(frozen=True)
class Site:
    """A block that changed: its path in both networks (empty for the network itself), the block's
    name, and the changes of its own parts. Blocks inside it have sites of their own."""

    path: str
    was: str
    block: str
    changes: tuple[Change, ...]

    @property
    def causes(self) -> tuple[Change, ...]:
        """The changes that are not mere consequences of what flows in."""
        return tuple(change for change in self.changes if change.kind != "reshaped")

    @property
    def followers(self) -> tuple[str, ...]:
        """The layers that only follow: other sizes flow through them."""
        return tuple(change.label for change in self.changes if change.kind == "reshaped")

    @property
    def params(self) -> int:
        """Parameters that the changes of one such block add."""
        return sum(change.params for change in self.changes)

    @property
    def macs(self) -> int:
        """Multiply-accumulates that the changes of one such block add."""
        return sum(change.macs for change in self.changes)


@dataclass(frozen=True)
class Group:
    """Blocks that changed in the same way, in the order of the network: only the sizes of what
    flows through them may differ."""

    sites: tuple[Site, ...]

    @property
    def like(self) -> Site:
        """One for all."""
        return self.sites[0]


@dataclass(frozen=True)
class Difference:
    """The comparison of two networks; without groups they are the same."""

    names: tuple[str, str]
    groups: tuple[Group, ...]
    costs: tuple[Cost, Cost]

    @property
    def same(self) -> bool:
        """Whether nothing that the network computes, or calls its parameters, changed."""
        return not self.groups

    def to_json(self) -> dict[str, Any]:
        """The difference for machines."""
        return {
            "networks": list(self.names),
            "same": self.same,
            "groups": [
                {
                    "block": group.like.block,
                    "params": group.like.params,
                    "macs": group.like.macs,
                    "sites": [_site_json(site) for site in group.sites],
                }
                for group in self.groups
            ],
            "costs": [cost.to_json() for cost in self.costs],
        }


def _site_json(site: Site) -> dict[str, Any]:
    return {"path": site.path, "was": site.was, "changes": list(map(asdict, site.changes))}


def difference(before: Graph, after: Graph) -> Difference:
    """Compare two networks. Blocks are aligned by label, then by likeness."""
    names = (before.name, after.name)
    comparison = _Comparison(before, after)
    sites = comparison.sites()
    groups: dict[tuple[object, ...], list[Site]] = {}
    for site in sites:
        alike = (site.block, site.causes, site.followers, site.params, site.macs)
        groups.setdefault(alike, []).append(site)
    totals = [sum(costs.values(), Cost()) for costs in comparison.costs]
    joined = tuple(Group(tuple(found)) for found in groups.values())
    return Difference(names, joined, (totals[0], totals[1]))


class _Comparison:
    """Walks two trees of modules together: aligns all of them first, then compares."""

    def __init__(self, before: Graph, after: Graph) -> None:
        self.graphs = before, after
        self.costs = node_costs(before), node_costs(after)
        self._partner: dict[NodeId, NodeId] = {}
        """Layers of `before`, and those of `after` that stand for them."""
        self._partners: set[NodeId] = set()
        self._blocks: list[tuple[Module, Module, list[Pair]]] = []

    def sites(self) -> list[Site]:
        self._align(*(module_tree(graph) for graph in self.graphs))
        self._partners = set(self._partner.values())
        found = []
        for old, new, pairs in self._blocks:
            changes = tuple(self._changes(pairs))
            site = Site(new.path, old.path, new.kind if new.path else "", changes)
            if site.causes:
                found.append(site)
        outputs = tuple(self._outputs())
        return found + ([Site("outputs", "outputs", "", outputs)] if outputs else [])

    def _align(self, old: Module, new: Module) -> None:
        pairs = align(old, new)
        self._blocks.append((old, new, pairs))
        for ours, theirs in pairs:
            if ours is None or theirs is None:
                continue
            if ours.node is not None and theirs.node is not None:
                self._partner[ours.node.id] = theirs.node.id
            if ours.children or theirs.children:
                self._align(ours, theirs)

    def _changes(self, pairs: Sequence[Pair]) -> Iterable[Change]:
        return _joined(change for pair in pairs for change in self._change(*pair))

    def _change(self, old: Module | None, new: Module | None) -> Iterable[Change]:
        if old is None and new is not None:
            cost = self._cost(new, 1)
            yield Change("added", new.label, (_described(new),), cost.params, cost.macs)
        elif new is None and old is not None:
            cost = self._cost(old, 0)
            yield Change("removed", old.label, (_described(old),), -cost.params, -cost.macs)
        elif old is not None and new is not None:
            if renamed(old, new):
                yield Change("changed", new.label, (f"was called {old.label}",))
            if old.node is not None and new.node is not None:
                yield from self._layer(new.label, old.node, new.node)

    def _cost(self, module: Module, side: int) -> Cost:
        return sum((self.costs[side][node.id] for node in module.layers()), Cost())

    def _layer(self, label: str, old: Node, new: Node) -> Iterable[Change]:
        ours, theirs = self.costs[0][old.id], self.costs[1][new.id]
        params, macs = theirs.params - ours.params, theirs.macs - ours.macs
        attributes = (*_attributes(old, new), *_sharing(old, new))
        if attributes:
            yield Change("changed", label, attributes, params, macs)
        elif old.type != new.type or params or macs:
            yield Change("reshaped", label, (f"{old.type} -> {new.type}",), params, macs)
        if self._rewired(old, new):
            was, now = (
                ", ".join(graph[i].name for i in node.inputs)
                for graph, node in zip(self.graphs, (old, new), strict=True)
            )
            yield Change("rewired", label, (f"reads {now} instead of {was}",))

    def _rewired(self, old: Node, new: Node) -> bool:
        """Whether a layer reads others, both of which were there before and are there now."""
        operands = [self._partner.get(operand) for operand in old.inputs]
        if operands == list(new.inputs):
            return False
        return None not in operands and all(operand in self._partners for operand in new.inputs)

    def _outputs(self) -> Iterable[Change]:
        before, after = (graph.results for graph in self.graphs)
        for name in dict.fromkeys([*before, *after]):
            was, now = before.get(name), after.get(name)
            if was is None and now is not None:
                yield Change("added", name, (f"an output: {self.graphs[1][now].name}",))
            elif now is None and was is not None:
                yield Change("removed", name, (f"an output: {self.graphs[0][was].name}",))
            elif was is not None and now is not None and self._partner.get(was) != now:
                names = self.graphs[0][was].name, self.graphs[1][now].name
                yield Change("changed", name, (f"the output is {names[1]} instead of {names[0]}",))


def _attributes(old: Node, new: Node) -> Iterable[str]:
    """Arguments of a layer that changed; of kinds that differ, the kinds."""
    if type(old.op) is not type(new.op):
        yield f"{describe(old.op)} -> {describe(new.op)}"
        return
    for field in fields(old.op):
        was, now = getattr(old.op, field.name), getattr(new.op, field.name)
        if was != now:
            yield f"{field.name.replace('_', ' ')} {value_text(was)} -> {value_text(now)}"


def _sharing(old: Node, new: Node) -> Iterable[str]:
    """Whose parameters a layer takes, where that changed."""
    was, now = _owner(old), _owner(new)
    if was != now:
        yield f"takes {f'the parameters of {now}' if now else 'parameters of its own'}"


def _owner(node: Node) -> str | None:
    """The layer whose parameters another one takes as well; None where they are its own."""
    if not node.parameters or any(p.path.startswith(f"{node.name}.") for p in node.parameters):
        return None
    owner = node.parameters[0].path.rpartition(".")[0]
    return owner if owner and owner != node.name else None


def _described(module: Module) -> str:
    layers = list(module.layers())
    if len(layers) == 1:
        return describe(layers[0].op)
    return f"{module.kind or 'block'} of {len(layers)} layers"


def _joined(changes: Iterable[Change]) -> Iterable[Change]:
    """Neighbours that are the same but for their number, as one change with a count."""
    held: Change | None = None
    first = last = ""
    for change in changes:
        if held is not None and _continues(held, last, change):
            held, last = replace(held, count=held.count + 1), change.label
            continue
        if held is not None:
            yield _ranged(held, first, last)
        held, first, last = change, change.label, change.label
    if held is not None:
        yield _ranged(held, first, last)


def _continues(held: Change, last: str, change: Change) -> bool:
    if held != replace(change, label=held.label, count=held.count):
        return False
    return change.label.isdigit() and last.isdigit() and int(change.label) == int(last) + 1


def _ranged(change: Change, first: str, last: str) -> Change:
    if change.count == 1:
        return change
    total = change.params * change.count, change.macs * change.count
    return replace(change, label=f"{first} … {last}", params=total[0], macs=total[1])


def paths_text(paths: Sequence[str]) -> str:
    """Paths in a few words: neighbours that differ by a last number are a range."""
    shown: list[str] = []
    run: list[str] = []
    for path in [*paths, ""]:
        if run and path and _next(run[-1], path):
            run.append(path)
            continue
        if len(run) > 2:
            shown.append(f"{run[0]} … {run[-1]}")
        else:
            shown += run
        run = [path]
    return ", ".join(shown)


def _next(path: str, other: str) -> bool:
    stem, _, number = path.rpartition(".")
    other_stem, _, other_number = other.rpartition(".")
    if stem != other_stem or not (number.isdigit() and other_number.isdigit()):
        return False
    return int(other_number) == int(number) + 1
