"""`forward`: the steps of a class as statements that read as a person writes them.

A value that is read once is written inside the call that reads it, up to an activation, a sum or a
block; any other gets a variable, and takes over that of an operand that is not needed any more.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from resnetc.backends.torch.classes import BlockClass, Option
from resnetc.backends.torch.constructors import is_parameter, layer_arguments
from resnetc.backends.torch.emitters import EMITTERS
from resnetc.backends.torch.layout import WIDTH, Call, Chain, Choice, Expression, Text, lines
from resnetc.backends.torch.names import is_variable
from resnetc.backends.torch.programs import Path, Step
from resnetc.backends.torch.terms import LayerHead
from resnetc.ops import (
    Activation,
    Add,
    Concat,
    Hardsigmoid,
    Mul,
    Op,
    RadixSoftmax,
    Sigmoid,
    Softmax,
    Tanh,
)

_DEEPEST = 3
"""So many calls are nested in one another at most."""

_MERGES = (Add, Mul, Concat)
_GATES = (Sigmoid, Hardsigmoid, Tanh, Softmax, RadixSoftmax)


@dataclass(frozen=True)
class _Unit:
    """A step, or an optional part taken as one step with steps of its own."""

    operands: tuple[int, ...]
    results: tuple[int, ...]
    step: Step | None = None
    option: Option | None = None
    inner: tuple[Step, ...] = ()

    @property
    def op(self) -> type[Op] | None:
        """The op of a step without a member."""
        term = None if self.step is None else self.step.term
        return term.head.op if term and isinstance(term.head, LayerHead) else None

    @property
    def training(self) -> bool:
        """Whether this is left out in evaluation."""
        return self.step is not None and self.step.training

    @property
    def overwritten(self) -> int | None:
        """The value that a sum is added into."""
        place = None if self.step is None else self.step.overwrites
        return None if place is None else self.operands[place]

    @property
    def is_statement(self) -> bool:
        """Whether this cannot be an expression."""
        part = self.option is not None and not self.option.whole
        return part or self.overwritten is not None or len(self.results) != 1


class Forward:
    """Writes the body of one class's `forward`.

    `access` gives the expression for each member; `commented` adds the shape after statements.
    """

    def __init__(self, block: BlockClass, access: Mapping[Path, str], *, commented: bool) -> None:
        self.block = block
        self._access = access
        self._commented = commented
        terms = {member.path: member.term for member in block.program.members}
        self._layers = {p for p, term in terms.items() if isinstance(term.head, LayerHead)}
        self._parameters = {p for p, term in terms.items() if is_parameter(term)}

    def lines(
        self,
        indent: int,
        arguments: Sequence[str],
        outputs: Sequence[str] = (),
        aux: Sequence[str] = (),
    ) -> Iterator[str]:
        """Statements, and the return: of a tensor, of a tuple, or of a dict by `outputs`' names.

        The last results are the auxiliary ones: with any, training returns a dict of all.
        """
        values = self.block.program.outputs
        main = values[: len(values) - len(aux)]
        wanted = dict(zip(values[len(main) :], aux, strict=True))
        body = _Body(self, self._units(), values, dict(enumerate(arguments)), wanted)
        yield from body.lines(indent)
        if aux:
            yield f"{' ' * indent}if self.training:"
            names = [*outputs, *aux]
            yield f"{' ' * (indent + 4)}return {_dict(names, map(body.read, values))}"
        found = [body.read(value) for value in main]
        if len(found) == 1:
            yield from lines(found[0], indent, "return ")
        elif outputs:
            yield f"{' ' * indent}return {_dict(outputs, found)}"
        else:
            yield f"{' ' * indent}return {', '.join(value.flat() for value in found)}".rstrip()

    def _units(self) -> list[_Unit]:
        steps = self.block.program.steps
        options = {option.cut[0]: option for option in self.block.options}
        units = []
        place = 0
        while place < len(steps):
            option = options.get(place)
            stop = place + 1 if option is None else option.cut[1]
            units.append(_unit(steps[place:stop], option))
            place = stop
        return units

    def is_block(self, unit: _Unit) -> bool:
        """Whether a unit calls something larger than a layer."""
        if unit.step is None:
            return True
        return unit.step.member is not None and unit.step.member not in self._layers

    def expression(self, unit: _Unit, operands: tuple[Expression, ...]) -> Expression:
        """A unit's call."""
        if unit.option is not None:
            member = f"self.{unit.option.marker}"
            return Choice(f"{member} is None", operands[0], Call(member, operands))
        assert unit.step is not None
        if unit.step.member is not None:
            access = self._access[unit.step.member] if unit.step.member else "super().forward"
            if unit.step.member in self._parameters:
                return Chain("*", (*operands, Text(access)))
            return Call(access, operands)
        term = unit.step.term
        assert term is not None
        assert unit.op is not None
        call = EMITTERS[unit.op].call
        assert call is not None, f"{unit.op.name} has parameters, so it is a member"
        return call(operands, layer_arguments(term, self.block))

    def presence(self, option: Option) -> str:
        """The condition under which a part is there."""
        if option.marker is not None:
            return f"self.{option.marker} is not None"
        return f"self.{self.block.attribute(option.name)}"

    def comment(self, unit: _Unit) -> str:
        note = unit.step.note if unit.step is not None and self._commented else ""
        return f"  # {note}" if note else ""


def _is_activation(op: type[Op] | None) -> bool:
    """Whether an op ends a statement; a gate reads well inside the product that it is for."""
    return op is not None and issubclass(op, Activation) and op not in _GATES


def _dict(names: Sequence[str], values: Iterable[Expression]) -> str:
    """A dict display."""
    pairs = zip(names, values, strict=True)
    return f"{{{', '.join(f'{json.dumps(name)}: {value.flat()}' for name, value in pairs)}}}"


def _unit(steps: tuple[Step, ...], option: Option | None) -> _Unit:
    if option is None:
        return _Unit(steps[0].operands, steps[0].results, steps[0])
    made = {result for step in steps for result in step.results}
    entry = next(o for step in steps for o in step.operands if o not in made)
    return _Unit((entry,), steps[-1].results, option=option, inner=steps)


class _Body:
    """A list of units as statements.

    `wanted` names variables for some values. Names in `protected` hold what is needed elsewhere.
    """

    def __init__(
        self,
        forward: Forward,
        units: list[_Unit],
        outputs: tuple[int, ...],
        names: dict[int, str],
        wanted: Mapping[int, str],
        protected: frozenset[str] = frozenset(),
    ) -> None:
        self._forward = forward
        self._units = units
        self._outputs = outputs
        self._names = names
        self._wanted = wanted
        self._protected = protected
        self._maker = {value: unit for unit in units for value in unit.results}
        self._inline = self._find_inline()
        self._last = self._find_last_reads()

    def read(self, value: int) -> Expression:
        """The expression for a value: its variable, or the call that makes it."""
        if value not in self._inline:
            return Text(self._names[value])
        unit = self._maker[value]
        return self._forward.expression(unit, tuple(self.read(o) for o in unit.operands))

    def lines(self, indent: int) -> Iterator[str]:
        """Every statement but the return."""
        placed = [(p, u) for p, u in enumerate(self._units) if u.results[0] not in self._inline]
        for training, together in groupby(placed, key=lambda each: each[1].training):
            if training:
                yield f"{' ' * indent}if self.training:"
            for place, unit in together:
                yield from self._statement(unit, place, indent + 4 * training)

    def _statement(self, unit: _Unit, place: int, indent: int) -> Iterator[str]:
        if unit.overwritten is not None:
            yield from self._sum_into(unit, indent)
        elif unit.option is not None and not unit.option.whole:
            yield from self._part(unit, place, indent)
        else:
            yield from self._assignment(unit, place, indent)

    # ----------------------------------------------------------------- what gets a variable

    def _find_inline(self) -> set[int]:
        uses = Counter(value for unit in self._units for value in unit.operands)
        uses.update(self._outputs)
        readers = {value: unit for unit in self._units for value in unit.operands}
        inline: set[int] = set()
        depth: dict[int, int] = {}
        for unit in self._units:
            value = unit.results[0]
            depth[value] = 1 + max((depth[o] for o in unit.operands if o in inline), default=0)
            reader = readers.get(value)
            if unit.is_statement or uses[value] != 1:
                continue
            if reader is None:
                reads = len(self._outputs) == 1
            else:
                reads = depth[value] < _DEEPEST + (reader.op in _MERGES)
                reads = reads and self._reads_well(unit, value, reader)
            if reads:
                inline.add(value)
        return inline

    def _reads_well(self, unit: _Unit, value: int, reader: _Unit) -> bool:
        """Whether the call that makes a value reads well inside the one that reads it."""
        if reader.overwritten == value:
            return False
        if reader.op in _MERGES:
            return not _is_activation(unit.op)
        ends_statement = (
            _is_activation(unit.op) or unit.op in _MERGES or self._forward.is_block(unit)
        )
        return not ends_statement and not self._forward.is_block(reader)

    def _find_last_reads(self) -> dict[int, int]:
        """For each value the place of the last statement that reads it; the return stands last."""
        statement: dict[int, int] = {}
        last = dict.fromkeys(self._outputs, len(self._units))
        for place, unit in reversed(list(enumerate(self._units))):
            value = unit.results[0]
            statement[place] = last[value] if value in self._inline else place
            for operand in unit.operands:
                last[operand] = max(last.get(operand, -1), statement[place])
        return last

    # --------------------------------------------------------------------------- statements

    def _sum_into(self, unit: _Unit, indent: int) -> Iterator[str]:
        assert unit.overwritten is not None
        name = self._names[unit.results[0]] = self._names[unit.overwritten]
        other = next(o for o in unit.operands if o != unit.overwritten)
        yield from lines(self.read(other), indent, f"{name} += ")

    def _assignment(self, unit: _Unit, place: int, indent: int) -> Iterator[str]:
        made = self._forward.expression(unit, tuple(self.read(o) for o in unit.operands))
        for value in unit.results:
            self._names[value] = self._free_name(unit, place, self._wanted.get(value))
        targets = ", ".join(self._names[value] for value in unit.results)
        written = list(lines(made, indent, f"{targets} = "))
        comment = self._forward.comment(unit)
        if len(written) == 1 and len(written[0] + comment) <= WIDTH:
            written[0] += comment
        yield from written

    def _part(self, unit: _Unit, place: int, indent: int) -> Iterator[str]:
        """An optional part: a variable that the part changes where it is there."""
        assert unit.option is not None
        (entry,), (leaving,) = unit.operands, unit.results
        before = self._names[entry]
        name = self._names[leaving] = self._free_name(unit, place)
        if name != before:
            yield f"{' ' * indent}{name} = {before}"
        yield f"{' ' * indent}if {self._forward.presence(unit.option)}:"
        protected = self._protected | self._live(place) | ({before} - {name})
        units = [_unit((step,), None) for step in unit.inner]
        body = _Body(self._forward, units, (leaving,), {entry: before}, {}, protected - {name})
        yield from body.lines(indent + 4)
        result = body.read(leaving)
        if result != Text(name):
            yield from lines(result, indent + 4, f"{name} = ")

    def _live(self, place: int) -> frozenset[str]:
        """Variables that hold something that is read after a statement."""
        return frozenset(
            name for value, name in self._names.items() if self._last.get(value, -1) > place
        )

    def _free_name(self, unit: _Unit, place: int, wanted: str | None = None) -> str:
        """A variable for a result: the wanted, that of an operand that dies here, or a new one."""
        taken = self._live(place) | self._protected
        dying = (self._names[value] for value in self._variables(unit))
        fresh = ("out", "y", "z", *(f"out{number}" for number in range(2, len(taken) + 3)))
        named = [wanted] if wanted is not None and is_variable(wanted) else []
        return next(name for name in (*named, *dying, *fresh) if name not in taken)

    def _variables(self, unit: _Unit) -> Iterator[int]:
        """The values that a unit's statement reads from variables, in the order it reads them."""
        for operand in unit.operands:
            if operand in self._inline:
                yield from self._variables(self._maker[operand])
            else:
                yield operand
