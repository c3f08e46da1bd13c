"""Warnings about a network as it came out: what is allowed and most likely not meant."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from resnetc.diagnostics import Diagnostic, Help, Instance, Label, Source, Span
from resnetc.lang.record import CheckedNetwork, PlacedOp, needed
from resnetc.ops.conv import Conv2d
from resnetc.ops.layout import Subsample

if TYPE_CHECKING:
    from collections.abc import Iterable


def doubts(network: CheckedNetwork, source: Source) -> list[Diagnostic]:
    """What is doubtful in a network, of what is written in a file."""
    users: dict[int, list[PlacedOp]] = {}
    for op in network.ops:
        for operand in op.inputs:
            users.setdefault(operand, []).append(op)
    found: list[Diagnostic] = []
    for i, op in enumerate(network.ops):
        if op.span.source is source:
            found += _of_op(op, users.get(i, []), network)
    return found + list(_dropped(network, source))


def _of_op(op: PlacedOp, users: list[PlacedOp], network: CheckedNetwork) -> Iterator[Diagnostic]:
    yield from _bias_before_norm(op, users)
    if not op.prefix and op.op.parameters():
        path = next(iter(op.op.parameters())).name
        message = f"`{op.op.name}` has no label, so that its parameter is called `{path}`"
        start = Span(op.span.source, op.span.start, op.span.start)
        label = "fc" if op.op.name == "linear" else "conv1"
        advice = Help(f"give it one, as `{label}: ...`", start, f"{label}: ", sure=False)
        yield Diagnostic("W0403", message, Label(op.span), help=advice)
    if op.op.name == "drop_path" and users and all(user.op.name != "add" for user in users):
        message = "stochastic depth drops what no addition replaces"
        note = "a sample that is dropped goes on as zeros"
        advice = Help("place it last in the body of a `residual` or a branch of an `add`")
        yield Diagnostic("W0404", message, Label(op.span), notes=(note,), help=advice)
    yield from _odd_extent(op, network)


def _bias_before_norm(op: PlacedOp, users: list[PlacedOp]) -> Iterator[Diagnostic]:
    if not isinstance(op.op, Conv2d) or not op.op.bias or not users:
        return
    if any(user.op.name != "batchnorm" for user in users):
        return
    text, at = op.span.text, op.span.text.find("bias=true")
    label = op.span if at < 0 else Span(op.span.source, op.span.start + at, op.span.start + at + 9)
    secondary: tuple[Label, ...] = ()
    if users[0].span.source is op.span.source and users[0].span != op.span:
        secondary = (Label(users[0].span, "subtracts the mean, and the bias with it"),)
    advice = None
    if at >= 0 and text[:at].rstrip().endswith(","):
        comma = op.span.start + text.rindex(",", 0, at)
        advice = Help("remove it", Span(op.span.source, comma, label.end), "", sure=False)
    message = "a bias right before batch normalization has no effect"
    yield Diagnostic("W0402", message, Label(label), secondary, help=advice)


def _odd_extent(op: PlacedOp, network: CheckedNetwork) -> Iterator[Diagnostic]:
    if not isinstance(op.op, Subsample):
        return
    before = network.ops[op.inputs[0]].type
    extents = zip(before.shape[1:], op.op.stride, strict=True)
    if all(extent % stride == 0 for extent, stride in extents):
        return
    message = f"a map of {before} is not a multiple of the stride"
    note = "the last row or column of pixels stands for fewer than the others"
    yield Diagnostic("W0405", message, Label(op.span), notes=(note,))


def _dropped(network: CheckedNetwork, source: Source) -> Iterator[Diagnostic]:
    """Layers that no output depends on, one finding for each place in the text."""
    alive = needed(network.ops, [*network.outputs.values(), *network.aux.values()])
    dead = (op for i, op in enumerate(network.ops) if i not in alive)
    for op in _each_place(dead):
        if op.span.source is source and op.op.name != "identity":
            message = f"no output of {network.name} depends on this layer"
            note = "it is left out: it costs nothing and has no parameters in the network"
            instance = Instance(network.name, op.prefix) if op.prefix else None
            yield Diagnostic("W0406", message, Label(op.span), notes=(note,), instance=instance)


def _each_place(ops: Iterable[PlacedOp]) -> list[PlacedOp]:
    return list({op.span: op for op in reversed(list(ops))}.values())[::-1]
