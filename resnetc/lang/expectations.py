"""`expect params = 25_557_032`: what a network says of itself, proven."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from resnetc.diagnostics import Diagnostic, Help, Label, suggest
from resnetc.lang import syntax as s
from resnetc.lang.mistake import Mistake
from resnetc.lang.record import PlacedOp, needed
from resnetc.lang.values import show, type_name

Ops = Sequence[PlacedOp]


def _params(op: PlacedOp) -> int:
    return sum(spec.type.elements for spec in op.op.parameters() if spec.role.trainable)


def _macs(op: PlacedOp) -> int:
    return op.op.macs(op.type)


COUNTS: dict[str, tuple[str, Callable[[PlacedOp], int]]] = {
    "params": ("parameters", _params),
    "macs": ("multiply-accumulates", _macs),
}
KEYS = (*COUNTS, "output")


@dataclass(frozen=True)
class Expectation:
    """One `key = value` of an `expect`, for one network."""

    setting: s.Setting
    value: object
    network: str

    @classmethod
    def of(cls, setting: s.Setting, value: object, network: str) -> Expectation:
        """The expectation, or a Mistake when there is no such key or the value is no count."""
        if setting.name not in KEYS:
            close = suggest(setting.name, KEYS)
            advice = f"did you mean `{close}`?" if close else f"known are {', '.join(KEYS)}"
            message = f"`expect` knows no `{setting.name}`"
            raise Mistake("E0203", message, setting.name_span, help=advice)
        shape = isinstance(value, tuple | list)
        is_int = isinstance(value, int) and not isinstance(value, bool)
        if not is_int and not (setting.name == "output" and shape):
            message = f"expected int, found {type_name(value)}"
            raise Mistake("E0301", message, setting.value.span)
        return cls(setting, value, network)

    def check(self, ops: Ops, outputs: Mapping[str, int]) -> Diagnostic | None:
        """The finding when it does not hold."""
        if self.setting.name == "output":
            return self._check_output(ops, outputs)
        noun, count = COUNTS[self.setting.name]
        ops = [ops[i] for i in sorted(needed(ops, outputs.values()))]
        found = sum(count(op) for op in ops)
        if found == self.value:
            return None
        assert isinstance(self.value, int)
        span = self.setting.value.span
        message = f"{self.network} has {found:,} {noun}; the file expects {self.value:,}"
        note = f"by label: {' · '.join(_by_label(ops, count))}"
        transposed = sorted(str(found)) == sorted(str(self.value))
        doubt = ": are two digits transposed?" if transposed else ""
        advice = Help(f"the difference is {found - self.value:+,}{doubt}", span, f"{found:_}")
        return Diagnostic("E0501", message, Label(span), notes=(note,), help=advice)

    def _check_output(self, ops: Ops, outputs: Mapping[str, int]) -> Diagnostic | None:
        found = next(ops[i].type.shape for i in outputs.values())
        wanted = (self.value,) if isinstance(self.value, int) else self.value
        assert isinstance(wanted, tuple | list)
        if found == tuple(wanted):
            return None
        shown = "x".join(map(show, wanted))
        message = f"{self.network} gives {'x'.join(map(str, found))}; the file expects {shown}"
        return Diagnostic("E0501", message, Label(self.setting.value.span))


def _by_label(ops: Ops, count: Callable[[PlacedOp], int]) -> list[str]:
    totals: dict[str, int] = {}
    for op in ops:
        if count(op):
            label = op.prefix.split(".")[0] or op.op.name
            totals[label] = totals.get(label, 0) + count(op)
    return [f"{label} {total:,}" for label, total in totals.items()]
