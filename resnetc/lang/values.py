"""Values of the language, and how they convert to declared types.

Numbers, strings, booleans and lists are Python's; sizes are tuples of ints. Attributes of a value
are looked up in closed tables, never on the Python object.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from resnetc.diagnostics import Span
from resnetc.lang import syntax as s
from resnetc.shapes import TensorType

if TYPE_CHECKING:
    from resnetc.lang.modules import Module

MAX_INT = 2**53
TYPES = frozenset(
    {"int", "float", "bool", "string", "ratio", "size", "shape", "layer", "block", "shortcut"}
    | {"tensor", "list", "table", "record"}
)
"""Names of types; `list` is written with its items' type, `list[int]`."""


@dataclass(frozen=True, slots=True)
class Range:
    """`a..b`: in a list context the integers from a up to, not including, b."""

    low: int
    high: int

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.low, self.high))

    def __len__(self) -> int:
        return max(0, self.high - self.low)


@dataclass(frozen=True, slots=True)
class Function:
    """A function: a declared one, or a built-in by name."""

    name: str
    declaration: s.Function | None = None
    home: Module | None = None


@dataclass(frozen=True, slots=True)
class Bound:
    """An evaluated argument; `span` is its value's, `whole` covers `name=value`, and `call` tells
    the arguments of one call from those of another."""

    name: str | None
    value: object
    span: Span
    whole: Span
    call: int | None = None

    @property
    def name_span(self) -> Span:
        """Where the name of a named argument is written."""
        return Span(self.whole.source, self.whole.start, self.whole.start + len(self.name or ""))


@dataclass(frozen=True, slots=True)
class Layer:
    """A primitive or a block, with some arguments bound."""

    declaration: s.Primitive | s.Block
    home: Module
    bound: tuple[Bound, ...] = ()
    signature: s.Callable | None = None
    """What its arguments are called where it is placed, if that was declared."""
    placed: frozenset[str] = frozenset()
    """Names of the signature that have arguments."""


@dataclass(frozen=True, slots=True)
class Policy:
    """A shortcut policy, with some arguments bound."""

    declaration: s.Shortcut
    home: Module
    bound: tuple[Bound, ...] = ()


@dataclass(frozen=True, slots=True)
class NetworkValue:
    """A network, as the base of a variant."""

    declaration: s.Network | s.Variant
    home: Module
    bound: tuple[Bound, ...] = ()


@dataclass(frozen=True, slots=True)
class Word:
    """A call or a bare word of a recipe, such as `sgd(lr=0.1)` or `hflip`."""

    name: str
    bound: tuple[Bound, ...]
    span: Span

    @property
    def name_span(self) -> Span:
        """Where the word itself is written."""
        return Span(self.span.source, self.span.start, self.span.start + len(self.name))


@dataclass(frozen=True, slots=True)
class Comparison:
    """`train_error < 80%` in a recipe."""

    metric: str
    relation: str
    number: float


@dataclass(frozen=True, slots=True)
class Tensor:
    """A value of the network being built; `id` numbers it."""

    id: int
    type: TensorType


@dataclass(frozen=True, slots=True)
class Record:
    """A row of a table: its cells by the names of the columns."""

    cells: dict[str, object]


@dataclass(frozen=True, slots=True)
class Poison:
    """What stands for a value that an error has already been reported for."""


@dataclass(slots=True)
class TensorList:
    """A list grown with `as ys[]`."""

    items: list[object] = field(default_factory=list)


POISON = Poison()
_ESCAPED = str.maketrans({c: f"\\{c}" for c in '"\\{}'} | {"\n": r"\n", "\t": r"\t"})


def type_name(value: object) -> str:
    """What the language calls a value's type."""
    if isinstance(value, bool):
        return "bool"
    simple: list[tuple[type | tuple[type, ...], str]] = [
        (s.Percent, "ratio"),
        (int, "int"),
        (float, "float"),
        (str, "string"),
        (tuple, "size"),
        ((list, TensorList), "list"),
        (Range, "range"),
        (Record, "record"),
        (Tensor, "tensor"),
        (Layer, "layer"),
        (Policy, "shortcut"),
        (Function, "function"),
        (NetworkValue, "network"),
        (type(None), "none"),
    ]
    return next((name for kind, name in simple if isinstance(value, kind)), "value")


def a_type(value: object) -> str:
    """A value's type with its article: "an int", "a layer"."""
    name = type_name(value)
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}" if name != "none" else name


def show(value: object) -> str:
    """A value as the language writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "none"
    if isinstance(value, s.Percent):
        return f"{float(value) * 100:g}%"
    if isinstance(value, str):
        return f'"{value.translate(_ESCAPED)}"'
    if isinstance(value, tuple):
        return "x".join(map(str, value))
    if isinstance(value, Range):
        return f"{value.low}..{value.high}"
    if isinstance(value, list):
        return f"[{', '.join(map(show, value))}]"
    if isinstance(value, Record):
        return f"{{{', '.join(f'{name} = {show(cell)}' for name, cell in value.cells.items())}}}"
    if isinstance(value, Layer | Policy | NetworkValue):
        return value.declaration.name
    if isinstance(value, Word):
        return " ".join(value.span.text.split())
    if isinstance(value, Tensor):
        return str(value.type)
    return str(value)


def show_type(type_: s.TypeExpr) -> str:
    """A type as the language writes it."""
    if type_.choices:
        text = " | ".join(f'"{choice}"' for choice in type_.choices)
    elif type_.item is not None:
        text = f"{type_.name}[{show_type(type_.item)}]"
    else:
        text = type_.name
    if type_.params is not None:
        text += f"({', '.join(' '.join(param.span.text.split()) for param in type_.params)})"
    return text + ("?" if type_.optional else "")


def attribute(value: object, name: str) -> object:
    """`value.name` by the closed table of attributes; raises KeyError where there is none."""
    if isinstance(value, Tensor):
        shape = value.type.shape
        table: dict[str, object] = {"shape": list(shape), "channels": shape[0]}
        if len(shape) == 3:
            table |= {"height": shape[1], "width": shape[2]}
        return table[name]
    if isinstance(value, Record):
        return value.cells[name]
    if isinstance(value, tuple) and len(value) == 2:
        return {"height": value[0], "width": value[1]}[name]
    raise KeyError(name)


def attributes(value: object) -> tuple[str, ...]:
    """Names that :func:`attribute` knows for a value."""
    if isinstance(value, Tensor):
        return ("shape", "channels", "height", "width")[: 4 if len(value.type.shape) == 3 else 2]
    if isinstance(value, Record):
        return tuple(value.cells)
    return ("height", "width") if isinstance(value, tuple) and len(value) == 2 else ()


def frozen(value: object) -> object:
    """A hashable stand-in, equal for values that mean the same. Raises TypeError where there is
    none: for tensors."""
    if isinstance(value, list):
        return tuple(map(frozen, value))
    if isinstance(value, Layer | Policy):
        bound = tuple((b.name, frozen(b.value)) for b in value.bound)
        return id(value.declaration), bound
    if value is None or isinstance(value, bool | int | float | str | tuple):
        return type(value), value
    raise TypeError


def is_finite(value: object) -> bool:
    """Whether a number is inside the language's range."""
    if isinstance(value, float):
        return math.isfinite(value)
    return not isinstance(value, int) or abs(value) <= MAX_INT
