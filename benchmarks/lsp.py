"""How soon the language server answers: from a keystroke to its diagnostics, and to the hints.

    python benchmarks/lsp.py [SPEC...]      by default specs/resnet.rnet and the largest spec

A real session over standard input and output. Every round types a character at the end of the
file, which changes every cache's key, and waits for the diagnostics; the time includes the pause
of 150 ms that the server waits for. "half-typed" does the same with a row broken off. The last
column is the processor time that the server took in a round, which other work on the machine
does not change much; it needs Linux's /proc.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from lsp_session import Session  # noqa: E402

ROUNDS = 15
QUIET = 12.0
"""Seconds in which the server looks at the networks that opening left out."""
WHOLE = {"start": {"line": 0, "character": 0}, "end": {"line": 100_000, "character": 0}}


def largest() -> Path:
    """The shipped spec with the most text."""
    return max((ROOT / "specs").glob("*.rnet"), key=lambda path: path.stat().st_size)


def processor_time(session: Session) -> float:
    """Seconds of processor time that the server has taken, 0 where that cannot be told."""
    stat = Path(f"/proc/{session.process.pid}/stat")
    if not stat.exists():
        return 0.0
    fields = stat.read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def told(session: Session, what: str, act: Callable[[int], None], rounds: int = ROUNDS) -> None:
    """Print one line of the table: median, slowest, and processor time of a round."""
    seconds, busy = [], processor_time(session)
    for number in range(rounds):
        began = time.perf_counter()
        act(number)
        seconds.append(time.perf_counter() - began)
    busy = (processor_time(session) - busy) / rounds
    figures = (statistics.median(seconds), max(seconds), busy)
    print(f"  {what:<28}" + "".join(f"{figure * 1e3:9.0f} ms" for figure in figures))


def measure(path: Path) -> None:
    """Print the figures of one spec."""
    text, name = path.read_text(encoding="utf-8"), path.name
    row = text.index("conv(")
    half = text[: row + 5] + text[text.index("\n", row) :]
    place = {"line": text.count("\n", 0, row), "character": 8}
    session = Session(path.parent)

    def opened(_: int) -> None:
        session.open(name, text)
        session.diagnostics(name)

    def typed(number: int, base: str = text) -> None:
        session.change(name, f"{base}#{number}\n")
        session.diagnostics(name)

    def hinted(number: int) -> None:
        session.change(name, f"{text}#h{number}\n")
        session.ask("inlayHint", name, range=WHOLE)
        session.diagnostics(name)

    networks = sum(line.startswith("network ") for line in text.split("\n"))
    print(f"{name}: {len(text):,} characters, {networks} networks (median, slowest, processor)")
    told(session, "opened", opened, 1)
    time.sleep(QUIET)
    told(session, "keystroke to diagnostics", typed)
    told(session, "half-typed to diagnostics", lambda number: typed(number, half))
    told(session, "keystroke to both", hinted)
    told(session, "completion", lambda _: session.ask("completion", name, position=place))
    session.close()


if __name__ == "__main__":
    given = [Path(name).resolve() for name in sys.argv[1:]]
    for spec in given or [ROOT / "specs" / "resnet.rnet", largest()]:
        measure(spec)
