"""What moves numbers about: flattening, slices, padding."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from resnetc.lift.model import Operation
from resnetc.lift.network import Layer
from resnetc.lift.operators.attributes import Reader
from resnetc.lift.reading import Grouped, Reading
from resnetc.lift.refusal import LiftError
from resnetc.ops import ChannelShuffle, Subsample


def _flatten(reading: Reading, operation: Operation) -> None:
    operand = reading.layer(operation)
    if operation.attributes.get("axis", 1) != 1:
        raise LiftError(f"{operation}: only flattening behind the batch is lifted")
    _to_vector(reading, operation, operand)


def _to_vector(reading: Reading, operation: Operation, operand: Layer) -> None:
    if len(operand.type.shape) == 1:
        reading.forward(operation, operand)
    else:
        reading.place(operation, "flatten", [operand])


def _reshape(reading: Reading, operation: Operation) -> None:
    target = [int(size) for size in reading.needed(operation, 1).array]
    if operation.inputs[0] in reading.grouped:
        _ungroup(reading, operation, target)
        return
    operand = reading.layer(operation)
    old = (reading.model.batch, *operand.type.shape)
    sizes = [old[i] if size == 0 and i < len(old) else size for i, size in enumerate(target)]
    if _fits(sizes, (old[0], operand.type.elements)):
        _to_vector(reading, operation, operand)
    elif _fits(sizes, old):
        reading.forward(operation, operand)
    elif len(sizes) == 5 and len(old) == 4 and _fits(sizes, _in_groups(old, sizes[1])):
        reading.grouped[operation.outputs[0]] = Grouped(operand, sizes[1])
    else:
        raise LiftError(f"{operation}: only flattening is lifted, not a reshape to {target}")


def _fits(sizes: Sequence[int], shape: Sequence[int]) -> bool:
    """Whether a reshape to some sizes, one of which may be left open, gives a shape."""
    return len(sizes) == len(shape) and all(s in (n, -1) for s, n in zip(sizes, shape, strict=True))


def _in_groups(shape: Sequence[int], groups: int) -> tuple[int, ...]:
    batch, channels, *extents = shape
    return batch, groups, channels // max(groups, 1), *extents


def _transpose(reading: Reading, operation: Operation) -> None:
    grouped = reading.grouped.get(operation.inputs[0])
    if grouped is None or grouped.turned or operation.attributes.get("perm") != [0, 2, 1, 3, 4]:
        raise LiftError(f"{operation}: only a channel shuffle's is lifted")
    reading.grouped[operation.outputs[0]] = replace(grouped, turned=True)


def _ungroup(reading: Reading, operation: Operation, target: Sequence[int]) -> None:
    grouped = reading.grouped[operation.inputs[0]]
    if not grouped.turned or not _fits(target, (reading.model.batch, *grouped.layer.type.shape)):
        raise LiftError(f"{operation}: only a channel shuffle is lifted")
    reading.place(operation, "channel_shuffle", [grouped.layer], groups=grouped.groups)


def _gather(reading: Reading, operation: Operation) -> None:
    """A channel shuffle as one choice of channels: how `resnetc export` writes it."""
    operand, order = reading.layer(operation), reading.needed(operation, 1).array
    if operation.attributes.get("axis", 0) == 1 and order.ndim == 1 and order.size > 1:
        groups = operand.type.shape[0] // max(int(order[1]), 1)
        made = reading.place(operation, "channel_shuffle", [operand], groups=groups)
        if isinstance(made.op, ChannelShuffle) and made.op.order(operand.type.shape[0]) == [*order]:
            return
    raise LiftError(f"{operation}: only a channel shuffle is lifted")


def _squeeze(reading: Reading, operation: Operation) -> None:
    operand = reading.layer(operation)
    axes = reading.numbers(operation, "axes", 1)
    if axes is None or sorted(int(axis) % 4 for axis in axes) != [2, 3]:
        raise LiftError(f"{operation}: only a squeeze of height and width is lifted")
    _to_vector(reading, operation, operand)


def _shape(reading: Reading, operation: Operation) -> None:
    import numpy as np

    extents = [reading.model.batch, *reading.layer(operation).type.shape]
    given = operation.attributes
    reading.fold(operation, np.array(extents[given.get("start", 0) : given.get("end")], np.int64))


def _slice(reading: Reading, operation: Operation) -> None:
    operand = reading.layer(operation)
    shape = (reading.model.batch, *operand.type.shape)
    starts, ends = (reading.numbers(operation, n, i) for i, n in ((1, "starts"), (2, "ends")))
    assert starts is not None
    assert ends is not None
    axes = reading.numbers(operation, "axes", 3) or list(range(len(starts)))
    steps = reading.numbers(operation, "steps", 4) or [1] * len(starts)
    cut = {
        int(axis) % len(shape): range(shape[int(axis) % len(shape)])[int(a) : int(b) : int(step)]
        for axis, a, b, step in zip(axes, starts, ends, steps, strict=True)
    }
    whole = [cut.get(axis, range(extent)) for axis, extent in enumerate(shape)]
    changed = [axis for axis, extent in enumerate(shape) if whole[axis] != range(extent)]
    if not changed:
        reading.forward(operation, operand)
    elif changed == [1] and whole[1].step == 1:
        cut_at: dict[str, Any] = {"start": whole[1].start, "stop": whole[1].stop}
        reading.place(operation, "slice_channels", [operand], **cut_at)
    elif all(axis > 1 and _every(whole[axis], shape[axis]) for axis in changed):
        stride = (whole[2].step, whole[3].step)
        if isinstance(operand.op, Subsample):  # one axis after the other, as torch traces it
            stride = (stride[0] * operand.op.stride[0], stride[1] * operand.op.stride[1])
            operand = reading.layers[operand.inputs[0]]
        reading.place(operation, "subsample", [operand], stride=stride)
    else:
        raise LiftError(f"{operation}: only channels, and every n-th pixel, are sliced")


def _every(cut: range, extent: int) -> bool:
    """Whether a cut takes every n-th element of an axis from the first on."""
    return cut.start == 0 and cut == range(0, extent, cut.step)


def _split(reading: Reading, operation: Operation) -> None:
    operand = reading.layer(operation)
    if operation.attributes.get("axis", 0) % (len(operand.type.shape) + 1) != 1:
        raise LiftError(f"{operation}: only a split of the channels is lifted")
    channels, count = operand.type.shape[0], len(operation.outputs)
    sizes = reading.numbers(operation, "split", 1) or [-(-channels // count)] * count
    bounds = [0, *itertools.accumulate(int(size) for size in sizes)]
    parts = []
    for start, stop in itertools.pairwise(bounds):
        cut_at: dict[str, Any] = {"start": start, "stop": min(stop, channels)}
        parts.append(reading.place(operation, "slice_channels", [operand], **cut_at))
    for output, part in zip(operation.outputs, parts, strict=True):
        reading.values[output] = part.id


def _pad(reading: Reading, operation: Operation) -> None:
    operand = reading.layer(operation)
    pads = reading.numbers(operation, "pads", 1)
    value = (reading.numbers(operation, "value", 2) or [0])[0]
    if (
        operation.attributes.get("mode", b"constant") != b"constant"
        or pads is None
        or len(pads) != 8
    ):
        raise LiftError(f"{operation}: only maps with a constant around them are lifted")
    before, after = [int(p) for p in pads[:4]], [int(p) for p in pads[4:]]
    if not any(pads):
        reading.forward(operation, operand)
    elif before[:2] == after[:2] == [0, 0] and before == after:
        reading.place(operation, "pad", [operand], by=(before[2], before[3]), value=float(value))
    elif before[0] == after[0] == 0 and not any(before[2:] + after[2:]) and value == 0:
        _pad_channels(reading, operation, operand, before[1], after[1])
    else:
        raise LiftError(f"{operation}: pads {before} before and {after} after are not lifted")


def _pad_channels(
    reading: Reading, operation: Operation, operand: Layer, before: int, after: int
) -> None:
    sides = {0: "after", (before + after) // 2: "both"}
    if min(before, after) < 0 or before not in sides:
        raise LiftError(f"{operation}: {before} channels before and {after} after are not lifted")
    to = operand.type.shape[0] + before + after
    reading.place(operation, "pad_channels", [operand], to=to, sides=sides[before])


ROWS: dict[str, Reader] = {
    "Flatten": _flatten,
    "Gather": _gather,
    "Pad": _pad,
    "Reshape": _reshape,
    "Shape": _shape,
    "Slice": _slice,
    "Split": _split,
    "Squeeze": _squeeze,
    "Transpose": _transpose,
}
