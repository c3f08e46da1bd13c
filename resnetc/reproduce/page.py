"""A report of one table or figure of the paper: self-contained HTML, and JSON beside it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

from resnetc.atomic import write_text

NOT_RUN = "not run"
"""What stands in a cell that was not run."""


@dataclass(frozen=True)
class Table:
    """Rows of text under a head; a cell that reads like a number is set to the right."""

    title: str
    head: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


@dataclass(frozen=True)
class Figure:
    """A drawing as the text of an SVG element, with what it shows in words."""

    svg: str
    caption: str


@dataclass(frozen=True)
class Report:
    """What was found of one table or figure.

    `deviations` are the ways in which the set-up is not the paper's: they stand in the headline.
    `findings` say in sentences what came out, `settings` how it was had, `numbers` everything for
    machines.
    """

    name: str
    title: str
    findings: Sequence[str]
    tables: Sequence[Table]
    deviations: Sequence[str] = ()
    figures: Sequence[Figure] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    numbers: Mapping[str, Any] = field(default_factory=dict)

    @property
    def headline(self) -> str:
        """Whether this is the paper's set-up, and what is otherwise."""
        if not self.deviations:
            return "The paper's set-up."
        return "Not the paper's set-up: " + "; ".join(self.deviations) + "."

    def to_json(self) -> dict[str, Any]:
        tables = [{"title": t.title, "head": t.head, "rows": t.rows} for t in self.tables]
        return {
            "name": self.name,
            "title": self.title,
            "headline": self.headline,
            "deviations": list(self.deviations),
            "findings": list(self.findings),
            "settings": dict(self.settings),
            "tables": tables,
            **self.numbers,
        }


def write(report: Report, folder: Path) -> tuple[Path, Path]:
    """Write `NAME.html` and `NAME.json` into a folder, each whole or not at all."""
    page, numbers = folder / f"{report.name}.html", folder / f"{report.name}.json"
    write_text(numbers, json.dumps(report.to_json(), indent=1) + "\n")
    write_text(page, "\n".join(_page(report)) + "\n")
    return page, numbers


_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem;
  color: #1b1b1b; background: #fff }
h1 { line-height: 1.2; margin-bottom: .3rem }
.headline { font-size: 1.1rem; font-weight: 600; border-left: 4px solid #c60; padding-left: .8rem }
.same { border-color: #295 }
table { border-collapse: collapse; margin: .5rem 0 1.5rem; font-variant-numeric: tabular-nums }
th, td { padding: .2rem .8rem; border-bottom: 1px solid #ddd; text-align: left }
td.number { text-align: right }
td.missing { color: #888; font-style: italic }
figure { margin: 1rem 0 } figure svg { max-width: 100%; height: auto }
figcaption { color: #555 }
td { overflow-wrap: anywhere }
"""


def _text(text: str) -> str:
    """Text for the inside of an element."""
    return escape(text, quote=False)


def _page(report: Report) -> Iterator[str]:
    yield '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<title>{_text(report.title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>"
    yield f"<h1>{_text(report.title)}</h1>"
    kind = "headline" if report.deviations else "headline same"
    yield f'<p class="{kind}">{_text(report.headline)}</p>'
    yield from (f"<p>{_text(finding)}</p>" for finding in report.findings)
    for figure in report.figures:
        caption = f"<figcaption>{_text(figure.caption)}</figcaption>"
        yield f"<figure>\n{figure.svg}\n{caption}\n</figure>"
    for table in report.tables:
        yield from _table(table)
    if report.settings:
        yield from _table(Table("Settings", ("", ""), list(report.settings.items())))
    yield "</body>\n</html>"


def _table(table: Table) -> Iterator[str]:
    yield f"<h2>{_text(table.title)}</h2>\n<table>"
    if any(table.head):
        yield "<tr>" + "".join(f"<th>{_text(name)}</th>" for name in table.head) + "</tr>"
    for row in table.rows:
        yield "<tr>" + "".join(_cell(text) for text in row) + "</tr>"
    yield "</table>"


def _cell(text: str) -> str:
    kind = ""
    if text == NOT_RUN:
        kind = ' class="missing"'
    elif text[:1].isdigit() or text[:1] in "+-":
        kind = ' class="number"'
    return f"<td{kind}>{_text(text)}</td>"
