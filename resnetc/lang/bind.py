"""Which argument goes to which parameter, and what is wrong when that does not work out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from resnetc.diagnostics import Edit, Help, Label, Span, suggest
from resnetc.lang import syntax as s
from resnetc.lang.values import Bound


@dataclass(frozen=True, slots=True)
class Problem:
    """A call that does not fit its signature."""

    code: str
    message: str
    span: Span
    text: str = ""
    help: Help | None = None
    secondary: tuple[Label, ...] = ()
    notes: tuple[str, ...] = ()


def bind_arguments(
    decl: s.Callable, bound: tuple[Bound, ...], span: Span
) -> tuple[dict[str, Bound], Problem | None]:
    """Arguments by parameter name, and the first problem if there is one.

    A later named argument replaces an earlier one, so that `unit(groups=32)` may be placed with
    `groups=1`; within one call that is a mistake.
    """
    names = [param.name for param in decl.params]
    given: dict[str, Bound] = {}
    positions = iter(decl.params)
    for argument in bound:
        if argument.name is None:
            param = next((p for p in positions if p.name not in given), None)
            if param is None:
                return given, too_many(decl, argument)
            given[param.name] = argument
        elif argument.name in names:
            if _is_second(argument, given.get(argument.name)):
                return given, given_twice(argument.name, argument.whole, given[argument.name].whole)
            given[argument.name] = argument
        else:
            return given, unknown_parameter(decl, argument.name, argument.name_span)
    for param in decl.params:
        if param.name not in given and param.default is None:
            return given, missing_parameter(decl, param, span)
    return given, None


def misplaced_argument(args: Iterable[s.Arg]) -> Problem | None:
    """What is wrong with a call's arguments among themselves, whatever is called."""
    named: dict[str, s.Arg] = {}
    for arg in args:
        if arg.name is None and named:
            first = Label(next(iter(named.values())).span, "named from here on")
            message = "a positional argument cannot follow a named one"
            advice = _put_first(arg, next(iter(named.values())))
            return Problem("E0221", message, arg.span, help=advice, secondary=(first,))
        if arg.name in named:
            return given_twice(arg.name, arg.span, named[arg.name].span)
        if arg.name is not None:
            named[arg.name] = arg
    return None


def given_twice(name: str, span: Span, first: Span) -> Problem:
    """The problem of two arguments of one call for one parameter."""
    message = f"`{name}` is given twice"
    advice = None
    if first.source is span.source and first.end <= span.start:
        advice = Help("remove one", _with_comma(span), "", sure=first.text == span.text)
    return Problem("E0218", message, span, help=advice, secondary=(Label(first, "first"),))


def _is_second(argument: Bound, earlier: Bound | None) -> bool:
    """Whether an argument of the same call has given the parameter already, by its position."""
    return earlier is not None and earlier.call is not None and earlier.call == argument.call


def _with_comma(arg: Span) -> Span:
    """An argument that is not the first, and the comma before it."""
    return Span(arg.source, arg.source.text.rindex(",", 0, arg.start), arg.end)


def left_out(arg: Span) -> Help | None:
    """The advice to leave an argument out, with its comma or, where it is alone, its brackets."""
    text = arg.source.text
    before, after = text[: arg.start].rstrip(), text[arg.end :]
    if before.endswith(","):
        return Help("leave it out", _with_comma(arg), "", sure=False)
    closing = len(after) - len(after.lstrip())
    if before.endswith("(") and after[closing : closing + 1] == ")":
        span = Span(arg.source, len(before) - 1, arg.end + closing + 1)
        return Help("leave it out", span, "", sure=False)
    return None


def _put_first(arg: s.Arg, named: s.Arg) -> Help:
    """The advice to move a positional argument before the first named one."""
    start = Span(named.span.source, named.span.start, named.span.start)
    removed = Edit(_with_comma(arg.span), "")
    return Help("put it first", start, f"{arg.span.text}, ", more=(removed,))


def signature(decl: s.Callable) -> str:
    """`conv2d(kernel: size, out: int? = none, ...)` on one line, for notes."""
    return f"{decl.name}({', '.join(' '.join(p.span.text.split()) for p in decl.params)})"


def too_many(decl: s.Callable, argument: Bound) -> Problem:
    """The problem of a positional argument behind the last parameter."""
    count = len(decl.params)
    some = f"{count} argument{'' if count == 1 else 's'}, not more" if count else "no arguments"
    message = f"`{decl.name}` takes {some}"
    advice = left_out(argument.whole)
    return Problem("E0205", message, argument.whole, help=advice, notes=(signature(decl),))


def unknown_parameter(decl: s.Callable, name: str, span: Span) -> Problem:
    """The problem of a named argument that the declaration does not have."""
    close = suggest(name, [param.name for param in decl.params])
    advice = Help(f"did you mean `{close}`?", span, close) if close else None
    message = f"`{decl.name}` has no parameter `{name}`"
    return Problem("E0203", message, span, help=advice, notes=(signature(decl),))


def missing_parameter(decl: s.Callable, param: s.Param, span: Span) -> Problem:
    """The problem of a parameter without default that a call leaves out."""
    message = f"`{decl.name}` needs `{param.name}`"
    declared = Label(param.span, "it has no default")
    return Problem("E0204", message, span, secondary=(declared,), notes=(signature(decl),))
