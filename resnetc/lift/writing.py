"""Terms as text. Rows are as long as a thought; `resnetc fmt`'s layout comes afterwards."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from functools import cache

from resnetc.highlighting import words
from resnetc.lift.tree import Body, Expr, Term, Value
from resnetc.ops import PRIMITIVES

_LABEL = re.compile(r"[A-Za-z_][A-Za-z0-9_]*|0|[1-9][0-9]*")
_QUOTED = frozenset((*words.CONSTANTS, *words.OPERATORS, *words.VALUES, *words.STATEMENTS)) | {
    *words.CONNECTIVES
}
"""Reserved words that cannot be labels without quotes."""
_SAME_ROW = frozenset({"norm", "act", "flatten", "batchnorm", "layernorm", "dropout", "identity"})
"""What stands in the row of the layer before it."""
_STRUCTURES = frozenset({"seq", "group", "residual", "add", "mul", "concat"})
_NAMED = frozenset({"stride", "groups", "dilation", "act"})
"""Arguments that say too little without their names."""
_SHORT = 60
"""A structure of one row no longer than this stands on one line."""
_PRELUDE = {
    "conv": ("conv2d", ("kernel", "out")),
    "conv_norm_act": ("conv2d", ("kernel", "out")),
    "depthwise": ("conv2d", ("kernel",)),
}
"""What stands for an op, and which of its arguments need no name."""


def write_body(body: Body, *, shapes: bool = False) -> str:
    """The rows of a body, one a line; with `shapes`, each that changes the map's size says so."""
    lines = []
    for row in _rows(body):
        text = " -> ".join(write_term(term) for term in row)
        if shapes and row[0].entry.shape[1:] != row[-1].exit.shape[1:]:
            extents = row[-1].exit.shape[1:]
            text += f" => {'x'.join(map(str, extents))}" if extents else ""
        lines.append(text)
    return "\n".join(lines)


def _rows(body: Body) -> Iterator[Body]:
    """A new row begins with every layer that is more than an afterthought to the one before."""
    row: Body = []
    for term in body:
        goes_on = term.word in _SAME_ROW or _is_activation(term) or _ends_head(row, term)
        alone = bool(term.reads or (row and (row[-1].keeps or row[-1].bodies)))
        if row and (alone or not goes_on):
            yield row
            row = []
        row.append(term)
    if row:
        yield row


def _is_activation(term: Term) -> bool:
    return term.word in PRIMITIVES and PRIMITIVES[term.word].__module__.endswith("activation")


def _ends_head(row: Body, term: Term) -> bool:
    """The classifier stands behind the pool, in its row."""
    return bool(row) and term.word == "linear" and row[-1].word == "flatten"


def write_term(term: Term) -> str:
    """A step of a row, with its label and what it reads and keeps."""
    text = f"{write_label(term.label)}: " if term.label is not None else ""
    if term.reads:
        text = f"from {', '.join(term.reads)} -> {text}"
    text += _placed(term)
    if term.times is not None and term.word != "for":
        text += f" * {write_value(term.times)}"
    return f"{text} as {term.keeps}" if term.keeps else text


def write_label(label: str) -> str:
    """A label as it stands before its colon."""
    plain = _LABEL.fullmatch(label) and label not in _QUOTED
    return label if plain else f'"{label}"'


def _placed(term: Term) -> str:
    if term.word == "for":
        body = _braced(write_body(term.bodies[0]))
        return f"for i in 0..{write_value(term.times)} {body}"
    args = _arguments(term)
    called = f"{term.word}({args})" if args else term.word
    if not term.bodies or term.reads:
        return called
    if term.word in ("seq", "group", "residual"):
        return f"{called} {_braced(write_body(term.bodies[0]))}"
    branches = "\n".join(f"| {write_body(branch) or 'identity'}" for branch in term.bodies)
    return f"{called} {{\n{branches}\n}}"


def _braced(text: str) -> str:
    if "\n" in text or len(text) > _SHORT:
        return f"{{\n{text}\n}}"
    return f"{{ {text} }}"


def _arguments(term: Term) -> str:
    op, positional = _PRELUDE.get(term.word, (term.word, ()))
    defaults = dict(_defaults(op))
    if term.word in _PRELUDE:
        defaults["bias"] = None  # as the network's `conv` has it
    if not positional and term.word not in _STRUCTURES:
        needed = [name for name in term.args if name not in defaults]
        plain = [name for name in needed if name not in _NAMED]
        positional = tuple(plain if term.is_call else needed[:1])
    given = {
        name: value
        for name, value in term.args.items()
        if name not in defaults or value != defaults[name]
    }
    texts = [_argument(name, given.pop(name)) for name in positional if name in given]
    return ", ".join([*texts, *(f"{name}={_argument(name, v)}" for name, v in given.items())])


def _argument(name: str, value: Value) -> str:
    """A size that is square is a number, but for a kernel."""
    if isinstance(value, tuple) and name != "kernel" and value[0] == value[1]:
        return write_value(value[0])
    return write_value(value)


@cache
def _defaults(op: str) -> dict[str, Value]:
    """What the arguments of an op are when they are not given."""
    if op not in PRIMITIVES:
        return {}
    parameters = inspect.signature(PRIMITIVES[op].place).parameters.values()
    return {p.name: p.default for p in parameters if p.default is not p.empty}


def write_value(value: Value) -> str:
    """An argument in the language."""
    if isinstance(value, Expr):
        return str(value)
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "none"}[value]
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, tuple) and len(value) == 2:
        return f"{value[0]}x{value[1]}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(write_value, value))}]"
    return f"{value:_}" if isinstance(value, int) else repr(value)
