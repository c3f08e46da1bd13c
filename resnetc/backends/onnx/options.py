"""What a user may choose about an ONNX file."""

from __future__ import annotations

from dataclasses import dataclass

import onnx.defs

from resnetc.diagnostics import UsageError
from resnetc.passes import PRECISIONS
from resnetc.shapes import DType

OLDEST_OPSET = 13
"""The first in which every op that is written takes bfloat16 somewhere and axes as inputs."""
NEWEST_OPSET = min(28, onnx.defs.onnx_opset_version())
"""The newest that is tested, and that the installed onnx knows."""
BF16_OPSET = 22
"""Convolution and pooling take bfloat16 from here on."""
DEFAULT_OPSET = 18


@dataclass(frozen=True)
class OnnxOptions:
    """How a graph is written.

    `fold`: fold batch norms (True) or keep them as BatchNormalization nodes.
    `batch`: None for a dynamic batch named "N", else the fixed batch.
    `opset`: None for the default, 18, or 22 in bf16.
    `external`: weights in a second file, `<name>.data`; None does so only above protobuf's 2 GB.

    Raises UsageError for what makes no sense.
    """

    fold: bool = True
    batch: int | None = None
    opset: int | None = None
    external: bool | None = None
    precision: str = "fp32"

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            known = ", ".join(PRECISIONS)
            raise UsageError(f"there is no precision {self.precision!r}; choose one of {known}")
        if self.batch is not None and self.batch < 1:
            raise UsageError(f"the batch must be at least 1, not {self.batch}")
        if not OLDEST_OPSET <= self.version <= NEWEST_OPSET:
            raise UsageError(
                f"opset {self.version} is not supported: choose {OLDEST_OPSET} to {NEWEST_OPSET}"
            )
        if self.dtype is DType.BF16 and self.version < BF16_OPSET:
            raise UsageError(
                f"bf16 needs opset {BF16_OPSET} or later, where convolutions take it; "
                f"opset {self.version} was asked for"
            )

    @property
    def dtype(self) -> DType:
        return PRECISIONS[self.precision]

    @property
    def version(self) -> int:
        """The opset that is written."""
        if self.opset is not None:
            return self.opset
        return BF16_OPSET if self.dtype is DType.BF16 else DEFAULT_OPSET
