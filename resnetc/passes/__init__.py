"""Passes change graphs: one file and one row each."""

from __future__ import annotations

from resnetc.passes.base import Outcome, Pass, Step, Watch, run_passes
from resnetc.passes.fold_batch_norm import FoldBatchNorm
from resnetc.passes.for_inference import ForInference
from resnetc.passes.inference import lower_for_inference
from resnetc.passes.precision import PRECISIONS, SetPrecision
from resnetc.passes.selection_as_conv import SelectionAsConv

PASSES: dict[str, type[Pass]] = {
    each.name: each for each in (ForInference, FoldBatchNorm, SelectionAsConv, SetPrecision)
}

__all__ = [
    "PASSES",
    "PRECISIONS",
    "FoldBatchNorm",
    "ForInference",
    "Outcome",
    "Pass",
    "SelectionAsConv",
    "SetPrecision",
    "Step",
    "Watch",
    "lower_for_inference",
    "run_passes",
]
