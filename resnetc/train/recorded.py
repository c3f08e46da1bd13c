"""A recipe as lock.json records it, read back: the other way round of `run_folder.record`."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Any

from resnetc.diagnostics import RunError
from resnetc.recipes import WORDS, DataSet, Recipe


def recorded_recipe(lock: Mapping[str, Any]) -> Recipe:
    """The recipe of the run that a lock file is of, with the split of its data set.

    Raises RunError where it records none, or one with fields that this version does not know.
    """
    try:
        data = lock["data_set"]
        split = DataSet(data["name"], data["train"], data["val"] or None)
        fields = {**lock["recipe"], "data": None}
        recipe: Recipe = made(fields, Recipe)
        return dataclasses.replace(recipe, data=split)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RunError(f"the lock file does not record the recipe of a run: {error}") from error


def made(value: Any, wanted: Any) -> Any:
    """A value of JSON as a field of this type holds it."""
    if isinstance(value, Mapping):
        kind = WORDS[value["word"]] if "word" in value else _record_type(wanted)
        hints = typing.get_type_hints(kind)
        return kind(**{k: made(v, hints[k]) for k, v in value.items() if k != "word"})
    if isinstance(value, list):
        items = next(option for option in _options(wanted) if typing.get_origin(option) is tuple)
        return tuple(made(item, typing.get_args(items)[0]) for item in value)
    return value


def _record_type(wanted: Any) -> Any:
    """The one record a field may hold, where it is written without a word."""
    return next(option for option in _options(wanted) if dataclasses.is_dataclass(option))


def _options(wanted: Any) -> tuple[Any, ...]:
    if typing.get_origin(wanted) in (types.UnionType, typing.Union):
        return typing.get_args(wanted)
    return (wanted,)
