"""Arguments that a derivation gives to layers, and whether any placement uses them.

`resnet(bottleneck(16), depths)` gives `bottleneck` a width. Where the template says
`unit(64)` the 64 counts, so that the 16 counts nowhere unless some other placement leaves it be.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from resnetc.diagnostics import Span
from resnetc.lang import syntax as s
from resnetc.lang.bind import bind_arguments
from resnetc.lang.values import Bound, Layer, Policy, Record, frozen

_Key = tuple[int, str, object]
"""A declaration, by identity; a parameter of it; the value. A block placed again with equal values
is copied and not placed anew, so that what is known of one argument holds for all its equals."""


@dataclass(frozen=True)
class Idle:
    """An argument that no placement used: of which layer and parameter, and the first argument
    that was used in its place, None where the layer was never placed."""

    callee: str
    name: str
    argument: Bound
    instead: Span | None


@dataclass
class Watch:
    """Keeps count of the arguments that are being watched; with none it costs nothing."""

    _keys: dict[int, _Key] = field(default_factory=dict)
    _watched: list[tuple[str, str, Bound]] = field(default_factory=list)
    _used: set[_Key] = field(default_factory=set)
    _instead: dict[_Key, Span] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self._keys)

    def add(self, value: object, type_: s.TypeExpr | None, within: Span) -> None:
        """Watch the arguments that are written inside a span of the layers in a value, which is
        given where this type is declared. What the layer would not fit without is needed, and not
        watched."""
        for layer, placed_as in _layers(value, type_):
            decl = layer.declaration
            for name, argument in _given(layer).items():
                needed = _is_needed(decl, name, placed_as)
                if within.holds(argument.whole) and not needed:
                    self._add(decl, name, argument)

    def _add(self, decl: s.Callable, name: str, argument: Bound) -> None:
        try:
            key = id(decl), name, frozen(argument.value)
        except TypeError:
            return  # a function, which has no equals to be told by
        self._keys[id(argument)] = key
        self._watched.append((decl.name, name, argument))

    def placed(self, bound: tuple[Bound, ...], given: Mapping[str, Bound]) -> None:
        """A layer was placed with these arguments, of which `given` are those that count."""
        for argument in bound:
            key = self._keys.get(id(argument))
            if key is None:
                continue
            counts = given[key[1]]
            if counts is argument:
                self._used.add(key)
            else:
                self._instead.setdefault(key, counts.whole)

    def idle(self) -> list[Idle]:
        """The arguments that no placement used, without those inside another one."""
        found: list[Idle] = []
        for callee, name, argument in self._watched:
            key = self._keys[id(argument)]
            inside = any(outer.argument.whole.holds(argument.whole) for outer in found)
            if key not in self._used and not inside:
                found.append(Idle(callee, name, argument, self._instead.get(key)))
        return found


def _layers(
    value: object, type_: s.TypeExpr | None
) -> Iterator[tuple[Layer | Policy, s.TypeExpr | None]]:
    """The layers and policies in a value of a type, each before those among its own arguments,
    and the type by which it will be placed where that is known."""
    if isinstance(value, list):
        for item in value:
            yield from _layers(item, None if type_ is None else type_.item)
    elif isinstance(value, Record):
        for cell in value.cells.values():
            yield from _layers(cell, None)
    elif isinstance(value, Layer | Policy):
        yield value, type_
        types = {param.name: param.type for param in value.declaration.params}
        for name, argument in _given(value).items():
            yield from _layers(argument.value, types[name])


def _given(layer: Layer | Policy) -> dict[str, Bound]:
    """The arguments of a layer that count, by parameter."""
    return bind_arguments(layer.declaration, layer.bound, layer.declaration.span)[0]


def _is_needed(decl: s.Callable, name: str, placed_as: s.TypeExpr | None) -> bool:
    """Whether a layer fits a signature only because this parameter without default is given."""
    if placed_as is None or placed_as.params is None:
        return False
    own = next(param for param in decl.params if param.name == name)
    wanted = next((param for param in placed_as.params if param.name == name), None)
    return own.default is None and (wanted is None or wanted.default is not None)
