"""What moves numbers about: flattening, slices, padding."""

from __future__ import annotations

import itertools
from typing import Any

from resnetc.lift.model import Operation
from resnetc.lift.network import Layer
from resnetc.lift.operators.attributes import Reader
from resnetc.lift.reading import Reading
from resnetc.lift.refusal import LiftError
from resnetc.ops import Subsample


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
    target = reading.needed(operation, 1)
    operand, batch = reading.layer(operation), reading.model.batch
    sizes = [int(size) for size in target.array]
    old = (batch, *operand.type.shape)
    sizes = [old[i] if size == 0 and i < len(old) else size for i, size in enumerate(sizes)]
    vector = [batch, operand.type.elements]
    if len(sizes) == 2 and all(s in (v, -1) for s, v in zip(sizes, vector, strict=True)):
        _to_vector(reading, operation, operand)
    elif len(sizes) == len(old) and all(s in (o, -1) for s, o in zip(sizes, old, strict=True)):
        reading.forward(operation, operand)
    else:
        raise LiftError(f"{operation}: only flattening is lifted, not a reshape to {sizes}")


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
    for output, (start, stop) in zip(operation.outputs, itertools.pairwise(bounds), strict=True):
        reading.place(operation, "slice_channels", [operand], start=start, stop=min(stop, channels))
        reading.values[output] = len(reading.layers) - 1


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
    "Pad": _pad,
    "Reshape": _reshape,
    "Shape": _shape,
    "Slice": _slice,
    "Split": _split,
    "Squeeze": _squeeze,
}
