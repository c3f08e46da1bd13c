"""Blocks as classes: one for all instances of a block that differ in numbers and optional parts.

Numbers that are the same everywhere are written out. Those that differ become parameters of the
constructor, and numbers that always vary together share one.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from resnetc.backends.torch.emitters import EMITTERS
from resnetc.backends.torch.names import MODULE_ATTRIBUTES, Namespace, is_attribute
from resnetc.backends.torch.programs import Member, Program, Step
from resnetc.backends.torch.terms import LayerHead, Leaf, Ref, Value
from resnetc.backends.torch.variants import Cut, Family
from resnetc.ops import PadChannels, Subsample

Row = tuple[Value | None, ...]
"""One number in all instances; None where an instance lacks the part that holds it."""

_NEUTRAL: dict[str, Value] = {"stride": 1, "dilation": 1, "groups": 1, "padding": 0}
"""Values that a parameter has by default where some instance has them."""

_SHARED_BY_PARTS = ("channels", "stride")
"""Kinds for which a part takes the block's own parameter, though one number would do."""


@dataclass(frozen=True)
class Parameter:
    """A parameter of a constructor. `row` holds its argument in every instance."""

    name: str
    kind: str
    row: Row
    default: Value | None = None

    @property
    def annotation(self) -> str:
        kinds = {_type_name(value) for value in self.row if value is not None}
        order = ("bool", "int", "float", "str")
        return " | ".join([name for name in order if name in kinds] + sorted(kinds - {*order}))


@dataclass(frozen=True)
class Option:
    """An optional part: steps that run, and members that exist, where `condition` holds.

    `marker` is a member that is None where the part is missing; without one an attribute called
    `name` says so. The `whole` part may be one call of the marker.
    """

    cut: Cut
    members: tuple[str, ...]
    marker: str | None
    whole: bool
    name: str
    condition: str


@dataclass(frozen=True)
class BlockClass:
    """What a class statement says. The terms' leaves are numbers or parameters."""

    name: str
    block: str
    program: Program
    parameters: tuple[Parameter, ...]
    options: tuple[Option, ...]
    uses: int

    def attribute(self, name: str) -> str:
        """The attribute that keeps a constructor's parameter, or says that an option is there.

        It must hide neither a member nor what a layer that the class extends knows itself by.
        """
        members = {member.path[0] if member.path else "" for member in self.program.members}
        while "" in members or name in members or name in MODULE_ATTRIBUTES:
            name, members = f"own_{name}", members - {""}
        return name

    def arguments(self, instance: int) -> tuple[Leaf, ...]:
        """What the constructor is called with for one instance."""
        return tuple(
            Leaf(_argument(parameter, instance), parameter.name, parameter.kind)
            for parameter in self.parameters
        )


def _type_name(value: Value) -> str:
    if not isinstance(value, tuple):
        # Not the value's own type: a ratio of the language is a float to Python.
        return next(kind.__name__ for kind in (bool, int, float, str) if isinstance(value, kind))
    if all(isinstance(number, int) for number in value):
        return f"tuple[{', '.join(['int'] * len(value))}]"
    return "tuple[float, ...]"


def _argument(parameter: Parameter, instance: int) -> Value:
    value = parameter.row[instance]
    if value is None:
        value = parameter.default
    assert value is not None, "a parameter that some instance lacks has a default"
    return value


def generalise(family: Family, programs: list[Program], name: str, block: str) -> BlockClass:
    """The class for a family; `instances` of the family are renumbered in their order."""
    places = sorted(family.instances)
    own = [programs[place] for place in places]
    cuts = [family.instances[place] for place in places]
    columns = list(_columns(family, own, cuts))
    groups = _group(columns)
    parameters = _named(groups, own)
    options, flags = _options(family, cuts, parameters)
    names = {id(group): parameter.name for group, parameter in zip(groups, parameters, strict=True)}
    leaves = iter([_leaf(column, names) for column in columns])
    program = _with_leaves(family.base, leaves)
    program = replace(program, steps=_overwriting(family, program.steps, own, cuts))
    ordered = sorted((*parameters, *flags), key=_order)
    return BlockClass(name, block, program, tuple(ordered), options, len(places))


# ---------------------------------------------------------------------------------- columns


@dataclass(eq=False)
class _Column:
    """One leaf of the base program in all instances."""

    leaf: Leaf
    label: str
    in_forward: bool
    row: Row
    group: _Group | None = None

    @property
    def present(self) -> list[Value]:
        return [value for value in self.row if value is not None]

    @property
    def constant(self) -> bool:
        return len(set(self.present)) == 1


@dataclass(eq=False)
class _Group:
    """Columns that share a parameter."""

    kind: str
    row: Row
    columns: list[_Column]


def _columns(family: Family, own: list[Program], cuts: list[tuple[Cut, ...]]) -> Iterator[_Column]:
    base = family.base
    labels = [member.path[-1] if member.path else "" for member in base.members]
    numbers = [
        _leaf_values(family, program, missing) for program, missing in zip(own, cuts, strict=True)
    ]
    place = 0
    # Terms beyond the members' are those of steps.
    for term, label in itertools.zip_longest(base.terms, labels):
        for leaf in term.leaves():
            row = tuple(values[place] for values in numbers)
            yield _Column(leaf, label or "", label is None, row)
            place += 1


def _leaf_values(family: Family, program: Program, missing: tuple[Cut, ...]) -> list[Value | None]:
    """Values of an instance at the leaves of the base; None in the parts it lacks."""
    base = family.base
    lacking = {place for cut in missing for place in range(*cut)}
    absent = {base.steps[place].member for place in lacking} - {None}
    skipped = [member.path in absent for member in base.members]
    skipped += [place in lacking for place, s in enumerate(base.steps) if s.term is not None]
    own = iter(program.terms)
    values: list[Value | None] = []
    for term, skip in zip(base.terms, skipped, strict=True):
        found = term.leaves() if skip else next(own).leaves()
        values += [None if skip or isinstance(leaf.value, Ref) else leaf.value for leaf in found]
    return values


def _group(columns: list[_Column]) -> list[_Group]:
    """Decide which columns become parameters, and which of them share one."""
    groups: dict[tuple[str, Row], _Group] = {}
    varying = [c for c in columns if not c.constant and c.leaf.kind != "inplace"]
    for column in varying:
        if None not in column.row:
            _join(groups, column)
    for column in columns:
        shares = column.leaf.kind in _SHARED_BY_PARTS and not column.in_forward
        if None in column.row and (shares or not column.constant):
            fitting = [g for g in groups.values() if _fits(column, g)]
            if fitting:
                best = next((g for g in fitting if column.leaf.name in _names(g)), fitting[0])
                best.columns.append(column)
                column.group = best
            elif not column.constant:
                _join(groups, column)
    return list(groups.values())


def _join(groups: dict[tuple[str, Row], _Group], column: _Column) -> None:
    kind = column.leaf.kind
    # A depthwise convolution's groups are its channels.
    if kind == "groups" and ("channels", column.row) in groups:
        kind = "channels"
    key = kind, column.row
    group = groups.setdefault(key, _Group(*key, []))
    group.columns.append(column)
    column.group = group


def _fits(column: _Column, group: _Group) -> bool:
    pairs = zip(column.row, group.row, strict=True)
    return column.leaf.kind == group.kind and all(a is None or a == b for a, b in pairs)


def _names(group: _Group) -> set[str]:
    return {column.leaf.name for column in group.columns}


def _leaf(column: _Column, names: dict[int, str]) -> Leaf:
    if column.group is not None:
        return replace(column.leaf, value=Ref(names[id(column.group)]))
    if column.leaf.kind == "inplace":
        return replace(column.leaf, value=all(column.present))
    return column.leaf


# ------------------------------------------------------------------------ parameters, options


def _named(groups: list[_Group], own: list[Program]) -> list[Parameter]:
    in_row = tuple(program.in_channels for program in own)
    out_row = tuple(program.out_channels for program in own)
    space = Namespace(("self", "x", "y", "z"))
    named: list[Parameter] = []
    for group in groups:
        name = group.columns[0].leaf.name
        if group.kind == "channels":
            name = _channel_name(group.row, in_row, out_row)
        label = group.columns[0].label
        wanted = name
        if any(parameter.name == name for parameter in named) and is_attribute(label):
            wanted = f"{label}_{name}"
        named.append(Parameter(space.claim(wanted), group.kind, group.row, _default(group)))
    return named


def _channel_name(row: Row, in_row: Row, out_row: Row) -> str:
    if row == in_row:
        return "channels" if in_row == out_row else "in_channels"
    return "out_channels" if row == out_row else "width"


def _default(group: _Group) -> Value | None:
    neutral = _NEUTRAL.get(group.kind)
    if neutral is not None and neutral in group.row:
        return neutral
    if None in group.row:
        return Counter(value for value in group.row if value is not None).most_common(1)[0][0]
    return None


def _order(parameter: Parameter) -> tuple[bool, int]:
    names = ["in_channels", "width", "out_channels"]
    place = names.index(parameter.name) if parameter.name in names else len(names)
    return parameter.default is not None, place


def _options(
    family: Family, cuts: list[tuple[Cut, ...]], parameters: list[Parameter]
) -> tuple[tuple[Option, ...], list[Parameter]]:
    """The optional parts, and the parameters that say whether to have those that nothing else
    tells of."""
    space = Namespace(parameter.name for parameter in parameters)
    extends = any(not member.path for member in family.base.members)
    options: list[Option] = []
    flags: list[Parameter] = []
    for cut in family.cuts:
        present = tuple(cut not in missing for missing in cuts)
        members = tuple(path[0] for path in family.members_in(cut))
        # The members of an extended layer are no attributes, so none of them can mark the part.
        marker = None if extends else next(filter(is_attribute, members), None)
        whole = marker is not None and len(members) == cut[1] - cut[0] == 1
        whole = whole and not _is_parameter(family.base, members)
        name = space.claim(_option_name(family.base.steps[slice(*cut)], members))
        condition = _condition(present, parameters)
        if condition is None:
            flags.append(Parameter(name, "option", present, default=False))
            condition = name
        options.append(Option(cut, members, marker, whole, name, condition))
    return tuple(options), flags


def _is_parameter(program: Program, members: tuple[str, ...]) -> bool:
    """Whether a part's one member is a parameter, which is no call."""
    heads = (member.term.head for member in program.members if member.path == members)
    return any(isinstance(head, LayerHead) and EMITTERS[head.op].parameter for head in heads)


def _option_name(steps: tuple[Step, ...], members: tuple[str, ...]) -> str:
    if len(members) == 1 and is_attribute(members[0]):
        return members[0]
    ops = [s.term.head.op for s in steps if s.term and isinstance(s.term.head, LayerHead)]
    if not members and set(ops) <= {Subsample, PadChannels}:
        return "resize"
    return f"with_{ops[0].name}" if ops else "with_part"


def _condition(present: tuple[bool, ...], parameters: list[Parameter]) -> str | None:
    """A condition on the parameters that says which instances have a part, as a person would."""
    by_name = {parameter.name: parameter.row for parameter in parameters}
    tests: dict[str, Callable[[int], bool]] = {}
    if (stride := by_name.get("stride")) is not None and None not in stride:
        tests["stride != 1"] = lambda i: stride[i] != 1
    inside, outside = by_name.get("in_channels"), by_name.get("out_channels")
    if inside is not None and outside is not None:
        tests["in_channels != out_channels"] = lambda i: inside[i] != outside[i]
    if len(tests) == 2:
        one, other = tests.values()
        tests = {" or ".join(tests): lambda i: one(i) or other(i), **tests}
    for text, test in tests.items():
        if all(test(place) == here for place, here in enumerate(present)):
            return text
    return None


# --------------------------------------------------------------------------------- programs


def _with_leaves(program: Program, leaves: Iterator[Leaf]) -> Program:
    members = tuple(Member(m.path, m.term.with_leaves(leaves)) for m in program.members)
    steps = tuple(
        s if s.term is None else replace(s, term=s.term.with_leaves(leaves)) for s in program.steps
    )
    return replace(program, members=members, steps=steps)


def _overwriting(
    family: Family, steps: tuple[Step, ...], own: list[Program], cuts: list[tuple[Cut, ...]]
) -> tuple[Step, ...]:
    """The steps, each overwriting an operand only where it may in all instances."""
    allowed: list[set[int | None]] = [set() for _ in steps]
    for program, missing in zip(own, cuts, strict=True):
        lacking = {place for cut in missing for place in range(*cut)}
        kept = (place for place in range(len(steps)) if place not in lacking)
        for place, step in zip(kept, program.steps, strict=True):
            allowed[place].add(step.overwrites)
    return tuple(
        replace(step, overwrites=step.overwrites if found == {step.overwrites} else None)
        for step, found in zip(steps, allowed, strict=True)
    )
