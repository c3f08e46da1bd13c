"""Drop what does nothing in inference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from resnetc.ir import GraphEditor, Node
from resnetc.ir.verify import Stage
from resnetc.passes.base import Pass

_MERGES = frozenset({"add", "mul", "concat"})


@dataclass(frozen=True)
class ForInference(Pass):
    """Readers of an identity, a dropout or a merge of one operand read that operand instead.

    Auxiliary outputs go, and the heads that only they need.
    """

    name: ClassVar[str] = "for_inference"
    stages: ClassVar[Mapping[Stage, Stage]] = {Stage.SOURCE: Stage.INFERENCE}

    def visit(self, editor: GraphEditor, node: Node) -> None:
        alone = node.op.name in _MERGES and len(node.inputs) == 1
        if alone or node.op.name in ("identity", "dropout"):
            editor.forward(node, node.inputs[0])
        else:
            editor.keep(node)

    def leave(self, editor: GraphEditor) -> None:
        editor.drop_aux()
