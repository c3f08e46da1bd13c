"""Writes docs/diagnostics.md below its mark, from the compiler's own catalogue of codes.

    python tools/diagnostics_doc.py          write it
    python tools/diagnostics_doc.py --check  change nothing; exit code 1 where it is out of date

What the compiler says of a wrong program is asked of the compiler.
"""

from __future__ import annotations

import sys
from pathlib import Path

from resnetc.atomic import write_text
from resnetc.checking import check_source
from resnetc.diagnostics import Source, render
from resnetc.diagnostics.catalogue import Entry, Family, families

ROOT = Path(__file__).parent.parent
DOCUMENT = ROOT / "docs" / "diagnostics.md"
MARK = "<!-- From here on written by tools/diagnostics_doc.py; edit resnetc/diagnostics/codes -->\n"
NAME = "net.rnet"


def document() -> str:
    """The whole document: what stands above the mark, and all codes."""
    head, _, _ = DOCUMENT.read_text(encoding="utf-8").partition(MARK)
    return head + MARK + "".join(map(_family, families()))


def _family(family: Family) -> str:
    rows = "".join(f"| {entry.code} | {entry.meaning} |\n" for entry in family.entries)
    about = f"{family.text}\n\n" if family.text else ""
    body = "".join(map(_entry, family.entries))
    return f"\n## {family.title}\n\n{about}| code | |\n|---|---|\n{rows}{body}"


def _entry(entry: Entry) -> str:
    said = "" if entry.scene else _fence("text", message(entry))
    wrong = f"Wrong, {entry.scene}:" if entry.scene else "Wrong:"
    text = f"{entry.text}\n\n" if entry.text else ""
    programs = f"{wrong}\n\n{_fence('rnet', entry.wrong)}{said}Right:\n\n"
    return f"\n### {entry.code}\n\n{text}{programs}{_fence('rnet', entry.right)}".rstrip() + "\n"


def message(entry: Entry) -> str:
    """What the compiler says of the wrong program."""
    report = check_source(Source(NAME, entry.wrong), Path(NAME))
    return "\n\n".join(map(render, report.findings or report.warnings))


def _fence(kind: str, text: str) -> str:
    return f"```{kind}\n{text.rstrip()}\n```\n\n"


def main() -> int:
    """Write the document, or say whether it is in step."""
    new = document()
    if new == DOCUMENT.read_text(encoding="utf-8"):
        return 0
    if "--check" in sys.argv[1:]:
        print(f"{DOCUMENT.name} is out of date: run python tools/diagnostics_doc.py")
        return 1
    write_text(DOCUMENT, new)
    print(f"wrote {DOCUMENT.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
