"""What the compiler says when something is wrong, and where.

An error holds spans and facts; text is made of it as late as possible, by :func:`render`.
`CompileError` is a user's mistake in a spec, `InternalError` is ours. The other errors are the
ways a run can end, each with the exit code the command line returns for it.
"""

from resnetc.diagnostics.errors import (
    MAX_REPORTED,
    CheckError,
    CompileError,
    InternalError,
    MissingError,
    ResnetcError,
    RunError,
    UsageError,
)
from resnetc.diagnostics.finding import Diagnostic, Edit, Help, Instance, Label, apply_edits
from resnetc.diagnostics.rendering import render
from resnetc.diagnostics.similar import is_typo, suggest
from resnetc.diagnostics.source import Source, Span

__all__ = [
    "MAX_REPORTED",
    "CheckError",
    "CompileError",
    "Diagnostic",
    "Edit",
    "Help",
    "Instance",
    "InternalError",
    "Label",
    "MissingError",
    "ResnetcError",
    "RunError",
    "Source",
    "Span",
    "UsageError",
    "apply_edits",
    "is_typo",
    "render",
    "suggest",
]
