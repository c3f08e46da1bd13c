"""Ops that move numbers about, and merges."""

from __future__ import annotations

from resnetc.backends.onnx.emission import ELEMENT_TYPES, Emission, Emitter, attributes
from resnetc.ir import Node
from resnetc.ops import Cast, ChannelShuffle, Pad, PadChannels, SliceChannels


def chain(kind: str) -> Emitter:
    """A merge of many operands as a chain of two-operand nodes, which every runtime has."""

    def emitter(emission: Emission, node: Node) -> None:
        total, *others = emission.operands(node)
        for i, other in enumerate(others[:-1], 1):
            total = emission.step(kind, node, str(i), [total, other])
        emission.add(kind, node, [total, others[-1]])

    return emitter


def pad_channels(emission: Emission, node: Node) -> None:
    """Pad, along the channels."""
    op = attributes(node, PadChannels)
    after = op.to - op.before - emission.operand_type(node).shape[0]
    pads = emission.integers(node, "pads", (0, op.before, 0, 0, 0, after, 0, 0))
    emission.add("Pad", node, [*emission.operands(node), pads])


def pad(emission: Emission, node: Node) -> None:
    """Pad; zero is what it pads with unless told."""
    op = attributes(node, Pad)
    operands = [*emission.operands(node)]
    operands.append(emission.integers(node, "pads", (0, 0, *op.by, 0, 0, *op.by)))
    if op.value:
        operands.append(emission.numbers(node, "value", [op.value], ()))
    emission.add("Pad", node, operands)


def slice_channels(emission: Emission, node: Node) -> None:
    """Slice; where slices of one tensor make up all of it, a Split in place of the first."""
    slices = [user for user in emission.graph.users(node.inputs[0]) if user.op.name == node.op.name]
    parts = sorted(slices, key=lambda part: attributes(part, SliceChannels).start)
    bounds = [attributes(part, SliceChannels) for part in parts]
    borders = [0, *(part.stop for part in bounds)]
    whole = borders == [*(part.start for part in bounds), emission.operand_type(node).shape[0]]
    if not whole or len(parts) == 1:
        _slice(emission, node)
    elif node is slices[0]:
        sizes = emission.integers(node, "sizes", [part.type.shape[0] for part in parts])
        operands = [*emission.operands(node), sizes]
        outputs = [emission.tensors[part.id] for part in parts]
        emission.put("Split", operands, outputs, node.name, axis=1)


def _slice(emission: Emission, node: Node) -> None:
    op = attributes(node, SliceChannels)
    bounds = {"start": op.start, "stop": op.stop, "axis": 1}
    constants = [emission.integers(node, label, [value]) for label, value in bounds.items()]
    emission.add("Slice", node, [*emission.operands(node), *constants])


def channel_shuffle(emission: Emission, node: Node) -> None:
    """The channels are looked up in their new order: one node for a reshape, a turn, a reshape."""
    order = attributes(node, ChannelShuffle).order(node.type.shape[0])
    channels = emission.integers(node, "order", order)
    emission.add("Gather", node, [*emission.operands(node), channels], axis=1)


def cast(emission: Emission, node: Node) -> None:
    """Cast."""
    emission.add("Cast", node, emission.operands(node), to=ELEMENT_TYPES[attributes(node, Cast).to])
