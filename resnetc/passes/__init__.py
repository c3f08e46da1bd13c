"""Passes change graphs: one file and one row each."""

from __future__ import annotations

from resnetc.passes.base import Outcome, Pass, Step, Watch, run_passes, unused_name
from resnetc.passes.encoding import ENCODINGS, Encoding, Range, find_encoding
from resnetc.passes.fold_batch_norm import FoldBatchNorm
from resnetc.passes.fold_scales import FoldScales
from resnetc.passes.for_inference import ForInference
from resnetc.passes.inference import lower_for_inference
from resnetc.passes.placement import Placement, place, under
from resnetc.passes.plan import EIGHT_BITS, LAYERS, Plan
from resnetc.passes.precision import PRECISIONS, SetPrecision, sensitive
from resnetc.passes.quantize import QuantizeLayers
from resnetc.passes.selection_as_conv import SelectionAsConv

PASSES: dict[str, type[Pass]] = {
    each.name: each
    for each in (
        ForInference,
        FoldBatchNorm,
        FoldScales,
        SelectionAsConv,
        SetPrecision,
        QuantizeLayers,
    )
}

__all__ = [
    "EIGHT_BITS",
    "ENCODINGS",
    "LAYERS",
    "PASSES",
    "PRECISIONS",
    "Encoding",
    "FoldBatchNorm",
    "FoldScales",
    "ForInference",
    "Outcome",
    "Pass",
    "Placement",
    "Plan",
    "QuantizeLayers",
    "Range",
    "SelectionAsConv",
    "SetPrecision",
    "Step",
    "Watch",
    "find_encoding",
    "lower_for_inference",
    "place",
    "run_passes",
    "sensitive",
    "under",
    "unused_name",
]
