"""From a model's nodes to our ops, one node after the other.

Every value of the model is either a constant or the output of a layer, whose shape our own shape
rules give. So what exporters leave behind to compute shapes folds away here, without shape
inference, and a node is either known, by a row of `operators.OPERATORS`, or refused by name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from resnetc.lift.model import Constant, Model, Operation
from resnetc.lift.network import Layer, Network
from resnetc.lift.refusal import LiftError
from resnetc.ops import MERGES, PRIMITIVES, Op, OpError
from resnetc.ops.layout import Input
from resnetc.shapes import TensorType

if TYPE_CHECKING:
    import numpy as np

_SUFFIXES = (".weight", ".bias", ".running_mean", ".running_var", ".scale")


@dataclass(frozen=True)
class Grouped:
    """A map whose channels were reshaped to groups, on the way to a channel shuffle.

    `turned` says whether groups and the channels in them have changed places yet.
    """

    layer: Layer
    groups: int
    turned: bool = False


class Reading:
    """What has been read so far; the rows of the table of operators add to it."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.layers: list[Layer] = []
        self.values: dict[str, Constant | int] = dict(model.constants)
        self.grouped: dict[str, Grouped] = {}
        start = TensorType(model.shape)
        self._put(Layer(0, Input(start), (), start), model.input)

    def _put(self, layer: Layer, output: str) -> None:
        self.layers.append(layer)
        self.values[output] = layer.id

    # ------------------------------------------------------------------ what a node reads

    def layer(self, operation: Operation, index: int = 0) -> Layer:
        """The layer that an operand is the output of."""
        if operation.inputs[index] in self.grouped:
            raise LiftError(f"{operation}: channels in groups are lifted in a channel shuffle only")
        found = self.values[operation.inputs[index]]
        if isinstance(found, Constant):
            raise LiftError(f"{operation}: operand {index} is a constant, and must not be")
        return self.layers[found]

    def constant(self, operation: Operation, index: int) -> Constant | None:
        """The constant that an operand is; None where the operand is absent."""
        if index >= len(operation.inputs) or not operation.inputs[index]:
            return None
        found = self.values[operation.inputs[index]]
        if isinstance(found, Constant):
            return found
        raise LiftError(f"{operation}: operand {index} is computed, and must be a constant")

    def needed(self, operation: Operation, index: int) -> Constant:
        """The constant that an operand must be."""
        found = self.constant(operation, index)
        if found is None:
            raise LiftError(f"{operation}: operand {index} is missing")
        return found

    def is_constant(self, operation: Operation, index: int) -> bool:
        """Whether an operand is a constant."""
        return isinstance(self.values[operation.inputs[index]], Constant)

    def numbers(self, operation: Operation, name: str, index: int) -> list[float] | None:
        """Numbers that older opsets have as an attribute and newer ones as an operand."""
        if name in operation.attributes:
            given = operation.attributes[name]
            return list(given) if isinstance(given, Sequence) else [given]
        found = self.constant(operation, index)
        return None if found is None else [x.item() for x in found.array.reshape(-1)]

    # ------------------------------------------------------------------ what a node becomes

    def place(
        self,
        operation: Operation,
        word: str,
        operands: Sequence[Layer],
        arrays: Mapping[str, Constant | None] | None = None,
        **arguments: Any,
    ) -> Layer:
        """A layer for a node, by its word in the language; later nodes read it."""
        held = {name: found for name, found in (arrays or {}).items() if found is not None}
        types = tuple(operand.type for operand in operands)
        try:
            kind = PRIMITIVES.get(word) or MERGES[word]
            op = kind.place(types, **arguments)
            result = op.result(*types)
        except OpError as error:
            raise LiftError(f"{operation}: {error.message}") from error
        self._require_shapes(operation, op, held)
        layer = Layer(
            len(self.layers),
            op,
            tuple(operand.id for operand in operands),
            result,
            arguments,
            _module(held) or (operation.place or None if held else None),
            operation.place,
            str(operation),
            {name: found.array for name, found in held.items()},
        )
        self._put(layer, operation.outputs[0])
        return layer

    def with_bias(self, operation: Operation, old: Layer, bias: Constant) -> None:
        """The layer `old` once more, with a bias; nothing reads the old one then."""
        arrays = {name: Constant(array) for name, array in old.arrays.items()} | {"bias": bias}
        out = int(arrays["weight"].array.shape[0])
        operand = self.layers[old.inputs[0]]
        made = self.place(operation, old.op.name, [operand], arrays, out=out)
        self.layers[made.id] = replace(made, path=old.path or made.path, origin=old.origin)

    def forward(self, operation: Operation, layer: Layer) -> None:
        """A node that changes nothing: its readers read `layer`."""
        self.values[operation.outputs[0]] = layer.id

    def fold(self, operation: Operation, array: np.ndarray, name: str | None = None) -> None:
        """A node whose output is a constant."""
        self.values[operation.outputs[0]] = Constant(array, name)

    def _require_shapes(self, operation: Operation, op: Op, held: Mapping[str, Constant]) -> None:
        for spec in op.parameters():
            if spec.name in held and held[spec.name].array.shape != spec.type.shape:
                found = "x".join(map(str, held[spec.name].array.shape)) or "a scalar"
                raise LiftError(f"{operation}: its {spec.name} is {found}, not {spec.type}")


def _module(arrays: Mapping[str, Constant]) -> str | None:
    """The path that parameters are named after: what stands before `.weight`.

    Of most of them, where they differ: exporters give equal arrays one name, as the scales of
    norms that were never trained.
    """
    named = Counter(
        found.name.removesuffix(suffix)
        for found in arrays.values()
        for suffix in _SUFFIXES
        if found.name is not None and found.name.endswith(suffix)
    )
    return named.most_common(1)[0][0] if named else None


def read_network(model: Model) -> Network:
    """All of a model's nodes as layers. Raises LiftError for a node we have no word for."""
    from resnetc.lift.operators import OPERATORS, fold_constant

    reading = Reading(model)
    for operation in model.operations:
        if _is_constant(reading, operation):
            fold_constant(reading, operation)
        elif operation.kind in OPERATORS:
            OPERATORS[operation.kind](reading, operation)
        else:
            raise LiftError(f"{operation}: there is no layer for this operator")
    if model.output in reading.grouped:
        raise LiftError(f"{model.name}: the output is half of a channel shuffle")
    output = reading.values[model.output]
    if isinstance(output, Constant):
        raise LiftError(f"{model.name}: the output does not depend on the input")
    if output == 0:
        raise LiftError(f"{model.name}: the output is the input")
    return _live(model.name, reading.layers, output)


def _is_constant(reading: Reading, operation: Operation) -> bool:
    return all(isinstance(reading.values.get(name), Constant) for name in operation.inputs if name)


def _live(name: str, layers: Sequence[Layer], output: int) -> Network:
    """The layers that the output depends on, numbered anew, the output last."""
    needed = {output, 0}
    for layer in reversed(layers):
        if layer.id in needed:
            needed.update(layer.inputs)
    kept = [layer for layer in layers if layer.id in needed]
    number = {layer.id: i for i, layer in enumerate(kept)}
    renumbered = [
        replace(layer, id=number[layer.id], inputs=tuple(number[i] for i in layer.inputs))
        for layer in kept
    ]
    return Network(name, tuple(renumbered))
