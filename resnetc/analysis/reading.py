"""Recognises a residual network in a graph, from its structure alone: no label is looked at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from resnetc.analysis.outline import Block, Layer, Outline, Pool, Shortcut
from resnetc.ir import Graph, Node
from resnetc.ops import Conv2d, Linear, MaxPool


class UnlikePaperError(Exception):
    """The graph is not built like the paper's networks; the message says where it departs."""


@dataclass(frozen=True)
class _Merge:
    """An addition, and the ops on its two arms from where they part; the body has the layers."""

    add: Node
    body: list[Node]
    shortcut: list[Node]


def read(graph: Graph, block_length: int) -> Outline:
    """The graph's outline. Where nothing is added, `block_length` layers are taken for a block.

    Raises UnlikePaperError.
    """
    if len(graph.inputs) != 1 or len(graph.outputs) != 1:
        raise UnlikePaperError("it has not one input and one output")
    trunk = _trunk(graph)
    merges = [part for part in trunk if isinstance(part, _Merge)]
    chain = [part for part in trunk if isinstance(part, Node)]
    if merges:
        first = trunk.index(merges[0])
        stem = [part for part in trunk[:first] if isinstance(part, Node)]
        stray = [node.name for node in _convs(chain) if node not in stem]
        if stray:
            raise UnlikePaperError(f"{stray[0]} is a convolution between two blocks")
        blocks = [_block(graph, merge) for merge in merges]
    else:
        stem, blocks = _split_plain(graph, chain, block_length)
    return _outline(graph, stem, chain, blocks)


def _trunk(graph: Graph) -> list[Node | _Merge]:
    """The one path from input to output, on which every residual block is a single part."""
    (output,) = graph.outputs.values()
    node, backwards = graph[output], list[Node | _Merge]()
    while node.inputs:
        if len(node.inputs) == 1:
            backwards.append(node)
            node = graph[node.inputs[0]]
            continue
        merge, fork = _merge(graph, node)
        backwards.append(merge)
        node = fork
    return backwards[::-1]


def _merge(graph: Graph, add: Node) -> tuple[_Merge, Node]:
    if add.op.name != "add" or len(add.inputs) != 2:
        raise UnlikePaperError(f"{add.name} is no addition of a body and a shortcut")
    left, right = (_unary_path(graph, graph[operand]) for operand in add.inputs)
    places = {node.id: place for place, node in enumerate(left)}
    for place, node in enumerate(right):
        if node.id in places:
            arms = left[: places[node.id]][::-1], right[:place][::-1]
            body, shortcut = sorted(arms, key=lambda arm: len(_convs(arm)), reverse=True)
            return _Merge(add, body, shortcut), node
    raise UnlikePaperError(f"what {add.name} adds does not come from one place")


def _unary_path(graph: Graph, node: Node) -> list[Node]:
    """From a node backwards, up to and with the first that has not exactly one operand."""
    path = [node]
    while len(node.inputs) == 1:
        node = graph[node.inputs[0]]
        path.append(node)
    return path


def _convs(nodes: Sequence[Node]) -> list[Node]:
    return [node for node in nodes if isinstance(node.op, Conv2d)]


def _layer(graph: Graph, node: Node) -> Layer:
    op = node.op
    assert isinstance(op, Conv2d)
    if op.dilation != (1, 1):
        raise UnlikePaperError(f"{node.name} is dilated")
    size = (node.type.shape[1], node.type.shape[2])
    normed = [user.op.name for user in graph.users(node.id)] == ["batchnorm"]
    channels = (op.in_channels, op.out_channels)
    return Layer(op.kernel, *channels, op.stride, size, op.bias, normed, op.groups)


def _block(graph: Graph, merge: _Merge) -> Block:
    layers = tuple(_layer(graph, node) for node in _convs(merge.body))
    if not layers:
        raise UnlikePaperError(f"{merge.add.name} adds nothing that has weights")
    kinds = [node.op.name for node in merge.shortcut if node.op.name != "identity"]
    projection = None
    if not kinds:
        shortcut = Shortcut.IDENTITY
    elif kinds == ["conv2d", "batchnorm"]:
        shortcut = Shortcut.PROJECTION
        projection = _layer(graph, _convs(merge.shortcut)[0])
    elif set(kinds) <= {"subsample", "pad_channels"}:
        shortcut = Shortcut.ZEROS
    else:
        raise UnlikePaperError(f"the shortcut of {merge.add.name} is {' -> '.join(kinds)}")
    activated = [user.op.name for user in graph.users(merge.add.id)] == ["relu"]
    return Block(layers, shortcut, projection, activated)


def _split_plain(
    graph: Graph, chain: list[Node], block_length: int
) -> tuple[list[Node], list[Block]]:
    convs = _convs(chain)
    if not convs:
        raise UnlikePaperError("it has no convolution")
    after = chain.index(convs[0]) + 1
    while after < len(chain) and chain[after].op.name in ("batchnorm", "relu", "maxpool"):
        after += 1
    layers = [_layer(graph, node) for node in convs[1:]]
    starts = range(0, len(layers), block_length)
    return chain[:after], [Block(tuple(layers[i : i + block_length])) for i in starts]


def _outline(graph: Graph, stem: list[Node], chain: list[Node], blocks: list[Block]) -> Outline:
    pools = [node for node in stem if isinstance(node.op, MaxPool)]
    heads = [node.op for node in chain if isinstance(node.op, Linear)]
    if len(pools) > 1 or len(heads) != 1:
        raise UnlikePaperError("it has not one classifier and at most one max pooling")
    if not any(node.op.name == "gap" for node in chain):
        raise UnlikePaperError("it has no global average pooling")
    channels, height, width = graph.inputs[0].type.shape
    return Outline(
        (channels, height, width),
        tuple(_layer(graph, node) for node in _convs(stem)),
        _pool(pools[0]) if pools else None,
        tuple(blocks),
        heads[0].in_features,
        heads[0].out_features,
        heads[0].bias,
    )


def _pool(node: Node) -> Pool:
    assert isinstance(node.op, MaxPool)
    return Pool(node.op.kernel, node.op.stride, (node.type.shape[1], node.type.shape[2]))
