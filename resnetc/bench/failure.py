"""How a failure crosses from a worker to whoever asked."""

from __future__ import annotations

from resnetc.diagnostics import (
    CheckError,
    CompileError,
    MissingError,
    ResnetcError,
    RunError,
    UsageError,
)

_KINDS: dict[str, type[ResnetcError]] = {
    "missing": MissingError,
    "usage": UsageError,
    "spec": CompileError,
    "check": CheckError,
}


class WorkerError(Exception):
    """A worker could not do what it was asked.

    `kind` is "missing", "usage", "spec", "check" or, for all else, "failed".
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message

    def as_error(self, who: str) -> ResnetcError:
        """The error that ends a command for the same reason."""
        told = f"{who}: {self.message}"
        if self.kind == "missing":
            message, _, remedy = told.rpartition("\n")
            return MissingError(message, remedy)
        if self.kind == "usage":
            return UsageError(told)
        return CheckError(told) if self.kind == "check" else RunError(told)


def kind_of(error: ResnetcError) -> str:
    """What kind of failure an error is."""
    return next((kind for kind, known in _KINDS.items() if isinstance(error, known)), "failed")
