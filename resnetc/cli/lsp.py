"""`resnetc lsp`: the language server, for editors."""

from __future__ import annotations

import click

from resnetc.diagnostics import MissingError


@click.command()
@click.option("--stdio", is_flag=True, help="Accepted because editors add it; always so.")
def lsp(stdio: bool) -> None:
    """Answer an editor over standard input and output (the Language Server Protocol).

    Diagnostics while typing, the tensor's shape after every row, hover, definition, references,
    rename, completion, fixes, formatting. docs/editor.md says how to set up an editor.
    """
    try:
        from resnetc.lsp.server import serve
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("pygls", "lsprotocol"):
            raise
        raise MissingError(
            "the language server needs pygls, which is not installed",
            "pip install 'resnetc[lsp]'",
        ) from None
    serve()
