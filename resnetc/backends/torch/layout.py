"""Expressions, and how they are laid out within 100 columns, in the manner of black."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

WIDTH = 100
INDENT = 4


@dataclass(frozen=True, slots=True)
class Text:
    """What is never broken: a name, a number, a slice."""

    text: str

    def flat(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Call:
    """A function applied. With `spread`, two arguments or more stand one to a line."""

    function: str
    arguments: tuple[Expression, ...]
    spread: bool = False

    def flat(self) -> str:
        return f"{self.function}({', '.join(a.flat() for a in self.arguments)})"


@dataclass(frozen=True, slots=True)
class Prefixed:
    """`padding=1`, `*blocks`."""

    prefix: str
    body: Expression

    def flat(self) -> str:
        return self.prefix + self.body.flat()


@dataclass(frozen=True, slots=True)
class Repeat:
    """A list of `count` expressions that read alike."""

    element: Expression
    count: str

    @property
    def clause(self) -> str:
        return f"for _ in range({self.count})"

    def flat(self) -> str:
        return f"[{self.element.flat()} {self.clause}]"


@dataclass(frozen=True, slots=True)
class ListOf:
    """A list display."""

    elements: tuple[Expression, ...]

    def flat(self) -> str:
        return f"[{', '.join(e.flat() for e in self.elements)}]"


@dataclass(frozen=True, slots=True)
class Chain:
    """Operands joined by one operator."""

    operator: str
    operands: tuple[Expression, ...]

    def flat(self) -> str:
        return f" {self.operator} ".join(as_operand(o) for o in self.operands)


@dataclass(frozen=True, slots=True)
class Choice:
    """`then if condition else other`."""

    condition: str
    then: Expression
    other: Expression

    def flat(self) -> str:
        return f"{self.then.flat()} if {self.condition} else {self.other.flat()}"


Expression = Text | Call | Prefixed | Repeat | ListOf | Chain | Choice


def lines(body: Expression, indent: int, before: str = "", after: str = "") -> Iterator[str]:
    """The lines of `<before><body><after>`, indented by `indent` columns."""
    pad = " " * indent
    whole = f"{pad}{before}{body.flat()}{after}"
    if len(whole) <= WIDTH and not _spreads(body):
        yield whole
        return
    inner = indent + INDENT
    match body:
        case Prefixed(prefix, rest):
            yield from lines(rest, indent, before + prefix, after)
        case Call(function, arguments, _) if arguments:
            yield f"{pad}{before}{function}("
            yield from _items(arguments, inner, keep_together=not _spreads(body))
            yield f"{pad}){after}"
        case ListOf(elements) if elements:
            yield f"{pad}{before}["
            yield from _items(elements, inner, keep_together=not _spreads(body))
            yield f"{pad}]{after}"
        case Repeat(element, _):
            yield f"{pad}{before}["
            yield from lines(element, inner)
            yield f"{pad}{' ' * INDENT}{body.clause}"
            yield f"{pad}]{after}"
        case Chain(operator, operands):
            yield f"{pad}{before}("
            for place, operand in enumerate(operands):
                grouped = isinstance(operand, Choice | Chain)
                tight = Text(as_operand(operand)) if grouped else operand
                yield from lines(tight, inner, f"{operator} " if place else "")
            yield f"{pad}){after}"
        case Choice(condition, then, other):
            yield f"{pad}{before}("
            yield from lines(then, inner)
            yield f"{pad}{' ' * INDENT}if {condition}"
            yield from lines(other, inner, "else ")
            yield f"{pad}){after}"
        case _:
            yield whole


def _items(items: tuple[Expression, ...], indent: int, *, keep_together: bool) -> Iterator[str]:
    together = " " * indent + ", ".join(item.flat() for item in items)
    if keep_together and len(together) <= WIDTH:
        yield together
        return
    for item in items:
        yield from lines(item, indent, after=",")


def as_operand(body: Expression) -> str:
    """The expression where it must bind tightly: in parentheses unless it does by itself."""
    return f"({body.flat()})" if isinstance(body, Choice | Chain) else body.flat()


def _spreads(body: Expression) -> bool:
    """Whether something in the expression asks for lines of its own."""
    match body:
        case Call(_, arguments, spread):
            return (spread and len(arguments) > 1) or any(map(_spreads, arguments))
        case Prefixed(_, inner) | Repeat(inner, _):
            return _spreads(inner)
        case ListOf(elements):
            return any(map(_spreads, elements))
        case Choice(_, then, other):
            return _spreads(then) or _spreads(other)
        case _:
            return False
