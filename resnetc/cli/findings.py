"""Findings on standard error: coloured on a terminal, plain in a pipe."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import click

from resnetc.diagnostics import MAX_REPORTED, Diagnostic, render


def show_findings(findings: Sequence[Diagnostic]) -> None:
    """Print findings, and of many the first and how many more there are."""
    colour = wants_colour()
    for finding in findings[:MAX_REPORTED]:
        click.echo(render(finding, colour=colour) + "\n", err=True, color=colour)
    hidden = len(findings) - MAX_REPORTED
    if hidden > 0:
        click.echo(f"and {hidden} more", err=True)


def wants_colour() -> bool:
    """Whether standard error is a terminal that shows colours; NO_COLOR says no."""
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return sys.stderr.isatty() and not plain
