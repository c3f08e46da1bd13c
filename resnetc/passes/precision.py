"""Precision is a property of the graph: element types are chosen here, not by a backend's flags."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from resnetc.ir import GraphEditor, Node
from resnetc.ir.verify import Stage
from resnetc.ops import Cast, Role
from resnetc.passes.base import Pass, unused_name
from resnetc.shapes import DType, TensorType

PRECISIONS: Mapping[str, DType] = {"fp32": DType.F32, "fp16": DType.F16, "bf16": DType.BF16}
"""What a user calls each precision."""


@dataclass(frozen=True)
class SetPrecision(Pass):
    """Compute in `dtype`: parameters take it, casts stand behind inputs and before outputs.

    The network's inputs and outputs keep their element types.
    """

    name: ClassVar[str] = "set_precision"
    stages: ClassVar[Mapping[Stage, Stage]] = {
        Stage.INFERENCE: Stage.TYPED,
        Stage.FOLDED: Stage.FOLDED_TYPED,
    }
    dtype: DType

    def visit(self, editor: GraphEditor, node: Node) -> None:
        parameters = tuple(
            p if p.role is Role.COUNTER else replace(p, type=TensorType(p.type.shape, self.dtype))
            for p in node.parameters
        )
        if parameters == node.parameters:
            editor.keep(node)
        else:
            editor.replace(node, node.op, parameters)
        if node.op.name == "input" and node.type.dtype is not self.dtype:
            self._cast(editor, node, self.dtype)

    def leave(self, editor: GraphEditor) -> None:
        """Cast the outputs back. Every reader has its operand by now, so only outputs see it."""
        for node_id in dict.fromkeys(editor.old.outputs.values()):
            node = editor.old[node_id]
            if node.type.dtype is not self.dtype:
                self._cast(editor, node, node.type.dtype)

    def _cast(self, editor: GraphEditor, node: Node, dtype: DType) -> None:
        taken = {other.name for other in editor.old}
        name = f"{node.name}.to_{dtype.value}"
        editor.insert_after(node, Cast(dtype), unused_name(taken, name))
