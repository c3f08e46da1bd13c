"""The run's numbers as CSV and JSON lines, one row per reading, appended as they come."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import IO, Literal, Protocol, get_args

from resnetc.atomic import FULL, replacing
from resnetc.diagnostics import RunError

Kind = Literal["train", "val", "test"]


@dataclass(frozen=True)
class Row:
    """One reading, before step `step`.

    A "train" row is the mean over the images since the last one, with batch norm in training mode
    and augmented images; a "val" or "test" row is a full pass. Errors are in [0, 1], `seconds` is
    the time trained so far. A loss that is not finite is None in the files.
    """

    kind: Kind
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
    """The two files of a run. Rows from `from_step` on are dropped: they will be made again.

    What is damaged in one file is taken from the other, and `say` is told what became of it.
    """

    def __init__(
        self,
        folder: Path,
        from_step: int,
        listener: Listener | None = None,
        say: Callable[[str], object] = lambda text: None,
    ) -> None:
        self._listener = listener
        self._csv, self._jsonl = folder / "metrics.csv", folder / "metrics.jsonl"
        self.rows = _kept(self._jsonl, self._csv, from_step, say)
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


# ----------------------------------------------------------------------------------------- reading


def _kept(jsonl: Path, table: Path, to_step: int, say: Callable[[str], object]) -> list[Row]:
    """The rows of a run up to a step, in order, from both files as far as they are whole."""
    rows, damaged = _salvaged(_lines(jsonl), _of_json)
    others, _ = _salvaged(_lines(table)[1:], _of_csv)
    own, both = ({(r.step, r.kind): r for r in held} for held in (rows, [*others, *rows]))
    kept = [key for key in both if key[0] <= to_step]
    taken = sum(key not in own for key in kept)
    if damaged or taken:
        say(
            f"{jsonl}: damaged; of the {len(kept):,} rows that are kept, {taken:,} are taken from "
            f"{table.name}"
        )
    return [both[key] for key in sorted(kept, key=lambda key: (key[0], key[1] != "train"))]


def _lines(path: Path) -> list[str]:
    """Whole lines; a last one that was cut off by a kill is left out."""
    if not path.is_file():
        return []
    return path.read_text(encoding="utf-8", errors="replace").split("\n")[:-1]


def _salvaged(lines: Iterable[str], row_of: Callable[[str], Row]) -> tuple[list[Row], int]:
    """The rows in these lines, and how many lines hold none."""
    rows, damaged = [], 0
    for line in lines:
        try:
            rows.append(row_of(line))
        except (ValueError, TypeError):
            damaged += 1
    return rows, damaged


def _of_json(line: str) -> Row:
    """The row of a line of JSON. Raises ValueError or TypeError where it is none."""
    return _checked(Row(**{"loss": None, **json.loads(line)}))


def _of_csv(line: str) -> Row:
    """The row of a line of the table. Raises ValueError or TypeError where it is none."""
    kind, step, *numbers = next(csv.reader([line]), [])
    values = [None if cell == "" else float(cell) for cell in numbers]
    return _checked(Row(kind, int(step), *values))  # type: ignore[arg-type]


def _checked(row: Row) -> Row:
    """The row, if its fields hold what they should. Raises ValueError."""
    needed = (row.step, row.epoch, row.error)
    others = (row.loss, row.error_top5, row.lr, row.images_per_second, row.seconds)
    whole = all(isinstance(value, int | float) for value in needed)
    if row.kind not in get_args(Kind) or not whole or not isinstance(row.step, int):
        raise ValueError("not a row of metrics")
    if not all(value is None or isinstance(value, int | float) for value in others):
        raise ValueError("not a row of metrics")
    return row


def read(jsonl: Path) -> list[Row]:
    """The rows of a metrics.jsonl, none where there is no file; a last line that was cut off by a
    kill is left out. Raises RunError for anything else that is no row."""
    if not jsonl.is_file():
        return []
    lines = jsonl.read_text(encoding="utf-8").split("\n")
    rows = []
    for number, line in enumerate(lines[:-1], 1):
        try:
            rows.append(_of_json(line))
        except (ValueError, TypeError) as error:
            raise RunError(f"{jsonl}:{number}: not a row of metrics: {error}") from error
    return rows
