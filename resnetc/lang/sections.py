"""`recipe`, `experiment` and `deploy` sections to records. The records are the schema: a field is
a key, a record without a word of its own a section inside the section."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from resnetc.bounds import clashes, hints
from resnetc.diagnostics import CompileError, Diagnostic, Help, Label, Span, suggest
from resnetc.lang import syntax as s
from resnetc.lang.budget import room
from resnetc.lang.evaluate import Env, Evaluator
from resnetc.lang.fit import clashing, fit
from resnetc.lang.mistake import Mistake, Poisoned
from resnetc.lang.modules import Definition, Module
from resnetc.lang.variants import MAX_DERIVATIONS, derive, needs
from resnetc.recipes import Recipe
from resnetc.sections import (
    Deploy,
    Engine,
    Experiment,
    NetworkName,
    Precision,
    RecipeName,
)

R = TypeVar("R", Recipe, Experiment, Deploy)
SCHEMAS: dict[str, Any] = {"recipe": Recipe, "experiment": Experiment, "deploy": Deploy}
_SUBSECTIONS = (Precision, Engine)
_LABELS = ("outputs", "precision.keep")
"""Keys of a deployment that hold labels of its network."""
_NETWORKS = (s.Network, s.Variant)
_RECIPES = (s.Recipe, s.RecipeVariant)
_Values = dict[str, Any]
"""Fields that are set; those of a section inside are a dictionary of their own."""


@dataclass(frozen=True)
class LabelAt:
    """A label of a network that a deployment names, by the key it stands under, and where."""

    key: str
    label: str
    span: Span


@dataclass(frozen=True)
class _Read(Generic[R]):
    """What a section stands for, without what is wrong in it; None where a field that it needs is.
    `labels` are those that a deployment names."""

    record: R | None
    labels: tuple[LabelAt, ...]
    findings: list[Diagnostic]


@room()
def _read(definition: Definition, record: type[R]) -> _Read[R]:
    reader = _Reader(Evaluator())
    values = reader.values(definition, record, 0)
    made: R | None = reader.made(record, values, definition.decl)
    if made is not None and not reader.findings:  # else what is wrong might be all that clashes
        reader.agree(made, definition.decl)
    labels = reader.labels(made) if isinstance(made, Deploy) else ()
    return _Read(made, labels, reader.findings)


@dataclass(frozen=True)
class Sections:
    """A file's sections by name; a recipe that an experiment imports is there too. `labels` are
    those that each deployment names, `findings` all that is wrong in the sections, which are
    without it then."""

    recipes: dict[str, Recipe] = field(default_factory=dict)
    experiments: dict[str, Experiment] = field(default_factory=dict)
    deploys: dict[str, Deploy] = field(default_factory=dict)
    labels: dict[str, tuple[LabelAt, ...]] = field(default_factory=dict)
    findings: list[Diagnostic] = field(default_factory=list)


def read_sections(module: Module) -> Sections:
    """All sections of a file, and what is wrong in them."""
    found = Sections()
    for name, recipe in _each(module, Recipe, found):
        found.recipes[name] = recipe
    for name, experiment in _each(module, Experiment, found):
        found.experiments[name] = experiment
    for name, deploy in _each(module, Deploy, found):
        found.deploys[name] = deploy
    for experiment in found.experiments.values():
        if experiment.recipe is not None and experiment.recipe not in names_of(module, "recipe"):
            read = _read(module.names[experiment.recipe], Recipe)
            found.findings.extend(read.findings)
            if read.record is not None:
                found.recipes[experiment.recipe] = read.record
    return found


def names_of(module: Module, kind: str) -> tuple[str, ...]:
    """Names of the sections of a kind that a file declares."""
    return tuple(definition.decl.name for definition in _own(module, kind))


def declared(module: Module) -> list[Definition]:
    """The sections of a file, of all kinds."""
    return [definition for kind in SCHEMAS for definition in _own(module, kind)]


def network_of(module: Module, name: str | None) -> Definition | None:
    """The network of the experiment or deployment of this name, None where there is none."""
    for definition in (*_own(module, "experiment"), *_own(module, "deploy")):
        if definition.decl.name == name:
            read = _read(definition, SCHEMAS[str(_kind(definition.decl))])
            if read.record is None:
                raise CompileError(read.findings)
            return module.names[read.record.network]
    return None


def _each(module: Module, schema: type[R], found: Sections) -> Iterator[tuple[str, R]]:
    """The sections of a kind by name, as far as they can be made."""
    kind = next(kind for kind, record in SCHEMAS.items() if record is schema)
    for definition in _own(module, kind):
        name = definition.decl.name
        read = _read(definition, schema)
        found.findings.extend(read.findings)
        if read.record is not None:
            found.labels[name] = read.labels
            yield name, read.record


def _own(module: Module, kind: str) -> list[Definition]:
    found = module.own((s.Section, s.SectionVariant))
    return [each for each in found if _kind(each.decl) == kind]


def _kind(decl: s.Decl) -> str | None:
    """The word that a section begins with."""
    return decl.kind if isinstance(decl, s.Section | s.SectionVariant) else None


class _Reader:
    def __init__(self, evaluate: Evaluator) -> None:
        self.evaluate = evaluate
        self.findings: list[Diagnostic] = []
        # A key that is there but wrong is not missing, nor is any where the base is wrong.
        self._tried: set[str] = set()
        self._broken = False
        # Where the keys of the section itself are written, not those of its base.
        self._written: dict[str, Span] = {}
        # What is written behind each key, also of the base, by its whole path.
        self._behind: dict[str, s.Expr] = {}

    def values(self, definition: Definition, record: type, depth: int) -> _Values:
        """What a section sets, those it is derived from first."""
        decl, home = definition.decl, definition.home
        env = Env(home, recipe=True)
        if isinstance(decl, s.Section):
            return self._entries(decl, record, decl.noun, env, {})
        assert isinstance(decl, s.SectionVariant)
        base = decl.derivation.base
        found = home.names.get(base.name) if isinstance(base, s.Name) else None
        if found is None or _kind(found.decl) != decl.kind:
            message = f"{decl.noun} is derived from {decl.noun}"
            return self._break(Mistake("E0217", message, base.span))
        if depth > MAX_DERIVATIONS:
            message = f"{decl.kind} `{decl.name}` is derived from itself"
            return self._break(Mistake("E0408", message, decl.name_span))
        values = self.values(found, record, depth + 1)
        self._written.clear()
        return self._settings(decl.derivation.settings, record, decl.noun, env, values)

    def made(self, record: Any, values: _Values, decl: s.Decl) -> Any:
        """The record with these values, or None where one that it needs is missing."""
        parts = {
            name: self.made(hints(record)[name], value, decl) if isinstance(value, dict) else value
            for name, value in values.items()
        }
        for each in dataclasses.fields(record):
            if each.default is dataclasses.MISSING and each.name not in parts:
                if each.name not in self._tried and not self._broken:
                    assert isinstance(decl, s.Section | s.SectionVariant)
                    message = f"{decl.kind} `{decl.name}` needs `{each.name}`"
                    note = _holds(decl.noun, record)
                    self._report(Mistake("E0204", message, decl.name_span, notes=(note,)))
                return None
        return record(**parts)

    def agree(self, record: Recipe | Experiment | Deploy, decl: s.Decl) -> None:
        """Refuse what does not go together in a section. A key that would have no effect is refused
        where it is written; what a base says may be idle in what is derived from it."""
        fields = [getattr(record, each.name) for each in dataclasses.fields(record)]
        inside = [value for value in fields if isinstance(value, _SUBSECTIONS)]
        for each in (record, *inside):
            for clash in clashes(each):
                if clash.field in self._written or not clash.idle:
                    span = self._written.get(clash.field, decl.name_span)
                    self._report(clashing(clash, span))

    def labels(self, deploy: Deploy) -> tuple[LabelAt, ...]:
        """The labels that a deployment names, each where it is written; where they are computed,
        all stand where the computation does."""
        named = {"outputs": deploy.outputs, "precision.keep": deploy.precision.keep}
        found: list[LabelAt] = []
        for key in _LABELS:
            expr = self._behind.get(key)
            if expr is None:
                continue
            spans = [expr.span] * len(named[key])
            if isinstance(expr, s.ListExpr) and len(expr.items) == len(spans):
                spans = [item.span for item in expr.items]
            found += map(LabelAt, [key] * len(spans), named[key], spans)
        return tuple(found)

    def _report(self, mistake: Mistake) -> None:
        self.findings += mistake.diagnostics

    def _break(self, mistake: Mistake) -> _Values:
        self._report(mistake)
        self._broken = True
        return {}

    def _entries(
        self,
        section: s.Section | s.Subsection,
        record: type,
        what: str,
        env: Env,
        values: _Values,
        place: str = "",
    ) -> _Values:
        values = self._settings(section.settings, record, what, env, values, place)
        seen = {setting.name: setting.name_span for setting in section.settings}
        for inside in section.subsections:
            try:
                _once(inside.name, inside.name_span, seen)
                wanted = _known(inside.name, inside.name_span, record, what)
            except Mistake as mistake:
                self._report(mistake)
                continue
            if wanted not in _SUBSECTIONS:
                message = f"`{inside.name}` is no section"
                advice = f"write `{inside.name} = ...`"
                self._report(Mistake("E0301", message, inside.name_span, help=advice))
                continue
            held = values.get(inside.name, {})
            values = {
                **values,
                inside.name: self._entries(
                    inside, wanted, _inside(inside.name), env, held, f"{inside.name}."
                ),
            }
        return values

    def _settings(
        self,
        settings: tuple[s.Setting, ...],
        record: type,
        what: str,
        env: Env,
        values: _Values,
        place: str = "",
    ) -> _Values:
        seen: dict[str, Span] = {}
        for setting in settings:
            self._tried.add(setting.name)
            try:
                _once(setting.name, setting.name_span, seen)
                values = self._set(setting, setting.name.split("."), record, what, env, values)
                self._behind[place + setting.name] = setting.value
            except Mistake as mistake:
                self._report(mistake)
            except Poisoned:
                pass
        return values

    def _set(
        self,
        setting: s.Setting,
        path: list[str],
        record: type,
        what: str,
        env: Env,
        values: _Values,
    ) -> _Values:
        """The values with one more, which may be inside a section."""
        name, *rest = path
        span = _part(setting, path)
        wanted = _known(name, span, record, what)
        if rest and wanted not in _SUBSECTIONS:
            message = f"`{name}` has no parts"
            raise Mistake("E0203", message, span)
        if rest:
            inside = values.get(name, {})
            return {**values, name: self._set(setting, rest, wanted, _inside(name), env, inside)}
        if wanted in _SUBSECTIONS:
            message = f"`{name}` is a section, not a value"
            advice = f"write `{name} {{ ... }}`"
            raise Mistake("E0301", message, span, help=advice)
        self._written[name] = span
        return {**values, name: self._value(setting.value, wanted, env, name)}

    def _value(self, expr: s.Expr, wanted: Any, env: Env, name: str) -> object:
        options = typing.get_args(wanted) or (wanted,)
        if NetworkName in options:
            return _network(expr, env.home, self.evaluate)
        if RecipeName in options:
            return _named(expr, env.home, _RECIPES, "recipe")
        return fit(self.evaluate(expr, env), wanted, expr.span, name)


def _network(expr: s.Expr, home: Module, evaluate: Evaluator) -> str:
    """The name of a complete network."""
    name = _named(expr, home, _NETWORKS, "network")
    derived = derive(home.names[name], evaluate)
    missing = needs(derived)
    if missing:
        names = " and ".join(f"`{each}`" for each in missing)
        declared = Label(derived.template.decl.name_span, "a template")
        advice = f"derive a network from it: `network {name}1 = {name}({missing[0]}=...)`"
        message = f"`{name}` needs {names}"
        raise Mistake("E0204", message, expr.span, secondary=(declared,), help=advice)
    return name


def _named(expr: s.Expr, home: Module, kinds: tuple[type[s.Decl], ...], kind: str) -> str:
    """A name of this file that stands for a declaration of a kind."""
    if not isinstance(expr, s.Name):
        raise Mistake("E0301", f"here stands the name of a {kind}", expr.span)
    definition = home.names.get(expr.name)
    if definition is not None and isinstance(definition.decl, kinds):
        return expr.name
    known = [name for name, d in home.names.items() if isinstance(d.decl, kinds)]
    close = suggest(expr.name, known)
    advice = Help(f"did you mean `{close}`?", expr.span, close) if close else None
    if definition is not None:
        declared = Label(definition.decl.name_span, "declared here")
        message = f"`{expr.name}` is no {kind}"
        raise Mistake("E0219", message, expr.span, secondary=(declared,), help=advice)
    raise Mistake("E0219", f"this file has no {kind} `{expr.name}`", expr.span, help=advice)


def _part(setting: s.Setting, path: list[str]) -> Span:
    """Where the first name of what is left of a key's path is written."""
    whole = setting.name_span
    if whole.text != setting.name:
        return whole
    start = whole.end - len(".".join(path))
    return Span(whole.source, start, start + len(path[0]))


def _once(name: str, span: Span, seen: dict[str, Span]) -> None:
    if name in seen:
        first = Label(seen[name], "first")
        raise Mistake("E0218", f"`{name}` is set twice", span, secondary=(first,))
    seen[name] = span


def _known(name: str, span: Span, record: type, what: str) -> Any:
    """The type of a key."""
    wanted: Mapping[str, Any] = hints(record)
    if name not in wanted:
        close = suggest(name, wanted)
        advice = Help(f"did you mean `{close}`?", span, close) if close else None
        message = f"{what} has no `{name}`"
        raise Mistake("E0203", message, span, notes=(_holds(what, record),), help=advice)
    return wanted[name]


def _holds(what: str, record: type) -> str:
    return f"{what} holds {', '.join(hints(record))}"


def _inside(name: str) -> str:
    """What messages call a section inside a section."""
    return f"a {name} section"
