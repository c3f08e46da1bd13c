"""Values of sections to records, whose fields, types and bounds say what may stand there."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Iterable
from typing import Annotated, Any, Literal

from resnetc.bounds import Clash, broken, clashes, hints, unfit
from resnetc.diagnostics import Help, Span, suggest
from resnetc.lang.mistake import Mistake
from resnetc.lang.values import Bound, Comparison, Range, Word, show, type_name
from resnetc.recipes import DATA_SETS, WORDS, Condition, DataSet


class Unfit(Mistake):
    """A value of the right type that its field cannot hold, alone or beside the others."""

    @property
    def said(self) -> str:
        """All of it in one line, for where no text is shown."""
        return ": ".join(filter(None, (str(self), self.diagnostic.primary.text)))


def fit(value: object, wanted: Any, span: Span, name: str) -> Any:
    """The value as a record's field of this type and name holds it. Raises Mistake, and Unfit for
    one out of bounds."""
    origin, arguments = typing.get_origin(wanted), typing.get_args(wanted)
    if origin is Annotated:
        held = fit(value, arguments[0], span, name)
        if (rule := broken(held, wanted)) is not None:
            raise Unfit("E0313", f"{name} is {show(value)}; it must {rule}", span)
        return held
    if origin in (types.UnionType, typing.Union):
        return _fit_union(value, arguments, span, name)
    if origin is Literal:
        if value in arguments:
            return value
        choices = " or ".join(show(choice) for choice in arguments)
        close = suggest(value, arguments) if isinstance(value, str) else None
        advice = Help(f'did you mean "{close}"?', span, f'"{close}"') if close else None
        raise Mistake("E0302", f"this must be {choices}, not {show(value)}", span, help=advice)
    if origin is tuple:
        return _fit_tuple(value, arguments, span, name)
    if wanted is DataSet and isinstance(value, Word):
        return _fit_data(value)
    if wanted is Condition and isinstance(value, Comparison):
        relation: Any = value.relation
        metric: Any = value.metric
        number = fit(value.number, hints(Condition)["number"], span, f"the bound of {metric}")
        return Condition(metric, relation, number)
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


def _fit_union(value: object, options: tuple[Any, ...], span: Span, name: str) -> Any:
    if value is None and type(None) in options:
        return None
    records = {o.word: o for o in options if dataclasses.is_dataclass(o) and hasattr(o, "word")}
    if isinstance(value, Word) and records:
        return _fit_word(value, records, span)
    rest = [option for option in options if option is not type(None)]
    # A word in quotes is told by the record it would name.
    meant = next((option for option in rest if getattr(option, "word", None) == value), rest[0])
    return fit(value, meant, span, name)


def _fit_tuple(value: object, arguments: tuple[Any, ...], span: Span, name: str) -> Any:
    if arguments[-1] is not Ellipsis:
        if isinstance(value, Range):
            ends = zip((value.low, value.high), arguments, strict=True)
            return tuple(_fit_each((end, wanted, span, name) for end, wanted in ends))
        if isinstance(value, int) and not isinstance(value, bool):
            return (fit(value, arguments[0], span, name),) * len(arguments)
        raise Mistake("E0301", f"expected a number or a range, found {_found(value)}", span)
    items = value if isinstance(value, list) else [value]
    each = f"an item of {name}" if isinstance(value, list) else name
    return tuple(_fit_each((item, arguments[0], span, each) for item in items))


def _fit_each(values: Iterable[tuple[object, Any, Span, str]]) -> list[Any]:
    """Several values, each with what `fit` is to be told of it. Raises one Mistake for all."""
    made: list[Any] = []
    mistakes: list[Mistake] = []
    for each in values:
        try:
            made.append(fit(*each))
        except Mistake as mistake:
            mistakes += (mistake, *mistake.rest)
    if mistakes:
        raise Mistake.joined(mistakes)
    return made


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
    told = ((a.value, types_[name], a.span, f"{word.name}'s {name}") for name, a in given.items())
    values = dict(zip(given, _fit_each(told), strict=True))
    for field in fields:
        open_ = field.default is dataclasses.MISSING and field.name not in values
        if open_:
            raise Mistake("E0204", f"`{word.name}` needs `{field.name}`", word.span)
    made = record(**values)
    for clash in clashes(made):
        at = given[clash.field].span if clash.field in given else word.span
        raise clashing(clash, at, f"{word.name}'s ")
    return made


def clashing(clash: Clash, span: Span, owner: str = "") -> Unfit:
    """The mistake of a field that does not go with the others of its record."""
    if clash.idle:
        return Unfit("E0405", f"`{clash.field}` would have no effect", span, clash.why)
    return Unfit("E0313", unfit(clash, owner), span)


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
    told = ((a.value, types_[n], a.span, f"{word.name}'s {n}") for n, a in given.items())
    return DataSet(word.name, **dict(zip(given, _fit_each(told), strict=True)))


def _describe(wanted: Any) -> str:
    word = getattr(wanted, "word", None)
    name = str(getattr(wanted, "__name__", wanted)).lower()
    return f"`{word}(...)`" if word else {"str": "string"}.get(name, name)


def _found(value: object) -> str:
    return f"`{value.name}`" if isinstance(value, Word) else type_name(value)
