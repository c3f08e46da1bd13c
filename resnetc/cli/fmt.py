"""`resnetc fmt`: the one layout of specs."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from resnetc.atomic import write_text
from resnetc.cli.arguments import specs_below
from resnetc.diagnostics import CompileError, Diagnostic, Source, UsageError
from resnetc.lang.format import format_source
from resnetc.lang.modules import decode_source, read_source


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option("--check", is_flag=True, help="Change nothing; exit code 1 where something would.")
@click.option("--diff", is_flag=True, help="Change nothing; print what would change.")
def fmt(paths: tuple[str, ...], check: bool, diff: bool) -> None:
    """Bring specs into the one layout; only white space and commas at ends of lists change.

    PATH is a file, a folder (all .rnet files in it) or - for standard input, whose text goes to
    standard output. A file with a syntax mistake is left as it is, with exit code 3.
    """
    mistakes: list[Diagnostic] = []
    changed = 0
    for path in _files(paths):
        try:
            source = _stdin() if path is None else read_source(path)
            formatted = format_source(source)
        except CompileError as error:
            mistakes += error.diagnostics
            continue
        changed += formatted != source.text
        if diff:
            _print_diff(source, formatted)
        elif path is None and not check:
            click.echo(formatted, nl=False)
        elif formatted != source.text:
            _rewrite(path, source, formatted, check=check)
    if mistakes:
        raise CompileError(mistakes)
    if check and changed:
        raise click.exceptions.Exit(1)


def _files(paths: tuple[str, ...]) -> Iterator[Path | None]:
    """The files to format; None is standard input."""
    for given in paths:
        path = Path(given)
        if given == "-":
            yield None
        elif path.is_dir():
            yield from specs_below(path)
        elif path.exists():
            yield path
        else:
            raise UsageError(f"{given}: there is no such file")


def _stdin() -> Source:
    return decode_source(sys.stdin.buffer.read(), "<stdin>")


def _rewrite(path: Path | None, source: Source, formatted: str, *, check: bool) -> None:
    if check or path is None:
        click.echo(f"{source.name} would be formatted", err=True)
        return
    # A link stays one: what is replaced is the file behind it.
    write_text(path.resolve(), formatted)
    click.echo(f"formatted {source.name}", err=True)


def _print_diff(source: Source, formatted: str) -> None:
    before, after = (text.splitlines(keepends=True) for text in (source.text, formatted))
    lines = difflib.unified_diff(before, after, source.name, f"{source.name} (formatted)")
    for line in lines:
        missing = "" if line.endswith("\n") else "\n\\ No newline at end of file\n"
        click.echo(line + missing, nl=False)
