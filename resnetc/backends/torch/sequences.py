"""Blocks that are sequences: a class that extends `nn.Sequential` and needs no `forward`."""

from __future__ import annotations

from collections.abc import Iterator

from resnetc.backends.torch.classes import BlockClass
from resnetc.backends.torch.constructors import Constructors, is_parameter
from resnetc.backends.torch.emitters import EMITTERS
from resnetc.backends.torch.layout import Call, lines
from resnetc.backends.torch.programs import Step
from resnetc.backends.torch.terms import LayerHead, Term, run_lengths


def sequence(block: BlockClass) -> tuple[Term, ...] | None:
    """The layers of a block that is a chain numbered from 0; None for any other.

    An optional part may end it: elsewhere the numbers behind would depend on it.
    """
    program = block.program
    members = {member.path: member.term for member in program.members}
    found: list[Term] = []
    value = 0
    for place, step in enumerate(program.steps):
        term = _layer(step) if step.member is None else members.get(step.member)
        numbered = step.member in (None, (str(place),))
        if term is None or is_parameter(term) or not numbered:
            return None
        if step.operands != (value,) or len(step.results) != 1:
            return None
        (value,) = step.results
        found.append(term)
    used = {step.member for step in program.steps}
    whole = program.outputs == (value,) and len(program.inputs) == 1
    whole = whole and bool(members) and used >= members.keys()
    ends = [option.cut[1] for option in block.options]
    return tuple(found) if whole and ends in ([], [len(found)]) else None


def _layer(step: Step) -> Term | None:
    """The op of a step where a module can do it."""
    if step.term is None or not isinstance(step.term.head, LayerHead):
        return None
    return step.term if EMITTERS[step.term.head.op].module else None


def constructor(
    block: BlockClass, layers: tuple[Term, ...], constructors: Constructors, indent: int
) -> Iterator[str]:
    """Statements of `__init__`."""
    (option,) = block.options or (None,)
    stop = len(layers) if option is None else option.cut[0]
    kept = tuple(constructors.elements(run_lengths(list(layers[:stop]))))
    yield from lines(Call("super().__init__", kept, spread=True), indent)
    if option is not None:
        yield f"{' ' * indent}if {option.condition}:"
        for layer in layers[stop:]:
            yield from lines(Call("self.append", (constructors.expression(layer),)), indent + 4)
