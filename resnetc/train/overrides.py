"""`--override key=value`: one field of a recipe, written as a spec would write it.

A key is a field of the recipe (`batch`), a field of a record in it (`optimizer.lr`) or of the one
record of a list that goes by a word (`schedule.step.at`, `augment.pad.pixels`).
"""

from __future__ import annotations

import dataclasses
import types
import typing
from pathlib import Path
from typing import Any, Literal

from resnetc.bounds import hints
from resnetc.diagnostics import CompileError, Source, UsageError, suggest
from resnetc.lang import syntax as s
from resnetc.lang.evaluate import Env, Evaluator
from resnetc.lang.fit import Unfit, fit
from resnetc.lang.mistake import Mistake
from resnetc.lang.modules import Module
from resnetc.lang.parser import parse_expression
from resnetc.recipes import Recipe


def apply_override(recipe: Recipe, text: str) -> Recipe:
    """The recipe with one field changed.

    Raises UsageError for a key that is none and a value out of its bounds, CompileError for one of
    the wrong kind.
    """
    key, equals, value = text.partition("=")
    if not equals or not key.strip() or not value.strip():
        raise UsageError(f"--override takes KEY=VALUE, not `{text}`")
    changed: Recipe = _replaced(recipe, key.strip().split("."), value.strip(), key.strip())
    return changed


def overridden_field(text: str) -> str:
    """The field of the recipe that an override changes."""
    return overridden(text).partition(".")[0]


def overridden(text: str) -> str:
    """The key that an override names."""
    return text.partition("=")[0].strip()


def _replaced(record: Any, path: list[str], text: str, key: str) -> Any:
    """The record with the field at the end of the path changed."""
    name, *rest = path
    fields = [field.name for field in dataclasses.fields(record)]
    if name not in fields:
        raise _unknown(name, fields, key)
    held = getattr(record, name)
    if not rest:
        return dataclasses.replace(record, **{name: _value(text, type(record), name, key)})
    if isinstance(held, tuple):
        return dataclasses.replace(record, **{name: _in_list(held, rest, text, key)})
    if not dataclasses.is_dataclass(held):
        raise UsageError(f"--override {key}: `{name}` has no parts")
    return dataclasses.replace(record, **{name: _replaced(held, rest, text, key)})


def _in_list(items: tuple[Any, ...], path: list[str], text: str, key: str) -> tuple[Any, ...]:
    word, *rest = path
    words = [getattr(item, "word", "") for item in items]
    if words.count(word) != 1 or not rest:
        if words.count(word) > 1:
            raise UsageError(f"--override {key}: there are several `{word}`; set the whole list")
        if word in words:
            raise UsageError(f"--override {key}: say which part of `{word}` to change")
        raise _unknown(word, [w for w in words if w], key)
    at = words.index(word)
    return (*items[:at], _replaced(items[at], rest, text, key), *items[at + 1 :])


def _unknown(name: str, known: list[str], key: str) -> UsageError:
    close = suggest(name, known)
    meant = f"; did you mean `{close}`?" if close else ""
    have = f" There are {', '.join(known)}." if known else ""
    return UsageError(f"--override {key}: there is no `{name}`{meant}{have}")


def _value(text: str, record: type, name: str, key: str) -> Any:
    """The value of an expression of the language, as a field of a record holds it."""
    wanted = hints(record)[name]
    if text in _choices(wanted):
        return text
    source = Source(f"--override {key}", text)
    expr = parse_expression(source)
    home = Module(Path(source.name), s.File(source, None, (), ()))
    try:
        return fit(Evaluator()(expr, Env(home, recipe=True)), wanted, expr.span, name)
    except Unfit as unfit:
        raise UsageError(f"--override {key}: {unfit.said}") from None
    except Mistake as mistake:
        raise CompileError(mistake.diagnostic) from None


def _choices(wanted: Any) -> tuple[Any, ...]:
    """Words a field is chosen from; they need no quotes here."""
    if typing.get_origin(wanted) is Literal:
        return typing.get_args(wanted)
    if typing.get_origin(wanted) in (types.UnionType, typing.Union):
        return tuple(c for option in typing.get_args(wanted) for c in _choices(option))
    return ()
