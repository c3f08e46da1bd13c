"""How numbers are encoded in eight bits: the target decides.

TensorRT wants signed activations without a zero point, float biases and the weights as int8.
onnxruntime's x86 kernels multiply unsigned activations by signed weights, add int32 biases, and
exist only where an op's results are quantized too; OpenVINO reads the same file. With signed
activations onnxruntime's int8 is no faster than its float32. Processors without VNNI add two of
these products in 16 bits, which weights of seven bits fit and weights of eight do not.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, replace

from resnetc.diagnostics import InternalError
from resnetc.ops.quantize import LIMITS
from resnetc.processor import sums_saturate
from resnetc.shapes import DType


@dataclass(frozen=True)
class Range:
    """The smallest and largest number a tensor is expected to hold."""

    low: float
    high: float

    def to_json(self) -> list[float]:
        return [self.low, self.high]


@dataclass(frozen=True)
class Encoding:
    """Element types of activations and weights; whether biases are int32; whether every result of
    an eight-bit op is quantized (`closed`), or only what such an op reads; how many of an int8's
    bits a weight uses."""

    name: str
    activations: DType
    weights: DType
    integer_bias: bool
    closed: bool
    why: str
    weight_bits: int = 8

    def scale(self, range_: Range) -> tuple[float, int]:
        """Scale, a float32 number, and zero point for numbers of a range. Zero is always exact."""
        low, high = min(range_.low, 0.0), max(range_.high, 0.0)
        least, most = LIMITS[self.activations]
        if self.activations is not DType.U8:
            return _float32(max(-low, high) / most), 0
        scale = _float32((high - low) / most)
        return scale, round(min(max(least - low / scale, least), most))

    @property
    def weight_levels(self) -> float:
        """The level of a channel's largest weight."""
        return LIMITS[self.weights][1] if self.weight_bits == 8 else 2.0 ** (self.weight_bits - 1)

    def for_sums_in_16_bits(self) -> Encoding:
        """The same for processors whose sums saturate: 255 * 64 twice is less than 2**15."""
        why = f"{self.why}; weights have seven bits, for processors that add in 16 bits"
        return replace(self, weight_bits=7, why=why)


def _float32(scale: float) -> float:
    """The nearest float32, which is what is written; of a range of nothing, 1."""
    (rounded,) = struct.unpack("f", struct.pack("f", scale))
    return rounded if rounded >= _SMALLEST else 1.0


_SMALLEST = 2.0**-126
"""The smallest float32 that all runtimes divide by."""

ENCODINGS: Mapping[str, Encoding] = {
    each.name: each
    for each in (
        Encoding(
            "ort",
            DType.U8,
            DType.I8,
            integer_bias=True,
            closed=True,
            why="onnxruntime's and OpenVINO's x86 kernels take unsigned activations",
        ),
        Encoding(
            "tensorrt",
            DType.I8,
            DType.I8,
            integer_bias=False,
            closed=False,
            why="TensorRT takes signed activations without a zero point, and float biases",
        ),
        Encoding(
            "fp8",
            DType.F8,
            DType.F8,
            integer_bias=False,
            closed=False,
            why="float8 has a sign and no zero point",
        ),
    )
}
"""By name."""


def find_encoding(layers: str, target: str, weight_bits: int | None = None) -> Encoding:
    """How `int8` or `fp8` layers are encoded for a target, "ort" or "tensorrt".

    Unless `weight_bits` says 7 or 8, weights for onnxruntime have the bits that suit the processor
    here; other weights always have 8.
    """
    name = "fp8" if layers == "fp8" else target
    if name not in ENCODINGS:
        raise InternalError(f"there is no encoding {name}")
    found = ENCODINGS[name]
    if found.activations is not DType.U8:
        return found
    narrow = sums_saturate() if weight_bits is None else weight_bits == 7
    return found.for_sums_in_16_bits() if narrow else found
