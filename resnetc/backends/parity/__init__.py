"""Do the runtimes agree? Each one's outputs beside a float64 reference of the same graph.

agreement    figures of one output, and the tolerances
runtimes     the table: torch, torch.compile, onnxruntime, openvino; what each must offer
parting      the first block, and in it the first op, where a runtime is off
check        runs them all
"""

from resnetc.backends.parity.agreement import (
    TOLERANCES,
    Agreement,
    compare,
    differences,
    require_parity,
)
from resnetc.backends.parity.check import check_parity, compare_runtimes
from resnetc.backends.parity.parting import Parting
from resnetc.backends.parity.runtimes import DEFAULT, RUNTIMES

__all__ = [
    "DEFAULT",
    "RUNTIMES",
    "TOLERANCES",
    "Agreement",
    "Parting",
    "check_parity",
    "compare",
    "compare_runtimes",
    "differences",
    "require_parity",
]
