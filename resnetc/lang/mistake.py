"""A user's mistake on its way to the list of findings."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from resnetc.diagnostics import Diagnostic, Edit, Help, Label, Source, Span, suggest
from resnetc.lang.bind import Problem
from resnetc.lang.builtins import FUNCTIONS
from resnetc.lang.modules import Module, elsewhere

_CONSTANTS = {"True": "true", "False": "false", "None": "none", "null": "none"}


class Mistake(Exception):  # noqa: N818 - the language's word for it
    """A user's mistake, on its way to the list of findings; `rest` are others that were found with
    it."""

    rest: tuple[Mistake, ...] = ()

    def __init__(
        self,
        code: str,
        message: str,
        span: Span,
        text: str = "",
        *,
        secondary: tuple[Label, ...] = (),
        notes: Sequence[str] = (),
        help: Help | str | None = None,
    ) -> None:
        super().__init__(message)
        advice = Help(help) if isinstance(help, str) else help
        label = Label(span, text)
        self.diagnostic = Diagnostic(code, message, label, secondary, tuple(notes), advice)

    @staticmethod
    def joined(mistakes: Sequence[Mistake]) -> Mistake:
        """The first of some mistakes, with the rest."""
        mistakes[0].rest = tuple(mistakes[1:])
        return mistakes[0]

    @property
    def diagnostics(self) -> tuple[Diagnostic, ...]:
        """Its finding, and those of the rest."""
        return (self.diagnostic, *(each.diagnostic for each in self.rest))

    @classmethod
    def of(cls, problem: Problem, *, notes: Sequence[str] = ()) -> Mistake:
        """The mistake of a call that does not fit."""
        p = problem
        return cls(
            p.code,
            p.message,
            p.span,
            p.text,
            secondary=p.secondary,
            notes=(*p.notes, *notes),
            help=p.help,
        )


class Abandon(Mistake):
    """A mistake after which nothing in the network means anything: its elaboration ends.

    `located` says that the finding knows in which instance it arose.
    """

    located = False


class Poisoned(Exception):  # noqa: N818 - not an error: it has been reported
    """An expression depends on a value whose error has been reported; say nothing more."""


def _import_of(name: str, module: str, home: Module, *, sure: bool) -> Help:
    """The advice to import a name: in the import that there is of the module, or in one more."""
    text, source = f"add `use {module} {{ {name} }}`", home.file.source
    for use in home.file.uses:
        if "." * use.dots + ".".join(use.parts) == module and use.names:
            end = use.names[-1].span.end
            return Help(text, Span(source, end, end), f", {name}", sure=sure)
    if home.file.uses:
        end = home.file.uses[-1].span.end
        return Help(text, Span(source, end, end), f"\nuse {module} {{ {name} }}", sure=sure)
    first = home.file.decls[0].span.line if home.file.decls else 1
    start = source.line_start(_above_comments(source, first))
    return Help(text, Span(source, start, start), f"use {module} {{ {name} }}\n\n", sure=sure)


def _similar_elsewhere(name: str, span: Span, home: Module) -> Help | None:
    """A name like this in a file that is imported from, though it is not imported itself."""
    for use in home.file.uses:
        imported = next((n.alias for n in use.names if n.alias in home.names), None)
        if imported is None:
            continue
        other = home.names[imported].home
        declared = {decl.name: decl for decl in other.file.decls}
        close = suggest(name, declared)
        if close is not None:
            place = f"{other.file.source.name}:{declared[close].name_span.line}"
            end = Span(home.file.source, use.names[-1].span.end, use.names[-1].span.end)
            text = f"`{close}` is declared in {place}; import and write it"
            return Help(text, span, close, more=(Edit(end, f", {close}"),))
    return None


def _above_comments(source: Source, line: int) -> int:
    """The first of the comment lines right above a line."""
    while line > 1 and source.line_text(line - 1).startswith("#"):
        line -= 1
    return line


def unknown_name(name: str, span: Span, home: Module, local: Iterable[str] = ()) -> Mistake:
    """The mistake of a name that means nothing in a file. `local` are the names in force there."""
    modules = elsewhere(name, home)
    if modules:
        module = modules[0]
        message = f"`{name}` is declared in `{module}`, but not imported here"
        advice = _import_of(name, module, home, sure=len(modules) == 1)
        return Mistake("E0202", message, span, help=advice)
    close = _CONSTANTS.get(name) or suggest(name, [*local, *home.names, *FUNCTIONS])
    similar = Help(f"did you mean `{close}`?", span, close) if close else None
    secondary: tuple[Label, ...] = ()
    if close is None:
        similar = _similar_elsewhere(name, span, home)
    if close and close in home.names:
        secondary = (Label(home.names[close].decl.name_span, "declared here"),)
    message = f"there is nothing called `{name}` here"
    return Mistake("E0201", message, span, secondary=secondary, help=similar)
