"""`reuse label`: what a label names once more, behind another tensor, with the same parameters.

The layers are copied, not elaborated anew: a second call of one module runs the very layers of the
first, whatever their blocks would do with another tensor.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from resnetc.diagnostics import Help, Label, Span, suggest
from resnetc.lang import syntax as s
from resnetc.lang.mistake import Mistake, Poisoned
from resnetc.lang.record import PlacedOp, Recorder
from resnetc.lang.site import Flowing, Site
from resnetc.lang.structures import one_tensor
from resnetc.lang.values import POISON, Poison, Tensor
from resnetc.ops import OpError


@dataclass(frozen=True, slots=True)
class Labelled:
    """A labelled step as it was placed: what flowed before and behind it, and what it recorded."""

    span: Span
    before: Flowing
    after: Flowing
    ops: range
    blocks: range


@dataclass
class Reuse:
    """Remembers what every label names, by the scope it stands in, and places it again."""

    record: Recorder
    bodies: list[s.Body] = field(default_factory=list)
    """The bodies that are being elaborated, the innermost last."""
    _labelled: dict[tuple[int, str], Labelled] = field(default_factory=dict)
    _lost: set[int] = field(default_factory=set)

    def place(self, core: s.Reuse, label: str, site: Site) -> None:
        """Place what the label names behind the tensor at the site."""
        found = self._labelled.get((site.scope, label))
        if found is None and site.scope in self._lost:
            raise Poisoned
        if found is None:
            raise self._unknown(core, label, site)
        if isinstance(site.here, Poison) or isinstance(found.after, Poison):
            raise Poisoned
        here = one_tensor(site.here, f"`{label}`", core.span)
        site.here = _Copy(self.record, core, label, found, here).place(site)

    def note(self, label: str, labelled: Labelled, site: Site) -> None:
        """Remember a labelled step."""
        self._labelled[site.scope, label] = labelled

    def lose(self, statement: s.Stmt, site: Site) -> None:
        """A statement failed: what it would have labelled is poison."""
        if not isinstance(statement, s.Chain):
            self._lost.add(site.scope)
            return
        for step in statement.steps:
            self.lose_step(step, site)

    def lose_step(self, step: s.Step, site: Site) -> None:
        """A step failed: its label is poison."""
        if isinstance(step.label, s.Literal):
            lost = Labelled(step.span, POISON, POISON, range(0), range(0))
            self._labelled.setdefault((site.scope, str(step.label.value)), lost)
        elif step.label is not None:
            self._lost.add(site.scope)

    def _unknown(self, core: s.Reuse, label: str, site: Site) -> Mistake:
        elsewhere = self._elsewhere(core, label)
        if elsewhere is not None and elsewhere.start > core.span.start:
            message = f"`{label}` is not placed yet: `reuse` goes back, never ahead"
            later = Label(elsewhere, "placed here")
            return Mistake("E0415", message, core.label.span, secondary=(later,))
        message = f"no layer before this is labelled `{label}` here"
        secondary = () if elsewhere is None else (Label(elsewhere, "this is in another body"),)
        known = [name for scope, name in self._labelled if scope == site.scope]
        close = suggest(label, known)
        advice: Help | str | None = None
        if close:
            advice = Help(f"did you mean `{close}`?", core.label.span, close)
        elif known:
            advice = f"labelled are {', '.join(known[:8])}{' ...' if len(known) > 8 else ''}"
        return Mistake("E0415", message, core.label.span, secondary=secondary, help=advice)

    def _elsewhere(self, core: s.Reuse, label: str) -> Span | None:
        """Where the label stands in the bodies around, if not where `reuse` may go."""
        for body in reversed(self.bodies):
            for statement in body.statements:
                for step in statement.steps if isinstance(statement, s.Chain) else ():
                    if isinstance(step.label, s.Literal) and step.label.value == label:
                        return step.label.span
            if not body.span.start <= core.span.start < body.span.end:
                break
        return None


@dataclass
class _Copy:
    """One placement of what a label names; `tensors` and `scopes` lead from the first one's."""

    record: Recorder
    core: s.Reuse
    label: str
    found: Labelled
    here: Tensor
    tensors: dict[int, Tensor] = field(default_factory=dict)
    scopes: dict[int, int] = field(default_factory=dict)

    def place(self, site: Site) -> Flowing:
        """Record the copy; what flows behind it."""
        before = one_tensor(self.found.before, f"`{self.label}`", self.found.span)
        self.tensors[before.id] = self.here
        after = self.found.after
        ends = after if isinstance(after, list) else [after]
        results = [end for end in ends if isinstance(end, Tensor)]
        for number in self.found.blocks:
            parent = self.record.blocks[number].parent
            assert parent is not None
            above = self.scopes.get(parent, site.scope)
            self.scopes[number] = self.record.reopen_block(number, above, self.core.span)
        for number in self._needed(results):
            self.tensors[number] = self._op(self.record.ops[number], site.scope)
        copied = [self._tensor(end.id, self.found.span) for end in results]
        return copied if isinstance(after, list) else copied[0]

    def _needed(self, results: list[Tensor]) -> Iterator[int]:
        """Ops that lead to the results, in order: an auxiliary head in a block does not."""
        needed = {end.id for end in results}
        for number in reversed(self.found.ops):
            if number in needed:
                needed.update(self.record.ops[number].inputs)
        return (number for number in self.found.ops if number in needed)

    def _op(self, op: PlacedOp, scope: int) -> Tensor:
        operands = tuple(self._tensor(i, op.span) for i in op.inputs)
        try:
            return self.record.place_again(
                op, operands, self.scopes.get(op.scope, scope), self.core.span
            )
        except OpError as error:
            raise self._misfit(op, error) from None

    def _tensor(self, number: int, reader: Span) -> Tensor:
        if number in self.tensors:
            return self.tensors[number]
        message = f"`{self.label}` reads more than the tensor before it, so it cannot be reused"
        read = Label(self.record.ops[number].span, "this tensor")
        labels = (Label(reader, "reads from outside"), read) if reader != read.span else (read,)
        raise Mistake("E0417", message, self.core.span, secondary=labels)

    def _misfit(self, op: PlacedOp, error: OpError) -> Mistake:
        before = self.found.before
        assert isinstance(before, Tensor)
        made = f"placed here, behind {before.type}"
        message = f"`{self.label}` with the same parameters cannot take {self.here.type}"
        note = f"{op.name}: {error.message}" if op.name != self.label else error.message
        placed = Label(self.found.span, made)
        return Mistake("E0416", message, self.core.span, secondary=(placed,), notes=(note,))
