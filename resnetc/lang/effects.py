"""Overrides that take no effect: each is a mistake.

A derivation gives parameters, ambients, and arguments of the layers among them. What nothing reads,
and what every placement gives anew, would be passed over in silence, and the network would be
another than the one that was meant.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from resnetc.diagnostics import Diagnostic, Label, Span
from resnetc.lang import syntax as s
from resnetc.lang.bind import bind_arguments, left_out
from resnetc.lang.evaluate import Evaluator
from resnetc.lang.mending import as_parameter, without_setting
from resnetc.lang.mistake import Mistake
from resnetc.lang.unused import names_read_in
from resnetc.lang.values import Bound, show
from resnetc.lang.variants import Derived
from resnetc.lang.watch import Idle, Watch


def watch(derived: Derived) -> Watch:
    """A watch over the arguments of the layers that a derivation gives.

    With values from outside there is nothing to watch: they may set aside, for this one time,
    what an argument in the file is there for.
    """
    watched = Watch()
    if derived.rebound:
        return watched
    types = {param.name: param.type for param in derived.params}
    for name, argument in _given(derived).items():
        watched.add(argument.value, types[name], argument.span)
    for name, value in derived.ambients.items():
        watched.add(value, None, derived.ambient_spans[name])
    return watched


def without_effect(
    derived: Derived,
    evaluate: Evaluator,
    ambients: Mapping[str, object],
    settings: Mapping[str, s.Setting],
) -> Iterator[Diagnostic]:
    """What a derivation gives to no effect, after the network has been elaborated.

    `ambients` are the values that it gave to ambients, `settings` the first `set` of each in the
    network's text.
    """
    for name, span in derived.ambient_spans.items():
        if (name, id(ambients[name])) not in evaluate.ambients_read:
            yield _unused_ambient(derived, name, ambients[name], span, settings.get(name))
    yield from _unread_parameters(derived)
    yield from map(_idle_argument, evaluate.watch.idle())


def _given(derived: Derived) -> dict[str, Bound]:
    """The arguments that count, by parameter."""
    decl = derived.template.decl
    assert isinstance(decl, s.Network)
    return bind_arguments(decl, derived.bound, derived.span)[0]


def _unused_ambient(
    derived: Derived, name: str, value: object, span: Span, setting: s.Setting | None
) -> Diagnostic:
    labels: tuple[Label, ...] = ()
    notes: tuple[str, ...] = (f"nothing in this network uses `{name}`",)
    advice = without_setting(span)
    if setting is not None:
        labels = (Label(setting.span, "set here, for all that follows"),)
        notes = ()
        advice = as_parameter(derived.template, setting)
    message = f"`with {name} = {show(value)}` would have no effect"
    return Mistake("E0405", message, span, secondary=labels, notes=notes, help=advice).diagnostic


def _unread_parameters(derived: Derived) -> Iterator[Diagnostic]:
    """Values for parameters that the template never reads and that need none."""
    decl, home = derived.template.decl, derived.template.home
    assert isinstance(decl, s.Network)
    read = {*names_read_in(decl), *home.ambients}
    given = _given(derived)
    for param in decl.params:
        if param.name in given and param.name not in read and param.default is not None:
            argument = given[param.name]
            message = f"`{param.name} = {show(argument.value)}` would have no effect"
            labels = (Label(param.span, f"`{decl.name}` never reads it"),)
            advice = without_setting(argument.whole) or left_out(argument.whole)
            mistake = Mistake("E0405", message, argument.whole, secondary=labels, help=advice)
            yield mistake.diagnostic


def _idle_argument(idle: Idle) -> Diagnostic:
    argument = idle.argument
    message = f"`{idle.name} = {show(argument.value)}` of `{idle.callee}` would have no effect"
    labels: tuple[Label, ...] = ()
    notes = [f"no `{idle.callee}` is placed with it"]
    if idle.instead is not None:
        labels = (Label(idle.instead, "given anew wherever it is placed, as here"),)
        notes = []
    advice = left_out(argument.whole)
    mistake = Mistake("E0405", message, argument.whole, secondary=labels, notes=notes, help=advice)
    return mistake.diagnostic
