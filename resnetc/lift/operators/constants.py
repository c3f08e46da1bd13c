"""What depends on constants alone."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from resnetc.lift.model import Constant, Operation
from resnetc.lift.reading import Reading
from resnetc.lift.refusal import LiftError
from resnetc.lift.soundness import first_line

if TYPE_CHECKING:
    import numpy as np
    import onnx

_LARGEST = 1 << 28
"""Numbers that a computed constant may hold: more than any layer's weights."""
_SIZES = 64
"""Numbers in an operand that may say how large the result is."""


def fold_constant(reading: Reading, operation: Operation) -> None:
    """A node that reads constants alone: its output is computed now."""
    import numpy as np
    from onnx.reference import ReferenceEvaluator

    found = [reading.values[name] for name in operation.inputs if name]
    read = [constant for constant in found if isinstance(constant, Constant)]
    if operation.kind == "Identity":
        # Exporters give equal parameters one initializer; each keeps its own name here.
        reading.fold(operation, read[0].array, operation.outputs[0])
        return
    feeds = dict(zip((n for n in operation.inputs if n), (c.array for c in read), strict=True))
    try:
        _require_bounded(operation, feeds, reading.model.opset)
        opsets = {"": reading.model.opset}
        outputs = ReferenceEvaluator(operation.proto, opsets=opsets).run(None, feeds)
    except LiftError:
        raise
    except Exception as error:  # whatever the reference says of a node that cannot be evaluated
        told = first_line(error)
        raise LiftError(f"{operation}: this constant cannot be computed: {told}") from error
    kept = read[0].name if operation.kind in ("Transpose", "Reshape", "Cast") else None
    for name, array in zip(operation.outputs, outputs, strict=False):
        reading.values[name] = Constant(np.asarray(array), kept)


def _require_bounded(operation: Operation, feeds: Mapping[str, np.ndarray], opset: int) -> None:
    """Refuse a constant that a few bytes of a file would blow up (Expand, Tile, Pad, Range): its
    size is inferred before it is made. Raises onnx's own errors for operands that do not fit."""
    from onnx import defs, helper, numpy_helper, shape_inference

    kinds = {
        name: helper.make_tensor_type_proto(
            helper.np_dtype_to_tensor_dtype(array.dtype), array.shape
        )
        for name, array in feeds.items()
    }
    sizes = {n: numpy_helper.from_array(a, n) for n, a in feeds.items() if a.size <= _SIZES}
    found = shape_inference.infer_node_outputs(
        defs.get_schema(operation.kind, opset, ""),
        operation.proto,
        kinds,
        sizes,
        opset_imports=[helper.make_opsetid("", opset)],
    )
    for name, kind in found.items():
        count = math.prod(_extents(kind))
        if count > _LARGEST:
            raise LiftError(f"{operation}: the constant {name} would hold {count:,} numbers")


def _extents(kind: onnx.TypeProto) -> list[int]:
    """The known extents of a tensor; what is not known is not larger than what is read."""
    dims = kind.tensor_type.shape.dim
    return [each.dim_value if each.HasField("dim_value") else 1 for each in dims]
