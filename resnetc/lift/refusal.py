"""What a lift refuses, in one line that names the node."""

from __future__ import annotations

from typing import ClassVar

from resnetc.diagnostics import ResnetcError


class LiftError(ResnetcError):
    """The model holds something the language has no words for; exit code 3, as a wrong spec."""

    exit_code: ClassVar[int] = 3
