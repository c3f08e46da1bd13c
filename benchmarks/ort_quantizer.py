"""onnxruntime's own static quantizer, as its documentation has it: what ours is held against."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import onnxruntime as ort
from onnxruntime import quantization
from onnxruntime.quantization.shape_inference import quant_pre_process


def quantize(wide: Path, file: Path, batches: Iterable[np.ndarray], *, signed: bool) -> None:
    """Q/DQ with weights per channel, and the smallest and largest number seen as ranges.

    Activations are unsigned, as x86 wants them, or `signed` and symmetric, as TensorRT does. It
    keeps every batch's activations until the last was seen.
    """
    prepared = file.with_suffix(".prepared.onnx")
    quant_pre_process(str(wide), str(prepared), skip_symbolic_shape=True)
    entry = ort.InferenceSession(str(wide)).get_inputs()[0].name
    left = iter(batches)

    class Reader(quantization.CalibrationDataReader):
        def get_next(self) -> dict[str, np.ndarray] | None:
            batch = next(left, None)
            return None if batch is None else {entry: batch}

    quantization.quantize_static(
        str(prepared),
        str(file),
        Reader(),
        quant_format=quantization.QuantFormat.QDQ,
        per_channel=True,
        activation_type=quantization.QuantType.QInt8 if signed else quantization.QuantType.QUInt8,
        weight_type=quantization.QuantType.QInt8,
        extra_options={"ActivationSymmetric": True, "QuantizeBias": False} if signed else {},
    )
