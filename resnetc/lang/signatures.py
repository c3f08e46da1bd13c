"""Structural signatures: `unit: block(width: int, stride: int = 1)`.

A block fits when it can be placed by these parameters and needs no others. That is decided where
the block is given, before anything is placed; and a call of `unit` may give nothing else.
"""

from __future__ import annotations

from dataclasses import replace

from resnetc.diagnostics import Label
from resnetc.lang import syntax as s
from resnetc.lang.bind import Problem, given_twice, too_many, unknown_parameter
from resnetc.lang.mistake import Mistake
from resnetc.lang.values import Bound, Layer, show_type

SIGNED = frozenset({"block", "layer", "table", "record"})
"""Types that may say what their values take or hold."""
_WIDENS = {
    "int": {"float", "size"},
    "ratio": {"float"},
    "size": {"shape"},
    "block": {"layer"},
    "table": {"list"},
}
"""What every value of a type converts to."""


def misfit(layer: Layer, type_: s.TypeExpr) -> Problem | None:
    """Why a layer cannot be placed as a signature says, or None."""
    assert type_.params is not None
    decl = layer.declaration
    own = {param.name: param for param in decl.params}
    bound = _bound_names(layer)
    for wanted in type_.params:
        here = Label(wanted.span, "it will be placed with this")
        found = own.get(wanted.name)
        if found is None:
            declared = Label(decl.name_span, "declared here")
            return _problem(decl, type_, f"has no parameter `{wanted.name}`", declared, here)
        if not accepts(found.type, wanted.type):
            declared = Label(found.span, f"takes {show_type(found.type)}")
            here = Label(wanted.span, f"will be {show_type(wanted.type)}")
            return _problem(decl, type_, f"takes another `{wanted.name}`", declared, here)
        if wanted.default is not None and found.default is None and wanted.name not in bound:
            declared = Label(found.span, "it has no default")
            here = Label(wanted.span, "it may be placed without this")
            return _problem(decl, type_, f"always needs `{wanted.name}`", declared, here)
    given = bound | {param.name for param in type_.params}
    for param in decl.params:
        if param.default is None and param.name not in given:
            declared = Label(param.span, "it has no default")
            here = Label(type_.span, "it will be placed with these")
            return _problem(decl, type_, f"also needs `{param.name}`", declared, here)
    return None


def accepts(to: s.TypeExpr, given: s.TypeExpr) -> bool:
    """Whether every value of one type converts to the other."""
    if given.optional and not to.optional:
        return False
    if to.choices:
        return bool(given.choices) and set(given.choices) <= set(to.choices)
    if to.name == "list" and given.name == "list":
        return to.item is not None and given.item is not None and accepts(to.item, given.item)
    if to.name != given.name and to.name not in _WIDENS.get(given.name, ()):
        return False
    return to.params is None or _accepts_signature(to.params, given)


def _accepts_signature(wanted: tuple[s.Param, ...], given: s.TypeExpr) -> bool:
    """Whether what may be placed by one signature may also be placed by another.

    Records are read, not placed: their columns go the other way.
    """
    if given.params is None:
        return False
    found = {param.name: param for param in given.params}
    if not all(param.name in found for param in wanted):
        return False
    if given.name in ("table", "record"):
        return all(accepts(param.type, found[param.name].type) for param in wanted)
    pairs = [(param, found.pop(param.name)) for param in wanted]
    return all(param.default is not None for param in found.values()) and all(
        accepts(own.type, param.type) and (param.default is None or own.default is not None)
        for param, own in pairs
    )


def signed(layer: Layer, type_: s.TypeExpr) -> Layer:
    """The layer as it is placed under a signature, whose order positional arguments follow."""
    assert type_.params is not None
    name = layer.declaration.name
    return replace(layer, signature=s.Callable(type_.span, name, type_.span, type_.params))


def given(layer: Layer, arguments: tuple[Bound, ...]) -> tuple[Layer, Problem | None]:
    """The layer with more arguments, and what is wrong with them by its signature."""
    signature = layer.signature
    if signature is None:
        return replace(layer, bound=layer.bound + arguments), None
    by_name = {param.name for param in signature.params}
    left = [param.name for param in signature.params if param.name not in layer.placed]
    named: list[Bound] = []
    for argument in arguments:
        name = argument.name
        if name is None and not left:
            return layer, too_many(signature, argument)
        if name is None:
            name = left.pop(0)
        elif name not in by_name:
            return layer, unknown_parameter(signature, name, argument.name_span)
        first = next((a for a in named if a.name == name), None)
        if first is not None:
            return layer, given_twice(name, argument.whole, first.whole)
        named.append(replace(argument, name=name))
    placed = layer.placed | {argument.name for argument in named if argument.name}
    return replace(layer, bound=layer.bound + tuple(named), placed=placed), None


def with_arguments(layer: Layer, bound: tuple[Bound, ...]) -> Layer:
    """The layer with more arguments, or a located Mistake where its signature forbids them."""
    more, problem = given(layer, bound)
    if problem is not None:
        raise Mistake.of(problem)
    return more


def _bound_names(layer: Layer) -> set[str]:
    """Parameters that the layer's own arguments bind."""
    named = {argument.name for argument in layer.bound if argument.name is not None}
    positional = sum(argument.name is None for argument in layer.bound)
    names = [param.name for param in layer.declaration.params]
    return named | set(names[:positional])


def _problem(
    decl: s.Callable, type_: s.TypeExpr, why: str, declared: Label, here: Label
) -> Problem:
    message = f"`{decl.name}` does not fit `{show_type(type_)}`: it {why}"
    return Problem("E0312", message, type_.span, secondary=(declared, here))
