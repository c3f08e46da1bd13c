"""The runs under a folder: their state, what they came to, and what differs between two.

Read from a run's lock.json, report/summary.json, metrics.jsonl and checkpoints, without torch: a
list of runs takes no longer than reading their files.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from resnetc.diagnostics import RunError, UsageError

RUNS = Path("runs")
_LOCK, _SUMMARY, _METRICS = "lock.json", "report/summary.json", "metrics.jsonl"
_ENDING = "report/ending.json"
_DEPTH = 4
"""Folders below which no run is looked for."""

Ending = Literal["diverged", "failed", "interrupted"]
State = Literal["finished", "unfinished", "begun"] | Ending


@dataclass(frozen=True)
class Run:
    """A run as its files tell of it.

    "finished" has its summary. "diverged", "failed" and "interrupted" is one that ended otherwise,
    at the step `ended_at`, with what was said in `ending`. Of the others, which are being trained
    right now or were killed, "unfinished" has a checkpoint to go on from, "begun" none.

    `step` is where its last checkpoint stands. Errors are in [0, 1];
    `error` is the last evaluation's. `lock` is lock.json, or empty with the reason as `trouble`.
    """

    path: Path
    state: State
    lock: Mapping[str, Any]
    step: int
    error: float | None
    best_error: float | None
    seconds: float | None
    trouble: str | None = None
    ended_at: int | None = None
    ending: str | None = None

    @property
    def standing(self) -> str:
        """The state, and where a run that did not end well ended."""
        return self.state if self.ended_at is None else f"{self.state} at {self.ended_at:,}"

    @property
    def network(self) -> str:
        return str(self._part("network").get("name", "?"))

    @property
    def data(self) -> str:
        return str(self._part("data_set").get("name", "?"))

    @property
    def iterations(self) -> int | None:
        """How long the run is to be."""
        length = self.lock.get("iterations")
        return length if isinstance(length, int) else None

    def _part(self, name: str) -> Mapping[str, Any]:
        part = self.lock.get(name)
        return part if isinstance(part, dict) else {}

    def to_json(self) -> dict[str, Any]:
        return {
            "run": str(self.path),
            "network": self.network,
            "data": self.data,
            "seed": self.lock.get("seed"),
            "state": self.state,
            **({} if self.ended_at is None else {"ended_at": self.ended_at}),
            **({} if self.ending is None else {"ending": self.ending}),
            "step": self.step,
            "iterations": self.iterations,
            "error": self.error,
            "best_error": self.best_error,
            "seconds": self.seconds,
            **({"trouble": self.trouble} if self.trouble else {}),
        }


def list_runs(root: Path) -> list[Run]:
    """Every run under a folder, by path; none where there is no such folder."""
    return [read_run(path) for path in sorted(_folders(root, _DEPTH))]


def _folders(root: Path, depth: int) -> Iterator[Path]:
    """Folders of runs; inside a run is none."""
    if (root / _LOCK).is_file():
        yield root
    elif depth and root.is_dir():
        for entry in root.iterdir():
            if entry.is_dir() and not entry.name.startswith("."):
                yield from _folders(entry, depth - 1)


def find_run(name: str, root: Path) -> Run:
    """The run in a folder, or one under `root` by the end of its path: NETWORK/ID, or ID.

    Raises UsageError where there is none, or several.
    """
    if (Path(name) / _LOCK).is_file():
        return read_run(Path(name))
    wanted = Path(name).parts
    paths = [path for path in _folders(root, _DEPTH) if path.parts[-len(wanted) :] == wanted]
    if len(paths) == 1:
        return read_run(paths[0])
    if paths:
        raise UsageError(f"{name} may be {' or '.join(map(str, sorted(paths)))}; give the folder")
    raise UsageError(f"there is no run {name} here, nor under {root}; see `resnetc runs list`")


def read_run(path: Path) -> Run:
    """A run by its folder. What is damaged is told in `trouble`."""
    try:
        lock, trouble = _object(path / _LOCK), None
    except RunError as error:
        lock, trouble = {}, str(error)
    steps = [int(p.name[5:]) for p in path.glob("checkpoints/step-*") if p.name[5:].isdigit()]
    step = max(steps, default=0)
    judged = _evaluations(path / _METRICS)
    last = judged[-1]["error"] if judged else None
    best = min((row["error"] for row in judged), default=None)
    try:
        summary = _object(path / _SUMMARY) if (path / _SUMMARY).is_file() else None
    except RunError as error:
        summary, trouble = None, trouble or str(error)
    if summary is not None:
        last, best = summary.get("test_error", last), summary.get("best_error", best)
    ended = None if summary else _ending(path / _ENDING)
    state: State = "finished" if summary else "unfinished" if steps else "begun"
    seconds = (summary or (judged[-1] if judged else {})).get("seconds")
    if ended is None:
        return Run(path, state, lock, step, last, best, seconds, trouble)
    return Run(path, ended[0], lock, step, last, best, seconds, trouble, ended[1], ended[2])


def _ending(path: Path) -> tuple[Ending, int, str] | None:
    """How a run ended, at which step and with which words; None where that is not recorded."""
    if not path.is_file():
        return None
    try:
        told = _object(path)
    except RunError:
        return None
    known: dict[object, Ending] = {kind: kind for kind in get_args(Ending)}
    kind, step = known.get(told.get("ending")), told.get("step")
    return (kind, step, str(told.get("said"))) if kind and isinstance(step, int) else None


def _object(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"{path}: not JSON: {error}") from error
    if not isinstance(value, dict):
        raise RunError(f"{path}: not an object of JSON")
    return value


def _evaluations(path: Path) -> list[dict[str, Any]]:
    """Rows of evaluations; lines that are cut off are passed over, for the run may be going on."""
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if row.get("kind") in ("val", "test") and isinstance(row.get("error"), float | int):
            rows.append(row)
    return rows


# ------------------------------------------------------------------------------------- settings

_SHOWN_ELSEWHERE = ("notes", "about")


def settings(run: Run) -> dict[str, str]:
    """All that was decided of a run, by dotted name: `recipe.optimizer.lr`."""
    return dict(_flat("", {k: v for k, v in run.lock.items() if k not in _SHOWN_ELSEWHERE}))


def _flat(prefix: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict) and value:
        for name, part in value.items():
            yield from _flat(f"{prefix}.{name}" if prefix else name, part)
    else:
        yield prefix, value if isinstance(value, str) else json.dumps(value)


def differences(one: Run, two: Run) -> dict[str, tuple[str | None, str | None]]:
    """Settings that two runs do not share, by dotted name; None where a run has none."""
    first, second = settings(one), settings(two)
    names = dict.fromkeys([*first, *second])
    pairs = {name: (first.get(name), second.get(name)) for name in names}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
