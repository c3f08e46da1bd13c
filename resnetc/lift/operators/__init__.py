"""ONNX's operators, one row each: what a node becomes in our terms, or why it cannot."""

from resnetc.lift.operators import elementwise, layout, matrices, resizing, windows
from resnetc.lift.operators.attributes import Reader
from resnetc.lift.operators.constants import fold_constant

OPERATORS: dict[str, Reader] = {
    **windows.ROWS,
    **matrices.ROWS,
    **elementwise.ROWS,
    **layout.ROWS,
    **resizing.ROWS,
}
"""What each operator of ONNX becomes. One that is not here is refused."""

__all__ = ["OPERATORS", "fold_constant"]
