"""`resnetc explain`: what a code means, and who set every value of a layer."""

from __future__ import annotations

import json
import re
import textwrap
from pathlib import Path
from typing import Any

import click

from resnetc.checking import check_source
from resnetc.cli import explain_name as names
from resnetc.cli.arguments import json_option, parse_settings, set_option
from resnetc.cli.explain_layer import (
    document,
    find_subject,
    network_document,
    network_text,
    text,
)
from resnetc.diagnostics import Source, UsageError, render, suggest
from resnetc.diagnostics.catalogue import Entry, entries
from resnetc.driver import trace
from resnetc.zoo import networks

_CODE = re.compile(r"[EWew]\d{2,4}")
_NAME = "net.rnet"


@click.command()
@click.argument("subject", metavar="CODE|NETWORK|NAME")
@click.argument("label", required=False, metavar="[LABEL]")
@set_option
@json_option
def explain(subject: str, label: str | None, settings: tuple[str, ...], as_json: bool) -> None:
    """Explain a code of a diagnostic, as E0401, a network or a layer of it, or what is declared.

    Of a layer (LABEL is its path, as layer3.0.conv2; also a block's) it tells what it is, its
    shapes and cost, where it is written, and for every argument its value and who set it. Of a
    network it tells this of its parameters and ambients. Of a block, policy, primitive, ambient or
    function (NAME, of the library, or FILE:NAME) it tells the signature and what is said of it.
    """
    if label is None and _CODE.fullmatch(subject):
        _explain_code(subject.upper(), as_json=as_json)
        return
    if label is None and subject not in networks() and _explain_name(subject, as_json=as_json):
        return
    network, tracer = trace(subject, parse_settings(settings))
    if label is None:
        told = network_document if as_json else network_text
        click.echo(_printed(told(network, tracer)))
        return
    found = find_subject(network, tracer, label)
    click.echo(_printed(document(found) if as_json else text(found)))


def _printed(told: str | dict[str, Any]) -> str:
    return told if isinstance(told, str) else json.dumps(told, indent=2)


# ------------------------------------------------------------------------------------------ names


def _explain_name(subject: str, *, as_json: bool) -> bool:
    """Explain what a name declares; says whether it declares anything but a network."""
    if found := names.find_declarations(subject):
        told = names.declaration_document if as_json else names.declaration_text
        click.echo(_printed(told(found)))
        return True
    if names.is_builtin(subject):
        explain_builtin = names.builtin_document if as_json else names.builtin_text
        click.echo(_printed(explain_builtin(subject)))
        return True
    if subject.isidentifier():
        raise names.unknown(subject)
    return False


# ------------------------------------------------------------------------------------------ codes


def _explain_code(code: str, *, as_json: bool) -> None:
    known = entries()
    if code not in known:
        close = suggest(code, known)
        hint = f"; did you mean {close}?" if close else ""
        raise UsageError(f"there is no code {code}{hint}")
    entry = known[code]
    if as_json:
        click.echo(json.dumps(_code_json(entry), indent=2))
        return
    click.echo(f"{entry.code}: {entry.meaning}")
    if entry.text:
        click.echo("\n" + entry.text)
    wrong = f"Wrong, {entry.scene}:" if entry.scene else "Wrong:"
    click.echo(f"\n{wrong}\n\n{_program(entry.wrong)}")
    if not entry.scene:
        click.echo(f"\n{textwrap.indent(_message(entry), '    ')}")
    click.echo(f"\nRight:\n\n{_program(entry.right)}")


def _program(text: str) -> str:
    return textwrap.indent(text.rstrip(), "    ")


def _message(entry: Entry) -> str:
    """What the compiler says of the wrong program."""
    report = check_source(Source(_NAME, entry.wrong), Path(_NAME))
    return "\n\n".join(map(render, report.findings or report.warnings))


def _code_json(entry: Entry) -> dict[str, str]:
    return {
        "code": entry.code,
        "meaning": entry.meaning,
        "text": entry.text,
        "scene": entry.scene,
        "wrong": entry.wrong,
        "right": entry.right,
    }
