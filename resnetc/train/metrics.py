"""The run's numbers as CSV and JSON lines, one row per reading, appended as they come."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import IO, Literal, Protocol

from resnetc.atomic import FULL, replacing
from resnetc.diagnostics import RunError


@dataclass(frozen=True)
class Row:
    """One reading, before step `step`.

    A "train" row is the mean over the images since the last one, with batch norm in training mode
    and augmented images; a "val" or "test" row is a full pass. Errors are in [0, 1], `seconds` is
    the time trained so far. A loss that is not finite is None in the files.
    """

    kind: Literal["train", "val", "test"]
    step: int
    epoch: float
    loss: float | None
    error: float
    error_top5: float | None = None
    lr: float | None = None
    images_per_second: float | None = None
    seconds: float | None = None


class Listener(Protocol):
    """Hears of every row when it is in the files."""

    def add(self, row: Row) -> None: ...
    def close(self) -> None: ...


class Metrics:
    """The two files of a run. Rows from `from_step` on are dropped: they will be made again."""

    def __init__(self, folder: Path, from_step: int, listener: Listener | None = None) -> None:
        self._listener = listener
        self._csv, self._jsonl = folder / "metrics.csv", folder / "metrics.jsonl"
        self.rows = [row for row in read(self._jsonl) if row.step <= from_step]
        with replacing(self._jsonl) as file:
            file.write("".join(map(_line, self.rows)).encode())
        with replacing(self._csv) as file:
            header = ",".join(field.name for field in fields(Row)) + "\n"
            file.write((header + "".join(map(_cells, self.rows))).encode())

    def add(self, row: Row) -> None:
        """Append one row to both files. Raises RunError when that cannot be done."""
        self.rows.append(row)
        for path, text in ((self._csv, _cells(row)), (self._jsonl, _line(row))):
            try:
                with path.open("a", encoding="utf-8") as file:
                    _append(file, text)
            except OSError as error:
                why = FULL.get(error.errno or 0, error.strerror)
                raise RunError(f"{path}: {why}") from error
        if self._listener is not None:
            self._listener.add(row)

    def close(self) -> None:
        """No more rows will come."""
        if self._listener is not None:
            self._listener.close()


def _append(file: IO[str], text: str) -> None:
    file.write(text)
    file.flush()


def _line(row: Row) -> str:
    return json.dumps({name: v for name, v in asdict(row).items() if v is not None}) + "\n"


def _cells(row: Row) -> str:
    text = io.StringIO()
    values = ["" if value is None else value for value in asdict(row).values()]
    csv.writer(text, lineterminator="\n").writerow(values)
    return text.getvalue()


def read(jsonl: Path) -> list[Row]:
    """The rows of a metrics.jsonl, none where there is no file; a last line that was cut off by a
    kill is left out. Raises RunError for anything else that is no row."""
    if not jsonl.is_file():
        return []
    lines = jsonl.read_text(encoding="utf-8").split("\n")
    rows = []
    for number, line in enumerate(lines[:-1], 1):
        try:
            rows.append(Row(**json.loads(line)))
        except (ValueError, TypeError) as error:
            raise RunError(f"{jsonl}:{number}: not a row of metrics: {error}") from error
    return rows
