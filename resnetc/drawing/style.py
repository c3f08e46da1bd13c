"""How pictures look: the style sheet, and how wide letters are about."""

from __future__ import annotations

LETTER, SMALL_LETTER, CAPTION_LETTER = 7.0, 6.6, 5.9
"""Pixels of a letter in a box, beside the picture and at a line; fonts differ: these are wide."""

_LIGHT = ("#f8d7da", "#d6e4f7", "#d8f0dc", "#fdebc8", "#e6dcf5", "#d3efef")
_DARK = ("#6b2f38", "#2c4a6e", "#2b5a38", "#6b5423", "#4b3a70", "#235a5c")


def _palette(colours: tuple[str, ...], plain: str) -> str:
    named = "".join(f".c{number}{{fill:{colour}}}" for number, colour in enumerate(colours))
    return f"{named}.c{len(colours)}{{fill:{plain}}}"


STYLE = (
    "svg{font:12px ui-sans-serif,system-ui,-apple-system,'Segoe UI',Helvetica,Arial,"
    "'DejaVu Sans',sans-serif;--ink:#1f2328;--soft:#656d76;--page:#ffffff}"
    ".page{fill:var(--page)}.name{font-size:15px;font-weight:600}"
    "text{fill:var(--ink);white-space:pre}.what,.out{text-anchor:middle}"
    ".box{stroke:var(--ink);stroke-width:.8}.joint{fill:var(--page);stroke:var(--ink)}"
    ".line{fill:none;stroke:var(--ink);stroke-width:1.1}.dotted{stroke-dasharray:2 3}"
    ".bracket{fill:none;stroke:var(--soft)}"
    ".times,.size{text-anchor:end;fill:var(--soft)}.size{font-size:11px}"
    ".caption{font-size:10.5px;fill:var(--soft)}.out{font-size:11px;font-style:italic}"
    ".said{font-size:11.5px;fill:var(--soft)}.label{font-weight:600;fill:var(--ink)}"
    f"{_palette(_LIGHT, '#eaeef2')}"
    "@media (prefers-color-scheme:dark){"
    "svg{--ink:#e6edf3;--soft:#9198a1;--page:#0d1117}"
    f"{_palette(_DARK, '#30363d')}}}"
)
