"""The tree of modules that the names in a graph spell: blocks, and layers as their leaves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from resnetc.ir import Graph, Node


@dataclass(eq=False)
class Module:
    """A block or layer in its place. `block` is what a spec placed there, None for a lone layer;
    `node` is the layer's. Children stand in the order of their first layers."""

    label: str
    path: str
    block: str | None = None
    node: Node | None = None
    children: dict[str, Module] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """The block's name, or the op's."""
        if self.block is not None:
            return self.block
        return "" if self.node is None else self.node.op.name

    def layers(self) -> Iterator[Node]:
        """All layers below, itself included."""
        if self.node is not None:
            yield self.node
        for child in self.children.values():
            yield from child.layers()


def module_tree(graph: Graph) -> Module:
    """The tree of a graph. Linear."""
    blocks: dict[str, str] = {}
    for scope in graph.scopes:
        blocks.setdefault(scope.path, scope.block)
    root = Module("", "", graph.name)
    for node in graph:
        module = root
        for label in node.name.split("."):
            path = f"{module.path}.{label}" if module.path else label
            if label not in module.children:
                module.children[label] = Module(label, path, blocks.get(path))
            module = module.children[label]
        module.node = node
        if not module.children:
            module.block = None
    return root
