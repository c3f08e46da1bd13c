"""What depends on constants alone."""

from __future__ import annotations

from resnetc.lift.model import Constant, Operation
from resnetc.lift.reading import Reading
from resnetc.lift.refusal import LiftError


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
        opsets = {"": reading.model.opset}
        outputs = ReferenceEvaluator(operation.proto, opsets=opsets).run(None, feeds)
    except Exception as error:  # whatever the reference says of a node that cannot be evaluated
        raise LiftError(f"{operation}: this constant cannot be computed: {error}") from error
    kept = read[0].name if operation.kind in ("Transpose", "Reshape", "Cast") else None
    for name, array in zip(operation.outputs, outputs, strict=False):
        reading.values[name] = Constant(np.asarray(array), kept)
