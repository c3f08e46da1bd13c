"""Maps of another size, in the two ways in which torch resizes them."""

from __future__ import annotations

from typing import Any

from resnetc.lift.model import Operation
from resnetc.lift.network import Layer
from resnetc.lift.operators.attributes import Reader
from resnetc.lift.reading import Reading
from resnetc.lift.refusal import LiftError
from resnetc.shapes import Size

_PLAIN = {"antialias": 0, "axes": None, "keep_aspect_ratio_policy": b"stretch"}
"""Attributes that change what is computed, and what they are where they do not."""


def _resize(reading: Reading, operation: Operation) -> None:
    operand = reading.layer(operation)
    if len(operand.type.shape) != 3:
        raise LiftError(f"{operation}: only maps are resized")
    to = _size(reading, operation, operand)
    height, width = operand.type.shape[1:]
    scale = to[0] // height
    whole = to == (scale * height, scale * width)
    size: dict[str, Any] = {"scale": scale} if whole else {"to": to}
    reading.place(operation, "upsample", [operand], **size, mode=_mode(operation, to))


def _mode(operation: Operation, to: Size) -> str:
    """`nearest` or `bilinear`, as :class:`resnetc.ops.Upsample` has them."""
    given = operation.attributes
    mode = given.get("mode", b"nearest").decode()
    coordinates = given.get("coordinate_transformation_mode", b"half_pixel").decode()
    rounding = given.get("nearest_mode", b"round_prefer_floor").decode()
    plain = all(given.get(name, usual) == usual for name, usual in _PLAIN.items())
    if plain and (mode, coordinates, rounding) == ("nearest", "asymmetric", "floor"):
        return "nearest"
    # The two differ where one pixel is left, and there alone.
    half_pixel = ("half_pixel", "pytorch_half_pixel") if min(to) > 1 else ("half_pixel",)
    if plain and mode == "linear" and coordinates in half_pixel:
        return "bilinear"
    form = ", ".join((mode, coordinates, *([rounding] if mode == "nearest" else [])))
    raise LiftError(
        f"{operation}: {form}: only nearest (asymmetric, floor) and linear (half_pixel) are "
        "lifted, as torch resizes"
    )


def _size(reading: Reading, operation: Operation, operand: Layer) -> Size:
    """Height and width to resize to, from factors or sizes; the batch and channels stay."""
    before = (reading.model.batch, *operand.type.shape)
    sizes = reading.constant(operation, 3)
    if sizes is not None and sizes.array.size:
        after = [float(size) for size in sizes.array.reshape(-1)]
    else:
        scales = reading.needed(operation, 2).array.reshape(-1)
        after = [size * float(scale) for size, scale in zip(before, scales, strict=False)]
    whole = [round(size) for size in after]
    if len(whole) != 4 or max(abs(a - b) for a, b in zip(after, whole, strict=True)) > 1e-3:
        raise LiftError(f"{operation}: {list(before)} is not resized to whole pixels")
    if tuple(whole[:2]) != before[:2] or min(whole) < 1:
        raise LiftError(f"{operation}: only height and width are resized, not to {whole}")
    return whole[2], whole[3]


ROWS: dict[str, Reader] = {"Resize": _resize}
