"""The orderly ways a command can end, each with its exit code."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from resnetc.diagnostics.finding import Diagnostic
from resnetc.diagnostics.rendering import render

MAX_REPORTED = 20


class ResnetcError(Exception):
    """Every error that ends a command in an orderly way; `exit_code` is the command's."""

    exit_code: ClassVar[int] = 1


class RunError(ResnetcError):
    """The run failed: a full disk, a network that diverged, a backend that refused."""


class UsageError(ResnetcError):
    """The request makes no sense: unknown network, contradictory flags."""

    exit_code = 2


class CompileError(ResnetcError):
    """The spec is wrong. Carries every finding, in source order."""

    exit_code = 3

    def __init__(self, diagnostics: Diagnostic | Sequence[Diagnostic]) -> None:
        found = (diagnostics,) if isinstance(diagnostics, Diagnostic) else tuple(diagnostics)
        self.diagnostics: tuple[Diagnostic, ...] = found
        super().__init__("\n\n".join(render(d) for d in found[:MAX_REPORTED]))


class MissingError(ResnetcError):
    """A backend, device or data set is not here. `remedy` is the exact step that mends it."""

    exit_code = 4

    def __init__(self, message: str, remedy: str) -> None:
        self.remedy = remedy
        super().__init__(f"{message}\n{remedy}")


class CheckError(ResnetcError):
    """A check failed: parity, expectation, accuracy floor."""

    exit_code = 5


class InternalError(Exception):
    """A bug of ours: an invariant of the compiler does not hold."""
