"""Values of sections to records, whose fields and types say what may stand there."""

from __future__ import annotations

import dataclasses
import types
import typing
from functools import lru_cache
from typing import Any, Literal

from resnetc.diagnostics import Help, Span, suggest
from resnetc.lang.mistake import Mistake
from resnetc.lang.values import Bound, Comparison, Range, Word, show, type_name
from resnetc.recipes import DATA_SETS, WORDS, Condition, DataSet


@lru_cache(maxsize=64)
def hints(record: type) -> dict[str, Any]:
    """Types of a record's fields."""
    return typing.get_type_hints(record)


def fit(value: object, wanted: Any, span: Span) -> Any:
    """The value as a record's field of this type holds it. Raises Mistake."""
    origin, arguments = typing.get_origin(wanted), typing.get_args(wanted)
    if origin in (types.UnionType, typing.Union):
        return _fit_union(value, arguments, span)
    if origin is Literal:
        if value in arguments:
            return value
        choices = " or ".join(show(choice) for choice in arguments)
        close = suggest(value, arguments) if isinstance(value, str) else None
        advice = Help(f'did you mean "{close}"?', span, f'"{close}"') if close else None
        raise Mistake("E0302", f"this must be {choices}, not {show(value)}", span, help=advice)
    if origin is tuple:
        return _fit_tuple(value, arguments, span)
    if wanted is DataSet and isinstance(value, Word):
        return _fit_data(value)
    if wanted is Condition and isinstance(value, Comparison):
        relation: Any = value.relation
        metric: Any = value.metric
        return Condition(metric, relation, value.number)
    if dataclasses.is_dataclass(wanted) and isinstance(value, Word):
        record: Any = wanted
        return _fit_word(value, {record.word: record}, span)
    if wanted is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if isinstance(wanted, type) and type(value) is wanted:
        return value
    message = f"expected {_describe(wanted)}, found {_found(value)}"
    raise Mistake("E0301", message, span, help=_unquoted(value, wanted, span))


def _unquoted(value: object, wanted: Any, span: Span) -> Help | None:
    """The advice to write a word without its quotes, where a word of that name may stand."""
    words = DATA_SETS if wanted is DataSet else (getattr(wanted, "word", None),)
    if not isinstance(value, str) or value not in words:
        return None
    return Help(f"a word stands without quotes: `{value}`", span, value)


def _fit_union(value: object, options: tuple[Any, ...], span: Span) -> Any:
    if value is None and type(None) in options:
        return None
    records = {o.word: o for o in options if dataclasses.is_dataclass(o) and hasattr(o, "word")}
    if isinstance(value, Word) and records:
        return _fit_word(value, records, span)
    rest = [option for option in options if option is not type(None)]
    # A word in quotes is told by the record it would name.
    meant = next((option for option in rest if getattr(option, "word", None) == value), rest[0])
    return fit(value, meant, span)


def _fit_tuple(value: object, arguments: tuple[Any, ...], span: Span) -> Any:
    if arguments[-1] is not Ellipsis:
        if isinstance(value, Range):
            return (value.low, value.high)
        if isinstance(value, int) and not isinstance(value, bool):
            return (value,) * len(arguments)
        raise Mistake("E0301", f"expected a number or a range, found {_found(value)}", span)
    items = value if isinstance(value, list) else [value]
    return tuple(fit(item, arguments[0], span) for item in items)


def _fit_word(word: Word, records: dict[str, Any], span: Span) -> Any:
    """Make the record a word names, from the word's arguments."""
    record = records.get(word.name)
    if record is None:
        close = suggest(word.name, records)
        advice = Help(f"did you mean `{close}`?", word.name_span, close) if close else None
        known = word.name in WORDS
        message = f"`{word.name}` cannot stand here" if known else f"there is no `{word.name}`"
        note = f"here stands {'one of ' if len(records) > 1 else ''}{', '.join(records)}"
        raise Mistake("E0201", message, word.name_span, notes=(note,), help=advice)
    types_ = hints(record)
    fields = [field for field in dataclasses.fields(record) if field.init]
    given = _arguments(word, [field.name for field in fields])
    values = {name: fit(arg.value, types_[name], arg.span) for name, arg in given.items()}
    for field in fields:
        open_ = field.default is dataclasses.MISSING and field.name not in values
        if open_:
            raise Mistake("E0204", f"`{word.name}` needs `{field.name}`", word.span)
    return record(**values)


def _arguments(word: Word, names: list[str]) -> dict[str, Bound]:
    given: dict[str, Bound] = {}
    for i, argument in enumerate(word.bound):
        name = argument.name if argument.name is not None else dict(enumerate(names)).get(i)
        if name is None:
            plural = "" if len(names) == 1 else "s"
            some = f"{len(names)} argument{plural}, not more" if names else "no arguments"
            message = f"`{word.name}` takes {some}"
            raise Mistake("E0205", message, argument.span)
        if name not in names:
            close = suggest(name, names)
            advice = f"did you mean `{close}`?" if close else None
            message = f"`{word.name}` has no parameter `{name}`"
            note = f"it has {', '.join(names)}" if names else "it takes none"
            raise Mistake("E0203", message, argument.name_span, notes=(note,), help=advice)
        given[name] = argument
    return given


def _fit_data(word: Word) -> DataSet:
    if word.name not in DATA_SETS:
        close = suggest(word.name, DATA_SETS)
        advice = Help(f"did you mean `{close}`?", word.name_span, close) if close else None
        note = f"known are {', '.join(DATA_SETS)}"
        message = f"there is no data set `{word.name}`"
        raise Mistake("E0201", message, word.name_span, notes=(note,), help=advice)
    types_ = hints(DataSet)
    given = _arguments(word, ["train", "val"])
    return DataSet(word.name, **{n: fit(a.value, types_[n], a.span) for n, a in given.items()})


def _describe(wanted: Any) -> str:
    word = getattr(wanted, "word", None)
    name = str(getattr(wanted, "__name__", wanted)).lower()
    return f"`{word}(...)`" if word else {"str": "string"}.get(name, name)


def _found(value: object) -> str:
    return f"`{value.name}`" if isinstance(value, Word) else type_name(value)
