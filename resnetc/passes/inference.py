"""From a network as written to the graph that inference backends emit."""

from __future__ import annotations

from resnetc.diagnostics import UsageError
from resnetc.ir import Graph
from resnetc.passes.base import Outcome, Pass, Watch, run_passes
from resnetc.passes.fold_batch_norm import FoldBatchNorm
from resnetc.passes.fold_scales import FoldScales
from resnetc.passes.for_inference import ForInference
from resnetc.passes.plan import Plan
from resnetc.passes.precision import SetPrecision
from resnetc.passes.selection_as_conv import SelectionAsConv
from resnetc.shapes import DType


def lower_for_inference(
    graph: Graph,
    *,
    fold: bool = True,
    dtype: DType = DType.F32,
    plan: Plan | None = None,
    watch: Watch | None = None,
) -> Outcome:
    """Run the passes every inference backend starts from, on a graph of stage SOURCE.

    `plan` says all that there is to say of precision, `dtype` only what everything computes in.
    Raises UsageError for eight bits without folding.
    """
    passes: list[Pass] = [ForInference()]
    if fold:
        passes += FoldBatchNorm(), FoldScales()
    passes.append(SelectionAsConv())
    if plan is not None:
        if plan.eight_bits and not fold:
            raise UsageError(f"{plan.layers} layers need their batch norms folded")
        passes += plan.passes()
    elif dtype is not DType.F32:
        passes.append(SetPrecision(dtype))
    return run_passes(graph, passes, watch=watch)
