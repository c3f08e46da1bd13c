"""The `resnetc` command: finds the verb, runs it, turns what went wrong into an exit code."""

from __future__ import annotations

import importlib
import os
import sys
from typing import NoReturn

import click

from resnetc import __version__
from resnetc.cli.findings import show_findings
from resnetc.cli.full_memory import in_plain_words
from resnetc.diagnostics import CompileError, ResnetcError, suggest

VERBS = {
    "check": "resnetc.cli.check:check",
    "fmt": "resnetc.cli.fmt:fmt",
    "info": "resnetc.cli.info:info",
    "diff": "resnetc.cli.diff:diff",
    "draw": "resnetc.cli.draw:draw",
    "build": "resnetc.cli.build:build",
    "train": "resnetc.cli.train:train",
    "eval": "resnetc.cli.train:evaluate",
    "predict": "resnetc.cli.predict:predict",
    "data": "resnetc.cli.data:data",
    "runs": "resnetc.cli.runs:runs",
    "reproduce": "resnetc.cli.reproduce:reproduce",
    "export": "resnetc.cli.export:export",
    "refit": "resnetc.cli.engine:refit",
    "verify": "resnetc.cli.verify:verify",
    "bench": "resnetc.cli.bench:bench",
    "lift": "resnetc.cli.lift:lift",
    "convert": "resnetc.cli.convert:convert",
    "list": "resnetc.cli.zoo:list_networks",
    "new": "resnetc.cli.zoo:new",
    "lsp": "resnetc.cli.lsp:lsp",
    "explain": "resnetc.cli.explain:explain",
    "doctor": "resnetc.cli.doctor:doctor",
}
"""Each verb's command, imported only when the verb is used."""


class _Verbs(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in VERBS:
            return None
        module, _, attribute = VERBS[name].partition(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        close = suggest(args[0], VERBS) if args[0] not in VERBS else None
        if close is not None:
            ctx.fail(f"There is no command `{args[0]}`; did you mean `{close}`?")
        return super().resolve_command(ctx, args)


@click.group(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="resnetc")
@click.option(
    "--budget",
    type=click.IntRange(1, 100),
    metavar="N",
    help="Let files that you trust ask for N times the usual steps and layers.",
)
@click.pass_context
def app(ctx: click.Context, budget: int | None) -> None:
    """Deep residual networks as source code."""
    if budget is not None:
        from resnetc.lang.budget import times

        ctx.with_resource(times(budget))


def main() -> NoReturn:
    """Run the command line and leave with its exit code."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command; returns the exit code. Prints errors on stderr, never a traceback for
    what the user can mend."""
    try:
        code = app.main(args=arguments, prog_name="resnetc", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        _say("interrupted")
        return 130
    except CompileError as error:
        show_findings(error.diagnostics)
        return error.exit_code
    except ResnetcError as error:
        _say(f"error: {error}")
        return error.exit_code
    except (MemoryError, RuntimeError, ValueError) as error:
        full = in_plain_words(error)
        if full is None:
            raise
        _say(f"error: {full}")
        return full.exit_code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        _say(f"error: {where}{error.strerror or error}")
        return 1
    # Without standalone mode, click hands back the code of `context.exit`.
    return code if isinstance(code, int) else 0


def _say(text: str) -> None:
    click.echo(text, err=True)
