"""A user's mistake on its way to the list of findings."""

from __future__ import annotations

from collections.abc import Sequence

from resnetc.diagnostics import Diagnostic, Help, Label, Span
from resnetc.lang.bind import Problem


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
